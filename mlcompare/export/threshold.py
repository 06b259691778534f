"""From which cosine on two samples count as one class, and how often that is right."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from mlcompare.data import Dataset
from mlcompare.errors import InvalidValueError
from mlcompare.evaluation.inputs import normalized_samples
from mlcompare.evaluation.roc import PairCounts, threshold_at_far
from mlcompare.evaluation.verification import all_pairs
from mlcompare.export.standardized import Standardized, embed_samples

__all__ = ["RATES", "chosen_threshold", "measure_threshold", "told_threshold"]

RATES = (0.1, 0.01, 1e-3, 1e-4)  # false accept rates that a card offers thresholds for, beside the one asked for


def measure_threshold(
    model: Standardized, dataset: Dataset, rows: np.ndarray, far: float, *, of: str, sealed: np.ndarray | None = None
) -> tuple[dict[str, Any], list[str]]:
    """Return the cosine from which two samples count as one class, what it does, thresholds of other rates, and notes.

    Args:
        rows: the samples that it is read off; ``of`` says in words which these are.
        far: the false accept rate to keep.
        sealed: the sealed test samples, where they are others; its rates on them are stated beside it.
    """
    pairs = _pairs(model, dataset, rows)
    entry: dict[str, Any] = {"far": far, "cosine": None, "measured_on": f"{len(rows)} {of}"}
    different = int(pairs.different.sum()) if pairs else 0
    on_sealed = None if sealed is None else _pairs(model, dataset, sealed)
    found = {rate: _at(pairs, on_sealed, rate) for rate in (far, *RATES)} if pairs else {}
    others = [{"far": rate, **found[rate]} for rate in RATES if found.get(rate) and rate != far]
    entry |= {"others": others}
    if not found.get(far):
        need = math.ceil(1 / far)
        note = f"no threshold: a false accept rate of {far:g} needs {need} pairs of different classes among the "
        return entry, [note + f"{of}, and there are {different}; give a larger --far"]
    return entry | found[far], []


def _at(pairs: PairCounts, sealed: PairCounts | None, far: float) -> dict[str, Any]:
    """The threshold that keeps a rate and what it does; nothing where none can be told."""
    cosine = threshold_at_far(pairs, far)
    if not math.isfinite(cosine):
        return {}
    return {"cosine": cosine, "validation": _rates(pairs, cosine)} | (
        {"sealed_test": _rates(sealed, cosine)} if sealed else {}
    )


def _pairs(model: Standardized, dataset: Dataset, rows: np.ndarray) -> PairCounts | None:
    """All pairs of these samples; None where they have one class, or no two of one class."""
    try:
        return all_pairs(normalized_samples(embed_samples(model, dataset.samples, rows), dataset.labels[rows]))
    except InvalidValueError:
        return None


def _rates(pairs: PairCounts, cosine: float) -> dict[str, float]:
    accepted = pairs.similarity >= cosine
    return {
        "false_accept_rate": float(pairs.different[accepted].sum() / pairs.different.sum()),
        "true_accept_rate": float(pairs.same[accepted].sum() / pairs.same.sum()),
    }


def told_threshold(threshold: Mapping[str, Any]) -> list[str]:
    """Say in words what the threshold of a card does, and which others there are; a sentence each.

    >>> rates = {"false_accept_rate": 0.01, "true_accept_rate": 0.75}
    >>> card = {"far": 0.01, "cosine": 0.5, "measured_on": "40 validation samples of fold 0", "validation": rates}
    >>> print(*told_threshold({**card, "others": [{"far": 0.1, "cosine": 0.25, "validation": rates}]}), sep="\\n")
    two samples count as one class from a cosine of 0.500 on: it accepts 1% of the pairs of different classes and \
75% of those of one class (40 validation samples of fold 0)
    another threshold: 0.250 with --far 0.1, which accepts 75% of the pairs of one class
    """
    told = []
    if threshold["cosine"] is not None:
        rates, sealed = threshold["validation"], threshold.get("sealed_test")
        told.append(
            f"two samples count as one class from a cosine of {threshold['cosine']:.3f} on: it accepts "
            f"{_share(rates['false_accept_rate'])} of the pairs of different classes and "
            f"{_share(rates['true_accept_rate'])} of those of one class ({threshold['measured_on']})"
        )
        if sealed:
            told.append(
                f"on the sealed samples: {_share(sealed['false_accept_rate'])} of the pairs of different classes and "
                f"{_share(sealed['true_accept_rate'])} of those of one class"
            )
    others = [
        f"{other['cosine']:.3f} with --far {other['far']:g}, which accepts "
        f"{_share(other['validation']['true_accept_rate'])} of the pairs of one class"
        for other in threshold.get("others", [])
    ]
    return [*told, *([f"another threshold: {'; '.join(others)}"] if others else [])]


def _share(value: float) -> str:
    return f"{100 * value:.3g}%"


def chosen_threshold(
    threshold: Mapping[str, Any], *, far: float | None = None, cosine: float | None = None
) -> tuple[float | None, str]:
    """Return the cosine from which two samples count as one class, and where it comes from.

    Args:
        threshold: a card's.
        far: a false accept rate that the card has a threshold for; its own unless given.
        cosine: a threshold of one's own.

    Raises:
        InvalidValueError: both are given, or the card knows no threshold for ``far``.
    """
    if cosine is not None and far is not None:
        raise InvalidValueError("`--threshold` is a cosine, and `--far` chooses one", value="both", cure="give one")
    if cosine is not None:
        return cosine, "as given"
    known = {entry["far"]: entry["cosine"] for entry in (threshold, *threshold.get("others", []))}
    if far is None:
        return known[threshold["far"]], f"the card's, for a false accept rate of {threshold['far']:g}"
    if known.get(far) is None:
        listed = ", ".join(f"{rate:g}" for rate, value in sorted(known.items()) if value is not None) or "none"
        cure = f"the card knows {listed}; export again with --far, or give a cosine with --threshold"
        raise InvalidValueError("the card must know a threshold for `--far`", value=f"far={far:g}", cure=cure)
    return known[far], f"the card's, for a false accept rate of {far:g}"
