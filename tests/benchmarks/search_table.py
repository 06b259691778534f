"""What search strategies and priors are measured on: the scores of every loss at 200 settings in several situations.

    python tests/benchmarks/search_table.py FOLDER [--situation NAME] [--workers N] [--anew]

Each situation is a dataset, an encoder and a batch that everyone can make. For each loss the settings are the
paper's, those that a study tries before any sampling, and 200 points of a Sobol sequence over everything that a study
searches by default: learning rate, rate and decay of class weights, images a class in a batch, and the loss's own
numbers. They are the same points of the unit cube in every situation. Each is trained on 4 folds; validation scores at
a few points of each training are kept. A loss that is done lies in FOLDER, or stands in the committed tables, and is
not trained again unless `--anew` says so; at the end `results/search_*` are written with all that there is.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from scipy.stats import qmc
from sklearn.decomposition import PCA

from mlcompare.data import load_dataset
from mlcompare.encoders.hog import HistogramOfGradients
from mlcompare.execution.executors import Executor, create_executor
from mlcompare.search.proposals import default_values, fixed_values
from mlcompare.search.space import Choice, Range, Space
from mlcompare.study.config import validated
from mlcompare.study.plan import StudyPlan, describe_space, make_plan
from mlcompare.study.situation import situation_of
from mlcompare.training import TrainingJob, TrainingResult
from mlcompare.training.population import population_key

RESULTS = Path(__file__).resolve().parent / "results"
SCORES, SETTINGS = RESULTS / "search_scores.parquet", RESULTS / "search_settings.parquet"
SPACES = RESULTS / "search_spaces.json"
POINTS, FOLDS, WIDTH = 200, 4, 100
LOSSES = (
    "contrastive", "triplet", "trihard", "lifted_structure", "margin_based", "multi_similarity",
    "softmax", "normface", "cosface", "arcface", "center", "proxy_anchor",
)  # fmt: skip
DISJOINT = {"kind": "class_disjoint", "test_classes": 0.5, "folds": FOLDS}
CLOSED = {"kind": "closed_set", "test_share": 0.3, "folds": FOLDS}
SITUATIONS: dict[str, dict[str, Any]] = {
    "digits": {
        "dataset": "digits",
        "protocol": CLOSED,
        "encoder": {"name": "mlp", "embedding_dim": 16},
        "training": {"steps": 60, "classes_per_batch": 8, "samples_per_class": 4},
    },
    "digits-tail": {
        "dataset": "digits",
        "protocol": CLOSED,
        "corruption": {"imbalance": 50},
        "encoder": {"name": "mlp", "embedding_dim": 32},
        "training": {
            "evaluations": 3,
            "steps": 80,
            "classes_per_batch": 8,
            "samples_per_class": 8,
            "sampler": "random",
        },
    },
    "faces-hog": {
        "dataset": {"name": "features", "path": "orl_faces"},
        "protocol": DISJOINT,
        "encoder": {"name": "linear", "embedding_dim": 32},
        "training": {"evaluations": 3, "steps": 80, "classes_per_batch": 8, "samples_per_class": 4},
    },
    "glyphs200": {
        "dataset": {"name": "features", "path": "glyphs-200"},
        "protocol": DISJOINT,
        "encoder": {"name": "mlp", "embedding_dim": 64},
        "training": {"evaluations": 3, "steps": 100, "classes_per_batch": 12, "samples_per_class": 4},
    },
    "glyphs-noise": {
        "dataset": {"name": "features", "path": "glyphs-400"},
        "protocol": DISJOINT,
        "corruption": {"label_noise": 0.3},
        "encoder": {"name": "linear", "embedding_dim": 32},
        "training": {"evaluations": 3, "steps": 100, "classes_per_batch": 16, "samples_per_class": 4},
    },
    "glyphs2000": {
        "dataset": {"name": "features", "path": "glyphs-2000"},
        "protocol": {**DISJOINT, "test_classes": 0.2},
        "encoder": {"name": "linear", "embedding_dim": 32},
        "training": {"evaluations": 2, "steps": 50, "classes_per_batch": 16, "samples_per_class": 2},
    },
    "faces": {
        "dataset": {"name": "orl_faces", "size": [20, 16]},
        "protocol": DISJOINT,
        "encoder": {"name": "conv", "embedding_dim": 64, "channels": [8, 16]},
        "training": {"evaluations": 3, "steps": 50, "classes_per_batch": 8, "samples_per_class": 4},
    },
    "mnist": {
        "dataset": {"name": "features", "path": "mnist"},
        "protocol": CLOSED,
        "encoder": {"name": "mlp", "embedding_dim": 32},
        "training": {"evaluations": 3, "steps": 60, "classes_per_batch": 10, "samples_per_class": 6},
    },
}
HELD_OUT = ("mnist",)  # made last: priors know nothing of it, and neither they nor the race were settled on it
MNIST = {"path": "data/mnist", "samples_per_class": 300}  # the four files of the MNIST page, as the studies want them
COMMON = {
    "search": {"trials": POINTS, "parallel": POINTS, "validation_samples": 1000, "start": "published"},
    "final": {"seeds": 1},
    "baselines": "none",
    "losses": dict.fromkeys(LOSSES),
}


def plan_of(situation: str, folder: Path) -> StudyPlan:
    """Return the plan of a situation; features that it needs are made in the folder."""
    given = dict(SITUATIONS[situation])
    if isinstance(given["dataset"], dict) and given["dataset"]["name"] == "features":
        given["dataset"] = {"name": "features", "path": str(features(given["dataset"]["path"], folder))}
    return make_plan(validated({"name": f"search-{situation}", **COMMON, **given}, situation))


def features(of: str, folder: Path) -> Path:
    """Return a file with the 64 largest principal components of HOG descriptors of faces, characters or MNIST."""
    path = folder / f"{of}.npz"
    if not path.is_file():
        name, _, classes = of.partition("-")
        if of == "mnist":
            data = load_dataset("idx", **MNIST)
        elif classes:
            data = load_dataset(name, classes=int(classes), samples=6 if classes == "2000" else 8)
        else:
            data = load_dataset(name, size=[28, 24])
        descriptor = HistogramOfGradients(data.sample_shape)
        pictures = torch.from_numpy(np.asarray(data.samples)).float() / 255
        described = torch.cat([descriptor(part) for part in pictures.split(500)]).numpy()
        components = PCA(64, random_state=0).fit_transform(described).astype(np.float32)
        np.savez(path, features=components, labels=data.labels)
    return path


def from_cube(space: Space, point: dict[str, float]) -> dict[str, Any]:
    """Return the setting at a point of the unit cube."""
    values = fixed_values(space)
    for name, share in point.items():
        dimension = space[name]
        if isinstance(dimension, Choice):
            values[name] = dimension.values[min(int(share * len(dimension.values)), len(dimension.values) - 1)]
        elif dimension.log:
            values[name] = float(dimension.low * (dimension.high / dimension.low) ** share)
        else:
            values[name] = float(dimension.low + (dimension.high - dimension.low) * share)
        if getattr(dimension, "integer", False):
            values[name] = round(values[name])
    return values


def settings_of(plan: StudyPlan, loss: str) -> list[tuple[str, dict[str, Any]]]:
    """Return each setting with where it comes from: the paper's, known or published, or the sequence."""
    space, first = plan.losses[loss].space, plan.losses[loss].first
    searched = sorted(name for name, dimension in space.items() if isinstance(dimension, Range | Choice))
    known = [("default", default_values(space))]
    for setting in (start.values for start in first):
        values = {**default_values(space), **setting}
        fits = all(name in space and (name not in searched or space[name].contains(v)) for name, v in setting.items())
        if fits and all(values != there for _, there in known):
            known.append(("published", values))
    points = qmc.Sobol(len(searched), seed=0).random(256)[:POINTS]
    return known + [("sobol", from_cube(space, dict(zip(searched, point)))) for point in points]


def trained(plan: StudyPlan, jobs: list[TrainingJob], executor: Executor) -> Iterator[TrainingResult]:
    """Train jobs, as populations where the encoder runs in one and is no convolution."""
    groups: dict[Any, list[TrainingJob]] = {}
    for job in jobs:
        alone = plan.alone or job.encoder.name == "conv"
        groups.setdefault(job.key if alone else population_key(job), []).append(job)
    bundles = [tuple(group[i : i + WIDTH]) for group in groups.values() for i in range(0, len(group), WIDTH)]
    while bundles or executor.active:
        while bundles and executor.active < executor.workers:
            executor.submit(bundles.pop(0))
        for _, result in executor.wait():
            yield result


def make(situation: str, folder: Path, workers: int | None, known: set[tuple[str, str]]) -> None:
    """Train every loss of a situation that is neither in the folder nor among the known ones."""
    plan = plan_of(situation, folder)
    executor = create_executor("auto", plan.data, workers=workers, folder=folder / ".cache", device="cpu")
    with closing(executor):
        for loss in LOSSES:
            if (situation, loss) not in known and not (folder / f"{situation}-{loss}.parquet").is_file():
                make_loss(situation, loss, plan, folder, executor)


def make_loss(situation: str, loss: str, plan: StudyPlan, folder: Path, executor: Executor) -> None:
    """Train every setting of a loss on every fold, and write its scores."""
    started = time.perf_counter()
    settings = settings_of(plan, loss)
    jobs = [job for number, (_, values) in enumerate(settings) for job in plan.trial_jobs(loss, number, values)]
    by_key = {job.key: job for job in jobs}
    scores = []
    for result in trained(plan, jobs, executor):
        job, curve = by_key[result.key], result.curve
        points = dict(zip(curve.get("step", []), curve.get(plan.objective, []))) if result.status == "ok" else {}
        if plan.objective in result.metrics:
            points[plan.training.steps] = result.metrics[plan.objective]
        scores += [(job.trial, job.fold, step, value) for step, value in (points or {0: np.nan}).items()]
    seconds = time.perf_counter() - started
    kept = pd.DataFrame(scores, columns=["setting", "fold", "step", "value"])
    kept = kept.astype({"setting": "int16", "fold": "int8", "step": "int16", "value": "float32"})
    said = pd.DataFrame(
        [(number, source, json.dumps(values)) for number, (source, values) in enumerate(settings)],
        columns=["setting", "source", "values"],
    ).astype({"setting": "int16"})
    named = {"situation": situation, "loss": loss}
    said.assign(**named, seconds=seconds).to_parquet(folder / f"{situation}-{loss}-settings.parquet", index=False)
    kept = kept.sort_values(["setting", "fold", "step"]).assign(**named)
    kept.to_parquet(folder / f"{situation}-{loss}.parquet", index=False)
    print(f"{situation:13}{loss:18}{len(jobs):6} trainings in {seconds:7.1f} s", flush=True)


def made_of(situation: str) -> str:
    """Return the dataset whose pictures a situation has."""
    dataset = SITUATIONS[situation]["dataset"]
    name = dataset if isinstance(dataset, str) else dataset["path" if dataset["name"] == "features" else "name"]
    return str(name).partition("-")[0]


def committed(path: Path) -> dict[tuple[str, str], pd.DataFrame]:
    """Return a committed table by situation and loss; nothing where there is none."""
    if not path.is_file():
        return {}
    table = pd.read_parquet(path).astype({"situation": str, "loss": str})
    return {(str(situation), str(loss)): rows for (situation, loss), rows in table.groupby(["situation", "loss"])}


def join(folder: Path, *, anew: bool = False) -> None:
    """Write the committed tables from what lies in the folder, and what they held before unless ``anew``."""
    spaces = {} if anew or not SPACES.is_file() else json.loads(SPACES.read_text(encoding="utf-8"))
    for situation in SITUATIONS:
        there = [loss for loss in LOSSES if (folder / f"{situation}-{loss}.parquet").is_file()]
        if there:
            plan = plan_of(situation, folder)
            known = {} if anew else spaces.get(situation, {})
            spaces[situation] = {**known, "situation": {**asdict(situation_of(plan)), "dataset": made_of(situation)}}
            spaces[situation] |= {loss: describe_space(plan.losses[loss].space) for loss in there}
    for target, ending in ((SCORES, ""), (SETTINGS, "-settings")):
        parts, before = [], {} if anew else committed(target)
        for case in ((situation, loss) for situation in SITUATIONS for loss in LOSSES):
            made = folder / f"{case[0]}-{case[1]}{ending}.parquet"
            if made.is_file() or case in before:
                parts.append(pd.read_parquet(made) if made.is_file() else before[case])
        table = pd.concat(parts, ignore_index=True)
        if "value" in table:
            table["value"] = table["value"].round(4)
        table.astype({"situation": "category", "loss": "category"}).to_parquet(target, index=False, compression="zstd")
    SPACES.write_text(json.dumps(spaces, indent=1) + "\n", encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="what is trained lies here; run again to go on")
    parser.add_argument("--situation", choices=SITUATIONS, action="append", help="only this one (may be repeated)")
    parser.add_argument("--workers", type=int, default=None, help="processes; one for each core by default")
    parser.add_argument("--anew", action="store_true", help="train what the committed tables hold, too")
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    known = set() if options.anew else set(committed(SCORES))
    for situation in options.situation or SITUATIONS:
        make(situation, options.folder, options.workers, known)
    join(options.folder, anew=options.anew)


if __name__ == "__main__":
    main()
