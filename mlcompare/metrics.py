"""Facts about metrics: which exist, what number stands in a name (``recall_at_10``), direction and bounds. No torch."""

from __future__ import annotations

import re
from dataclasses import dataclass

from mlcompare.errors import InvalidValueError, UnknownNameError, did_you_mean

__all__ = ["DEFAULT_METRICS", "Metric", "bounds", "higher_is_better", "metric_names", "parse_metric"]

DEFAULT_METRICS = ("recall_at_1", "map_at_r", "r_precision", "auc", "eer")

_GROUPS = {
    "recall_at": "retrieval",
    "precision_at": "retrieval",
    "map_at_r": "retrieval",
    "r_precision": "retrieval",
    "mrr": "retrieval",
    "auc": "verification",
    "eer": "verification",
    "tar_at_far": "verification",
    "verification_accuracy": "verification",
    "rank": "identification",
    "dir_at_far": "identification",
    "nmi": "clustering",
    "ami": "clustering",
    "ari": "clustering",
    "accuracy": "closed_set",
}
LOWER_IS_BETTER = frozenset({"eer"})
CORRECTED_FOR_CHANCE = frozenset({"ami", "ari"})
_WITH_K = ("recall_at", "precision_at", "rank")
_WITH_FAR = ("tar_at_far", "dir_at_far")


@dataclass(frozen=True)
class Metric:
    """A parsed metric name: ``recall_at_10`` is ``Metric("recall_at_10", "recall_at", "retrieval", k=10)``."""

    name: str
    kind: str
    group: str
    k: int | None = None
    far: float | None = None


def parse_metric(name: str) -> Metric:
    """Parse a metric name.

    Raises:
        UnknownNameError: no such metric; the message suggests the nearest names.
        InvalidValueError: ``k < 1``, or a false accept rate outside (0, 1].

    >>> parse_metric("tar_at_far_1e-3").far
    0.001
    """
    match = re.fullmatch(r"(.+?)_(\d[\d.]*(?:e[+-]?\d+)?)", str(name), flags=re.IGNORECASE)
    stem, number = match.groups() if match else (str(name), None)
    if number is not None and stem in _WITH_K and number.isdecimal():
        if int(number) < 1:
            raise InvalidValueError("k must be at least 1", value=str(name), place="metrics")
        return Metric(name, stem, _GROUPS[stem], k=int(number))
    if number is not None and stem in _WITH_FAR:
        far = float(number)
        if not 0.0 < far <= 1.0:
            raise InvalidValueError("a false accept rate must be in (0, 1]", value=str(name), place="metrics")
        return Metric(name, stem, _GROUPS[stem], far=far)
    if name in _GROUPS and name not in _WITH_K + _WITH_FAR:
        return Metric(name, name, _GROUPS[name])
    raise UnknownNameError("unknown metric", value=repr(name), cure=did_you_mean(name, metric_names()), place="metrics")


def metric_names() -> tuple[str, ...]:
    """Return one example of every metric; any k and any false accept rate may stand in the place of the number."""
    examples = {stem: f"{stem}_1" for stem in _WITH_K} | {stem: f"{stem}_1e-3" for stem in _WITH_FAR}
    return tuple(examples.get(stem, stem) for stem in _GROUPS)


def higher_is_better(name: str) -> bool:
    """Say whether larger values are better: for all metrics but the equal error rate, and for names not known here.

    >>> higher_is_better("eer"), higher_is_better("map_at_r")
    (False, True)
    """
    return name not in LOWER_IS_BETTER


def bounds(name: str) -> tuple[float, float]:
    """Return the least and the greatest value of a metric: all are shares, but for two corrected for chance.

    >>> bounds("map_at_r"), bounds("ari")
    ((0.0, 1.0), (-1.0, 1.0))
    """
    return (-1.0 if name in CORRECTED_FOR_CHANCE else 0.0), 1.0
