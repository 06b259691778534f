"""What features are divided by before a network sees them: each column by its own deviation, or all by one.

Columns in several units need their own. Of embeddings and descriptors it takes the geometry away: a column that hardly
moves on the training classes may on new ones be thousands of its deviations away, and outweigh all others. Which of
both suits is seen without any training: statistics of one half of the training classes, MAP@R of the other.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import numpy as np
import torch

from mlcompare.data import Dataset
from mlcompare.errors import InvalidValueError
from mlcompare.evaluation import evaluate_embeddings
from mlcompare.study.config import StudyConfig
from mlcompare.study.sections import EncoderSection
from mlcompare.training import TrainingData
from mlcompare.training.prepare import Standardizer

__all__ = ["scale_note", "scale_qualities", "scaled"]

MOST, MEASURED = 1000, 20_000  # samples that are looked at, and that deviations are measured on
MUCH = 0.05  # of MAP@R: what a note is worth
Scale = Literal["column", "whole"]
SCALES: tuple[Scale, ...] = ("column", "whole")


def scaled(dataset: Dataset, encoder: EncoderSection) -> Dataset:
    """Return the dataset with the scale that the study asks for.

    Raises:
        InvalidValueError: it is of images, or says what its input is normalised by.
    """
    if encoder.feature_scale == "column":
        return dataset
    if dataset.is_images or (encoder.statistics is not None and not encoder.frozen):
        rule = "`feature_scale` is of features whose statistics are measured"
        value = "images" if dataset.is_images else "`input_mean` and `input_std`"
        raise InvalidValueError(rule, value=value, cure="leave it out", place="feature_scale")
    return replace(dataset, feature_scale=encoder.feature_scale)


def scale_qualities(dataset: Dataset, rows: np.ndarray) -> dict[str, float]:
    """Return the MAP@R of features themselves with each scale, over at most 1000 of the training ``rows``.

    The deviations are those of every other class, and the MAP@R is of the others. It is empty where those are one
    class, or none has two samples.
    """
    codes = np.unique(dataset.labels[rows], return_inverse=True)[1]
    measured, few = _some(rows[codes % 2 == 0], MEASURED), _some(rows[codes % 2 == 1], MOST)
    labels = dataset.labels[few]
    counts = np.unique(labels, return_counts=True)[1]
    if len(counts) < 2 or counts.max() < 2:
        return {}
    samples = torch.as_tensor(dataset.samples[few])
    standardizers = [Standardizer.measure(replace(dataset, feature_scale=scale), measured, "cpu") for scale in SCALES]
    found = [evaluate_embeddings(standardize(samples), labels)["map_at_r"] for standardize in standardizers]
    return dict(zip(SCALES, found))


def _some(rows: np.ndarray, most: int) -> np.ndarray:
    """At most so many of the rows, evenly spaced."""
    return rows[np.linspace(0, len(rows) - 1, min(most, len(rows))).astype(int)]


def scale_note(config: StudyConfig, data: TrainingData) -> list[str]:
    """Return the note that the other scale would serve much better, where it would."""
    measured = config.encoder.frozen or config.encoder.statistics is None
    if data.dataset.is_images or not measured:
        return []
    qualities, own = scale_qualities(data.dataset, data.splits.folds[0].train), config.encoder.feature_scale
    other = next(scale for scale in SCALES if scale != own)
    if not qualities or qualities[other] - qualities[own] <= MUCH:
        return []
    how = {"column": "each column divided by its own deviation", "whole": "all columns divided by one deviation"}
    return [
        f"before any training, classes of the training samples that the deviations are not of have a MAP@R of "
        f"{qualities[own]:.3f} with {how[own]}, and of {qualities[other]:.3f} with {how[other]}: try `encoder: "
        f"{{feature_scale: {other}}}`"
    ]
