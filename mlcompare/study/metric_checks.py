"""Whether the metrics of a study can be measured on its samples: told before anything is trained."""

from __future__ import annotations

import math
from contextlib import suppress

import numpy as np
import torch

from mlcompare.data import Dataset, Splits
from mlcompare.data.levels import group_codes
from mlcompare.errors import InvalidValueError
from mlcompare.evaluation import evaluate_embeddings
from mlcompare.metrics import OWN, parse_metric
from mlcompare.study.config import StudyConfig
from mlcompare.study.places import section
from mlcompare.training.searched import EMBEDDING_DIM

__all__ = ["check_measurable", "check_metric_names", "levels_measured"]

FEW = 1000  # samples that a metric is tried on first: most metrics need no more


def check_metric_names(config: StudyConfig, place: str) -> None:
    """Check that the metrics exist and suit the protocol.

    Raises:
        StudyFileError: with file and key, rule, value and cure.
    """
    with section(place, "search.objective"):
        _check_name(config.search.objective, config)
    with section(place, "final.metrics"):
        for metric in config.final.metrics:
            _check_name(metric, config)


def check_measurable(config: StudyConfig, dataset: Dataset, splits: Splits, place: str) -> None:
    """Check that every metric has the samples that it needs, in each fold's validation and among the sealed ones.

    Raises:
        StudyFileError: with file and key, rule, value and cure.
    """
    with section(place, "search.objective"):
        _check_far(config, dataset, splits)
        for number, fold in enumerate(splits.folds):
            _try(config.search.objective, dataset, fold.scored, f"the validation samples of fold {number}")
        if splits.pairs is None:
            _try(config.search.objective, dataset, splits.test, "the sealed samples")
    with section(place, "final.metrics"):
        for metric in config.final.metrics if splits.pairs is None else ():
            _try(metric, dataset, splits.test, "the sealed samples")


def levels_measured(config: StudyConfig, dataset: Dataset, splits: Splits) -> tuple[str, ...]:
    """Return the objective of each level of the dataset's hierarchy that has the sealed samples for it."""
    metric, found = parse_metric(config.search.objective), []
    if metric.group == "closed_set" or splits.pairs is not None:
        return ()
    for level in dataset.levels:
        name = f"{metric.plain}_level_{level}"
        with suppress(InvalidValueError):
            _try(name, dataset, splits.test, "the sealed samples")
            found.append(name)
    return tuple(found)


def _check_name(name: str, config: StudyConfig) -> None:
    metric = parse_metric(name)
    if (
        metric.dims is not None
        and metric.dims > config.encoder.embedding_dim
        and EMBEDDING_DIM not in config.search.space
    ):
        rule, cure = "an embedding must have the coordinates that a metric is of", f"choose {metric.whole}"
        raise InvalidValueError(rule, value=f"{name}, embedding_dim: {config.encoder.embedding_dim}", cure=cure)
    if metric.level is not None and config.protocol.kind == "verification_pairs":
        rule, cure = "listed pairs say themselves what is alike", f"choose {metric.plain}"
        raise InvalidValueError(rule, value=name, cure=cure)
    if metric.group == "closed_set" and config.protocol.kind != "closed_set":
        cure = "choose protocol.kind: closed_set, or a metric of embeddings such as recall_at_1"
        rule = f"`{name}` needs the same classes in training and test"
        raise InvalidValueError(rule, value=f"protocol.kind: {config.protocol.kind}", cure=cure)
    if config.protocol.kind == "verification_pairs" and metric.group != "verification":
        cure = "choose verification_accuracy, auc, eer or tar_at_far_1e-2"
        raise InvalidValueError("pairs are scored by verification metrics", value=name, cure=cure)


def _try(name: str, dataset: Dataset, rows: np.ndarray, where: str) -> None:
    """Measure a metric on embeddings drawn by chance: what it needs of the labels, it says itself.

    A metric of one's own is left out, for its code may expect more of embeddings than chance gives; so is one that
    needs more than embeddings.
    """
    metric = parse_metric(name)
    labels, kind = dataset.labels[rows], "classes"
    if metric.level is not None:
        labels, kind = group_codes(dataset.levels, metric.level)[labels], f"groups of `{metric.level}`"
    if metric.group in (OWN, "closed_set") or metric.stem == "verification_accuracy":
        return
    few = labels if len(labels) <= FEW else _whole_classes(labels)
    try:
        _measure(metric.plain, few)
    except InvalidValueError:
        try:
            _measure(metric.plain, labels)
        except InvalidValueError as error:
            value = f"{len(labels)} samples of {len(np.unique(labels))} {kind}: {where}"
            cure = error.cure or "choose another metric, or seal more samples"
            raise InvalidValueError(f"`{name}`: {error.rule}", value=value, cure=cure) from None


def _measure(name: str, labels: np.ndarray) -> None:
    generator = torch.Generator().manual_seed(0)
    evaluate_embeddings(torch.randn(len(labels), 4, generator=generator), labels, metrics=name)


def _whole_classes(labels: np.ndarray) -> np.ndarray:
    """Return the labels of the first classes, some :data:`FEW` samples."""
    classes, counts = np.unique(labels, return_counts=True)
    chosen = classes[: max(2, int(np.searchsorted(counts.cumsum(), FEW)))]
    return labels[np.isin(labels, chosen)]


def _check_far(config: StudyConfig, dataset: Dataset, splits: Splits) -> None:
    """A false accept rate can be kept only where one false accept is not already more than it."""
    metric = parse_metric(config.search.objective)
    if metric.stem != "tar_at_far" or metric.far is None:
        return
    groups = None if metric.level is None else group_codes(dataset.levels, metric.level)
    labels = dataset.labels if groups is None else groups[dataset.labels]
    for number, fold in enumerate(splits.folds):
        sizes = np.unique(labels[fold.scored], return_counts=True)[1]
        different = (int(sizes.sum()) ** 2 - int((sizes**2).sum())) // 2
        if different * metric.far * (1 + 1e-12) < 1:
            rule = f"`{metric.name}` needs {math.ceil(1 / metric.far)} pairs of different classes in every fold"
            cure = "choose a higher rate, fewer folds, or auc"
            raise InvalidValueError(rule, value=f"{different} in the validation samples of fold {number}", cure=cure)
