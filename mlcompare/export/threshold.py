"""From which cosine on two samples count as one class, and how often that is right."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from mlcompare.data import Dataset, Splits
from mlcompare.errors import InvalidValueError
from mlcompare.evaluation.inputs import normalized_samples
from mlcompare.evaluation.roc import PairCounts, threshold_at_far
from mlcompare.evaluation.verification import all_pairs
from mlcompare.export.standardized import Standardized, embed_samples

__all__ = ["measure_threshold"]


def measure_threshold(
    model: Standardized, dataset: Dataset, splits: Splits, fold: int, far: float
) -> tuple[dict[str, Any], list[str]]:
    """Return the cosine from which two samples count as one class, what it does on the sealed samples, and notes."""
    validation, test = splits.folds[fold].validation, splits.test
    pairs = _pairs(model, dataset, validation)
    entry: dict[str, Any] = {
        "far": far,
        "cosine": None,
        "measured_on": f"{len(validation)} validation samples of fold {fold}",
    }
    different = int(pairs.different.sum()) if pairs else 0
    cosine = threshold_at_far(pairs, far) if pairs else math.nan
    if not pairs or not math.isfinite(cosine):
        need = math.ceil(1 / far)
        note = f"no threshold: a false accept rate of {far:g} needs {need} pairs of different classes among the "
        return entry, [note + f"validation samples, and there are {different}; give a larger --far"]
    entry |= {"cosine": cosine, "validation": _rates(pairs, cosine)}
    sealed = _pairs(model, dataset, test)
    return entry | ({"sealed_test": _rates(sealed, cosine)} if sealed else {}), []


def _pairs(model: Standardized, dataset: Dataset, rows: np.ndarray) -> PairCounts | None:
    """All pairs of these samples; None where they have one class, or no two of one class."""
    try:
        return all_pairs(normalized_samples(embed_samples(model, dataset.samples[rows]), dataset.labels[rows]))
    except InvalidValueError:
        return None


def _rates(pairs: PairCounts, cosine: float) -> dict[str, float]:
    accepted = pairs.similarity >= cosine
    return {
        "false_accept_rate": float(pairs.different[accepted].sum() / pairs.different.sum()),
        "true_accept_rate": float(pairs.same[accepted].sum() / pairs.same.sum()),
    }
