"""The same study two ways, in one run: mlcompare, and the way it is written by hand with public tools.

By hand: Optuna ``optimize``, losses and miners of pytorch-metric-learning, a DataLoader with an M-per-class sampler,
its AccuracyCalculator, MLflow's ``log_metric`` every 10 steps, torch's default threads, the GPU where there is one.
Both get the same losses, trials, steps, folds and batches; imports are left out of both, those of the process that
workers are forked from included: a tiny study before each case starts it. Baselines, which nobody writes by hand, are
neither counted as trainings nor charged: mlcompare's time is taken by its trainings' share of all the work.
Convolutions train in bfloat16 where the processor multiplies in it (AMX), and the line says so. Prints trainings per
minute, their ratio, and the scores: the best of each search, and those of mlcompare's best setting trained both ways.

    python tests/benchmarks/studies.py --quick        (with the extra [test], for faiss)
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import mlflow
import numpy as np
import optuna
import torch
from pytorch_metric_learning import distances, losses, miners, reducers, samplers
from pytorch_metric_learning.utils.accuracy_calculator import AccuracyCalculator
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from mlcompare.data import Dataset, draw_splits, register_dataset
from mlcompare.encoders import create_encoder
from mlcompare.study import read_journal, run_study

LOSSES = ("cosface", "trihard", "contrastive")
CLASSES, EACH = 60, 30
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
HALF = DEVICE == "cpu" and torch.cpu.get_capabilities().get("amx_bf16", False)


@dataclass(frozen=True)
class Case:
    name: str
    dataset: str
    encoder: dict
    steps: int
    trials: int
    parallel: int
    classes_per_batch: int = 16
    samples_per_class: int = 4
    precision: str = "float32"


CASES = [
    Case("frozen features, linear head", "bench_features", {"name": "linear", "embedding_dim": 64}, 100, 32, 8),
    Case("frozen features, mlp head", "bench_features", {"name": "mlp", "embedding_dim": 64, "width": 256}, 100, 24, 8),
    Case(
        "28×28 images, conv4",
        "bench_images",
        {"name": "conv4", "embedding_dim": 64},
        60,
        6,
        3,
        precision="bfloat16" if HALF else "float32",
    ),
]


@register_dataset("bench_features")
def bench_features() -> Dataset:
    """Gaussian classes in 128 dimensions."""
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(CLASSES), EACH)
    samples = rng.normal(size=(CLASSES, 128))[labels] + 2.2 * rng.normal(size=(len(labels), 128))
    return Dataset("bench_features", samples.astype(np.float32), labels, tuple(map(str, range(CLASSES))))


@register_dataset("bench_images")
def bench_images() -> Dataset:
    """Smooth random patterns with noise, 28 × 28 pixels."""
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(CLASSES), EACH)
    patterns = np.kron(rng.normal(size=(CLASSES, 1, 7, 7)), np.ones((1, 1, 4, 4)))
    samples = 128 + 30 * patterns[labels] + 60 * rng.normal(size=(len(labels), 1, 28, 28))
    return Dataset("bench_images", samples.clip(0, 255).astype(np.uint8), labels, tuple(map(str, range(CLASSES))))


READERS = {"bench_features": bench_features, "bench_images": bench_images}
PROTOCOL = {"kind": "class_disjoint", "test_classes": 0.4, "folds": 4}


def by_mlcompare(case: Case, folder: Path) -> tuple[float, dict[str, float], dict[str, dict[str, float]]]:
    """Return seconds for each training, and of each loss the best validation score and its setting."""
    study = {
        "name": "bench",
        "dataset": case.dataset,
        "protocol": PROTOCOL,
        "encoder": case.encoder,
        "training": {
            "steps": case.steps,
            "classes_per_batch": case.classes_per_batch,
            "samples_per_class": case.samples_per_class,
            "precision": case.precision,
        },
        "search": {
            "trials": case.trials,
            "parallel": case.parallel,
            "space": {"lr": {"low": 1e-4, "high": 1e-1, "log": True}},
        },
        "final": {"seeds": 1},
        "losses": dict.fromkeys(LOSSES),
    }
    folder.mkdir(exist_ok=True)
    started = time.perf_counter()
    run_study(study, folder / "store")
    seconds = time.perf_counter() - started
    jobs = [record for record in read_journal(folder / "store" / "journal.jsonl") if record["type"] == "job"]
    trainings = [job["seconds"] for job in jobs if job["kind"] != "baseline"]
    seconds *= sum(trainings) / sum(job["seconds"] for job in jobs)
    from mlcompare.comparison import load_results, trial_settings

    settings = trial_settings(load_results(folder / "store"))
    best = settings[settings["value"] == settings.groupby("loss")["value"].transform("max")]
    chosen = {loss: dict(zip(rows["hyperparameter"], rows["setting"])) for loss, rows in best.groupby("loss")}
    return seconds / len(trainings), best.groupby("loss")["value"].first().to_dict(), chosen


def hand_written_loss(name: str, trial: optuna.Trial, num_classes: int):
    """Return loss and miner of pytorch-metric-learning with the hyperparameters that mlcompare searches."""
    if name == "cosface":
        margin, scale = trial.suggest_float("margin", 0, 0.6), trial.suggest_float("scale", 4, 128, log=True)
        return losses.CosFaceLoss(num_classes, 64, margin=margin, scale=scale), None
    if name == "trihard":
        margin = trial.suggest_float("margin", 0.05, 1)
        reducer = reducers.MeanReducer()
        return losses.TripletMarginLoss(margin=margin, reducer=reducer), miners.BatchHardMiner()
    margins = trial.suggest_float("positive_margin", 0, 0.5), trial.suggest_float("margin", 0.3, 1.6)
    return losses.ContrastiveLoss(*margins, distance=distances.LpDistance()), None


def hand_written_training(case: Case, data: Dataset, fold, loss, miner, lr: float, run_id: str, client) -> float:
    """Train on one fold as scripts do; return the validation MAP@R."""
    scale = np.float32(255.0 if data.is_images else 1.0)
    rows, held_out = fold.train, fold.validation
    _, targets = np.unique(data.labels[rows], return_inverse=True)
    train_set = TensorDataset(torch.tensor(data.samples[rows] / scale).float(), torch.tensor(targets))
    batch = case.classes_per_batch * case.samples_per_class
    sampler = samplers.MPerClassSampler(
        targets, case.samples_per_class, batch, length_before_new_iter=batch * case.steps
    )
    loader = DataLoader(train_set, batch_size=batch, sampler=sampler, drop_last=True)
    options = {key: value for key, value in case.encoder.items() if key not in ("name", "embedding_dim")}
    shape = data.sample_shape
    encoder: nn.Module = create_encoder(case.encoder["name"], input_shape=shape, embedding_dim=64, **options).to(DEVICE)
    loss.to(DEVICE)
    optimizer = torch.optim.AdamW([*encoder.parameters(), *loss.parameters()], lr=lr, weight_decay=1e-4)
    encoder.train()
    for step, (inputs, labels) in enumerate(loader):
        inputs, labels = inputs.to(DEVICE), labels.to(DEVICE)
        embeddings = encoder(inputs)
        value = loss(embeddings, labels, miner(embeddings, labels)) if miner else loss(embeddings, labels)
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
        if step % 10 == 0:
            client.log_metric(run_id, "loss", value.item(), step=step)
    encoder.eval()
    with torch.no_grad():
        embeddings = nn.functional.normalize(encoder(torch.tensor(data.samples[held_out] / scale).float().to(DEVICE)))
    calculator = AccuracyCalculator(include=("mean_average_precision_at_r", "precision_at_1"), k="max_bin_count")
    scores = calculator.get_accuracy(embeddings.cpu(), torch.tensor(data.labels[held_out]))
    return scores["mean_average_precision_at_r"]


def by_hand(
    case: Case, folder: Path, settings: dict[str, dict[str, float]] | None = None
) -> tuple[float, dict[str, float]]:
    """Return seconds for each training, and the best validation score of each loss, or that of a given setting."""
    data = READERS[case.dataset]()
    splits = draw_splits(data.labels, **PROTOCOL)
    best, trainings = {}, 0
    started = time.perf_counter()
    client = mlflow.MlflowClient(tracking_uri=f"sqlite:///{folder / 'hand.db'}")
    experiment = client.create_experiment(
        "hand" if settings is None else "hand, given settings", artifact_location=(folder / "artifacts").as_uri()
    )
    for name in LOSSES:

        def objective(trial: optuna.Trial, name: str = name) -> float:
            nonlocal trainings
            lr = trial.suggest_float("lr", 1e-4, 1e-1, log=True)
            run_id = client.create_run(experiment).info.run_id
            for key, value in {"loss": name, "lr": lr}.items():
                client.log_param(run_id, key, value)
            scores = []
            for fold in splits.folds:
                loss, miner = hand_written_loss(name, trial, len(np.unique(data.labels[fold.train])))
                scores.append(hand_written_training(case, data, fold, loss, miner, lr, run_id, client))
                trainings += 1
            client.log_metric(run_id, "map_at_r", float(np.mean(scores)))
            client.set_terminated(run_id)
            return float(np.mean(scores))

        if settings is not None:
            best[name] = objective(optuna.trial.FixedTrial(settings[name]))
            continue
        study = optuna.create_study(direction="maximize", sampler=optuna.samplers.TPESampler(seed=0))
        study.optimize(objective, n_trials=case.trials)
        best[name] = study.best_value
    return (time.perf_counter() - started) / trainings, best


def warm_up(case: Case, folder: Path) -> None:
    """Make imports cost neither side anything: MLflow's, torch's lazy ones, and those of the workers' parent."""
    tiny = Case(**{**case.__dict__, "steps": 2, "trials": 1, "parallel": 1})
    by_mlcompare(tiny, folder / "tiny")
    mlflow.MlflowClient(tracking_uri=f"sqlite:///{folder / 'warm.db'}").create_experiment("warm")
    encoder = nn.Linear(2, 2)
    optimizer = torch.optim.AdamW(encoder.parameters())
    encoder(torch.ones(1, 2)).sum().backward()
    optimizer.step()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="half the trials")
    parser.add_argument("--only", help="cases whose name contains this")
    arguments = parser.parse_args()
    os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    threads = torch.get_num_threads()
    print(f"torch {torch.__version__}, {threads} threads by default, {len(os.sched_getaffinity(0))} cores")
    for case in CASES:
        if arguments.only and arguments.only not in case.name:
            continue
        if arguments.quick:
            case = Case(**{**case.__dict__, "trials": max(2, case.trials // 2)})
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            warm_up(case, folder)
            torch.set_num_threads(threads)
            hand, hand_scores = by_hand(case, folder)
            ours, our_scores, settings = by_mlcompare(case, folder)
            torch.set_num_threads(threads)
            again, same = by_hand(case, folder, settings)
        hand = (case.trials * hand + again) / (case.trials + 1)  # before and after: the machine's pace may drift
        precision = "" if case.precision == "float32" else f" in {case.precision}"
        rates = f"by hand {60 / hand:.0f} trainings a minute, mlcompare {60 / ours:.0f}{precision}"
        print(f"{case.name}: ratio {hand / ours:.1f}  ({rates})", flush=True)
        for loss in LOSSES:
            scores = f"by hand {hand_scores[loss]:.3f}, mlcompare {our_scores[loss]:.3f}"
            print(f"    {loss:12s} best validation MAP@R {scores}; mlcompare's setting by hand {same[loss]:.3f}")


if __name__ == "__main__":
    main()
