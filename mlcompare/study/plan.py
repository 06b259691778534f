"""A study made concrete: data, splits, spaces, and every job it consists of."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from mlcompare.data import (
    Dataset,
    load_dataset,
    resolve_augmentation,
    sample_hash,
)
from mlcompare.data.teacher import teacher_hash
from mlcompare.encoders import create_encoder, get_encoder_spec
from mlcompare.execution.bundles import versions
from mlcompare.execution.embedding import embedder
from mlcompare.losses.compose import LossEntry
from mlcompare.metrics import parse_metric
from mlcompare.search.space import Space
from mlcompare.study.config import StudyConfig, as_study
from mlcompare.study.feature_scale import scaled
from mlcompare.study.metric_checks import check_measurable, check_metric_names, levels_measured
from mlcompare.study.moved_paths import PLACES, places_of
from mlcompare.study.places import section
from mlcompare.study.plan_checks import (
    check_augment,
    check_baselines,
    check_label_forms,
    check_names,
    check_ranks,
    check_teachers,
    check_trainer,
)
from mlcompare.study.spaces import LossPlan, check_batch, fit_losses, plan_losses
from mlcompare.study.study_data import bounded_splits, corrupted_splits, paired, protocol_splits, read_teachers
from mlcompare.training import (
    EncoderConfig,
    TrainingConfig,
    TrainingData,
    TrainingJob,
    baselines_of,
    derive_seed,
    is_fitted,
)
from mlcompare.training.freeze import freeze
from mlcompare.training.frozen import frozen_features
from mlcompare.training.population import alone_by_config, population_fault
from mlcompare.training.prepare import check_statistics
from mlcompare.training.pretrained import load_weights, read_weights

__all__ = ["LossPlan", "StudyPlan", "make_plan"]

FEW_SEALED = 5000  # samples: more take seconds to score
REPORTED_OF_PAIRS = ("verification_accuracy", "auc", "eer", "tar_at_far_1e-2")
REPORTED = ("map_at_r", "recall_at_1", "r_precision", "auc", "eer")


@dataclass(frozen=True)
class StudyPlan:
    """Everything a coordinator needs; made by :func:`make_plan`. ``alone`` says why populations can't be trained."""

    config: StudyConfig
    data: TrainingData
    losses: Mapping[str, LossPlan]
    device: str = "cpu"
    threads: int = 1
    place: str = "study"
    scratch: Path | None = None
    alone: str | None = None
    metrics_of_levels: tuple[str, ...] = ()  # the objective at each level of the dataset's hierarchy
    notes: tuple[str, ...] = field(default=())

    @property
    def encoder(self) -> EncoderConfig:
        """What is trained: the study's encoder, or the head on a frozen one."""
        return self.config.encoder.trained

    @property
    def training(self) -> TrainingConfig:
        training = self.config.training
        return training.replaced(augment=resolve_augmentation(dict(training.augment)))

    @property
    def objective(self) -> str:
        return self.config.search.objective

    @property
    def test_metrics(self) -> tuple[str, ...]:
        """The objective first, then the metrics of every report, those of levels, and those the study adds."""
        reported = REPORTED_OF_PAIRS if self.data.splits.pairs else REPORTED
        return tuple(dict.fromkeys((self.objective, *reported, *self.metrics_of_levels, *self.config.final.metrics)))

    @property
    def metrics_of_prefixes(self) -> tuple[str, ...]:
        """The objective of every loss's first coordinates, where a loss of the study is nested in prefixes of them."""
        metric = parse_metric(self.objective)
        if metric.group == "closed_set":
            return ()
        sizes = {size for loss in self.losses.values() for size in loss.prefixes} - {self.config.encoder.embedding_dim}
        return tuple(f"{metric.whole}_in_{size}" for size in sorted(sizes, reverse=True))

    @property
    def baselines(self) -> tuple[str, ...]:
        """The names of the baselines: those that the study names, else all that suit the dataset."""
        named = self.config.baselines
        return baselines_of(self.data.dataset) if named is None else named

    @property
    def folds(self) -> range:
        return range(self.config.protocol.folds)

    def trial_jobs(self, loss: str, trial: int, values: Mapping[str, Any]) -> list[TrainingJob]:
        """One job for each fold; every loss and trial shares the fold's seed, so that they are compared in pairs."""
        metrics = tuple(dict.fromkeys((self.objective, "recall_at_1")))
        entry, seed = self.losses[loss].entry, self.config.search.seed
        return [
            self._job(
                "trial", entry, values, fold, derive_seed("search", seed, fold), trial=trial, split="validation",
                metrics=metrics,
            )
            for fold in self.folds
        ]  # fmt: skip

    def final_jobs(self, loss: str, trial: int, values: Mapping[str, Any]) -> list[TrainingJob]:
        """Retrain a setting on every fold × seed and score it on the sealed test samples."""
        return [
            self._job(
                "final", self.losses[loss].entry, values, fold, self._final_state(fold, seed), trial=trial, seed=seed,
                split="test", metrics=tuple(dict.fromkeys((*self.test_metrics, *self.metrics_of_prefixes))),
                keep=seed == 0,
            )
            for fold in self.folds
            for seed in range(self.config.final.seeds)
        ]  # fmt: skip

    def baseline_jobs(self) -> list[TrainingJob]:
        """The baselines, scored as the losses are: descriptors once, PCA and SVM for each fold, the untrained encoder
        fold × seed (one seed where more than 5000 sealed samples cost seconds each time).

        Accuracy is that of class means, which are each fold's own: with it, descriptors are scored on every fold.
        """
        jobs, few = [], len(self.data.splits.test) <= FEW_SEALED
        for name in self.baselines:
            folds = self.folds if is_fitted(name, self.test_metrics) else range(1)
            seeds = range(self.config.final.seeds) if name == "untrained_encoder" and few else range(1)
            jobs += [
                self._job(
                    "baseline", None, {}, fold, self._final_state(fold, seed), seed=seed, split="test",
                    metrics=self.test_metrics, baseline=name,
                )
                for fold in folds
                for seed in seeds
            ]  # fmt: skip
        return jobs

    def _final_state(self, fold: int, seed: int) -> int:
        return derive_seed("final", self.config.search.seed, fold, seed)

    def _job(
        self, kind: str, entry: LossEntry | None, values: Mapping[str, Any], fold: int, random_state: int, **more: Any
    ) -> TrainingJob:
        trainer = self.config.trainer if kind != "baseline" else None
        if trainer is not None:
            more |= {"trainer": trainer.name, "trainer_options": trainer.options}
        encoder = self.encoder
        if "embedding_dim" in values:
            encoder = replace(encoder, embedding_dim=values["embedding_dim"])
        job = TrainingJob(
            kind, entry, dict(values), encoder, self.training, fold, random_state, device=self.device,
            threads=self.threads, **more,
        )  # fmt: skip
        if self.scratch is None or kind == "baseline":
            return job
        return replace(job, folder=str(self.scratch if trainer is None else self.scratch / job.key))

    def count(self) -> dict[str, int]:
        """How many trainings of each kind the study consists of (at most: a selected default is trained once)."""
        folds, losses = len(self.folds), len(self.losses)
        trials = self.config.search.trials
        settings = 1 if trials == 1 else 2
        return {
            "trial": losses * trials * folds,
            "final": losses * settings * folds * self.config.final.seeds,
            "baseline": len(self.baseline_jobs()),
        }

    def corrupted(self) -> str:
        """Say what was made worse in the training samples, with the sizes that are left of fold 0; empty if nothing."""
        section, fold = self.config.corruption, self.data.splits.folds[0]
        parts = []
        if section.label_noise:
            wrong = int((fold.labels(self.data.dataset.labels) != self.data.dataset.labels[fold.train]).sum())
            parts.append(f"{wrong} of {len(fold.train)} labels are wrong")
        if section.imbalance > 1:
            sizes = np.unique(self.data.dataset.labels[fold.train], return_counts=True)[1]
            parts.append(f"classes of {sizes.max()} down to {sizes.min()} samples, {len(fold.train)} in all")
        return "; ".join(parts)

    def fingerprint(self) -> dict[str, Any]:
        """What decides the numbers, and where it lies: a store belongs to one fingerprint, wherever that is."""
        study = self.config.model_dump(mode="json")
        return {
            "study": study,
            **({PLACES: places} if (places := places_of(study)) else {}),
            "dataset": self.data.dataset.fingerprint,
            "splits": self.data.splits.hash,
            **({"validation_samples": drawn} if (drawn := sample_hash(self.data.splits)) else {}),
            "spaces": {name: describe_space(plan.space) for name, plan in self.losses.items()},
            "device": torch.device(self.device).type,
            "threads": self.threads,
            "versions": versions(),
            **({"weights": self._weights_hash()} if self.encoder.weights else {}),
            **({"teachers": teachers} if (teachers := self._teachers_hashes()) else {}),
        }

    def _teachers_hashes(self) -> dict[str, str]:
        return {path: teacher_hash(embeddings) for path, embeddings in sorted(self.data.teachers.items())}

    def _weights_hash(self) -> str:
        """What the weights that training starts from are, wherever they lie."""
        digest = hashlib.sha256()
        state, statistics = read_weights(str(self.encoder.weights))
        for key, tensor in sorted(state.items()):
            digest.update(f"{key} {tuple(tensor.shape)} {tensor.dtype}".encode())
            digest.update(tensor.contiguous().flatten().view(torch.uint8).numpy().tobytes())
        digest.update(repr(statistics).encode())
        return digest.hexdigest()


def describe_space(space: Space) -> dict[str, Any]:
    """Return a space as plain data: ranges and choices as mappings, fixed values as they are."""
    return {name: _described(dimension) for name, dimension in space.items()}


def _described(dimension: Any) -> Any:
    return asdict(dimension) if hasattr(dimension, "contains") else dimension


def make_plan(
    study: StudyConfig | Mapping[str, Any] | str | Path, *, place: str | None = None, device: str = "cpu",
    threads: int = 1, dataset: Dataset | None = None,
) -> StudyPlan:  # fmt: skip
    """Check a study against registry and data, and return the plan. Nothing is written but the features of a frozen
    encoder, into the user's cache.

    Args:
        study: a study file, or its content.
        place: what it is called in messages; by default its path.
        dataset: what stands for the study's data, where they are not to be read.

    Raises:
        StudyFileError: with file and key, rule, value and cure.
    """
    place = place or (str(study) if isinstance(study, str | Path) else "study")
    config = as_study(study)
    check_names(config, place)
    check_trainer(config, place)
    check_ranks(config, place)
    losses = plan_losses(config, place)
    check_metric_names(config, place)
    with section(place, "dataset"):
        if dataset is None:
            dataset = load_dataset(config.dataset.name, **config.dataset.options)
    with section(place, "protocol.pairs"):
        dataset = paired(config, dataset)
    check_augment(config, dataset, place)
    check_baselines(config, dataset, place)
    with section(place, "protocol"):
        clean = protocol_splits(config, dataset)
    with section(place, "corruption"):
        splits = bounded_splits(config, dataset, corrupted_splits(config, dataset, clean))
    check_measurable(config, dataset, splits, place)
    check_teachers(losses, config, place)
    check_label_forms(losses, dataset, config.training.class_sample, place)
    with section(place, "training"):
        check_batch(config.training, dataset, splits)
    with section(place, "encoder"):
        if config.encoder.frozen:
            dataset = frozen_features(
                dataset, config.encoder.name, config.encoder.options, splits.development,
                weights=config.encoder.weights, statistics=config.encoder.statistics, device=device, threads=threads,
                embedder=embedder(device, splits),
            )  # fmt: skip
        dataset = scaled(dataset, config.encoder)
    data = TrainingData(dataset, splits, read_teachers(losses, dataset, place))
    levels = levels_measured(config, dataset, splits)
    plan = StudyPlan(config, data, losses, device, threads, place, metrics_of_levels=levels)
    with section(place, "encoder.head" if config.encoder.frozen else "encoder"):
        encoder = plan.encoder
        built = create_encoder(
            encoder.name, input_shape=dataset.sample_shape, embedding_dim=encoder.embedding_dim, **encoder.options
        )
        load_weights(built, encoder.weights, encoder.statistics)
        check_statistics(built, dataset)
        freeze(built, encoder.freeze)
    pretrained = not config.encoder.frozen and getattr(built, "statistics", None) is not None
    losses = fit_losses(losses, config, plan.data, place, pretrained=pretrained)
    return replace(plan, losses=losses, alone=_alone(config, built, dataset))


def _alone(config: StudyConfig, encoder: nn.Module, dataset: Dataset) -> str | None:
    """Return why this study's trainings can't run in a population, or None."""
    if config.trainer is not None:
        return "a trainer of your own trains one encoder at a time"
    by_config = alone_by_config(config.training)
    if by_config is not None:
        return by_config
    if not get_encoder_spec(config.encoder.trained.name).batched:
        return "the encoder does not run in a population"
    fault = population_fault(encoder, dataset.sample_shape)
    return None if fault is None else f"the encoder does not run in a population ({fault})"
