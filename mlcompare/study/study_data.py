"""The data of a study: its dataset, and the splits that its protocol and corruption make of it."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from mlcompare.data import (
    Dataset,
    Splits,
    bound_validation,
    corrupt_splits,
    draw_splits,
    load_dataset,
    read_pairs,
    with_pairs,
)
from mlcompare.data.teacher import read_teacher
from mlcompare.study.config import StudyConfig
from mlcompare.study.places import section
from mlcompare.study.spaces import LossPlan

__all__ = [
    "bounded_splits",
    "corrupted_splits",
    "paired",
    "protocol_splits",
    "read_teachers",
    "study_dataset",
    "study_splits",
]


def paired(config: StudyConfig, dataset: Dataset) -> Dataset:
    """Return the dataset with the images of its verification pairs, where these bring their own."""
    return dataset if config.protocol.pairs is None else with_pairs(dataset, config.protocol.pairs)


def study_dataset(config: StudyConfig) -> Dataset:
    """Read the dataset of a study, with the images of its verification pairs where these bring their own."""
    return paired(config, load_dataset(config.dataset.name, **config.dataset.options))


def protocol_splits(config: StudyConfig, dataset: Dataset) -> Splits:
    """Draw the splits of a study's protocol."""
    options = config.protocol.model_dump()
    path = options.pop("pairs")
    pairs = None if path is None else read_pairs(path, dataset)
    return draw_splits(dataset.labels, official=dataset.split, pairs=pairs, names=dataset.class_names, **options)


def corrupted_splits(config: StudyConfig, dataset: Dataset, splits: Splits) -> Splits:
    """Return splits with the training samples corrupted where the study says so."""
    return corrupt_splits(splits, dataset.labels, **config.corruption.model_dump())


def bounded_splits(config: StudyConfig, dataset: Dataset, splits: Splits) -> Splits:
    """Return splits whose folds are scored on at most ``search.validation_samples`` rows."""
    return bound_validation(splits, dataset.labels, most=config.search.validation_samples, seed=config.protocol.seed)


def study_splits(config: StudyConfig, dataset: Dataset) -> Splits:
    """Draw the splits of a study: its protocol's, with the training samples corrupted where it says so."""
    return bounded_splits(config, dataset, corrupted_splits(config, dataset, protocol_splits(config, dataset)))


def read_teachers(losses: Mapping[str, LossPlan], dataset: Dataset, place: str) -> dict[str, np.ndarray]:
    """Return what losses distil from, by the path that they name: embeddings of every sample ``(N, T)``.

    Raises:
        StudyFileError: a file is missing, broken, or of other samples.
    """
    found: dict[str, np.ndarray] = {}
    for name, loss in losses.items():
        for path in loss.teachers:
            if path not in found:
                with section(place, f"losses.{name}"):
                    found[path] = read_teacher(path, dataset)
    return found
