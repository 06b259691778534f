"""Facts about metrics: which exist, what number stands in a name (``recall_at_10``), direction, bounds and unit.

Every metric of embeddings may be taken of their first d coordinates alone, ``map_at_r_in_16``, and of the groups of a
level instead of the classes, ``map_at_r_level_kind``; both together are ``map_at_r_level_kind_in_16``.

Evaluation computes them and comparison reads them; neither torch nor numpy is loaded here.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from mlcompare.errors import InvalidValueError
from mlcompare.registry import Record, Registry

__all__ = [
    "DEFAULT_METRICS", "METRICS", "Metric", "MetricSpec", "bounds", "higher_is_better", "metric_names", "parse_metric",
    "register_metric",
]  # fmt: skip

DEFAULT_METRICS = ("recall_at_1", "map_at_r", "r_precision", "auc", "eer")
OWN = "own"  # the group of metrics that users register: computed from embeddings and labels alone


@dataclass(frozen=True, kw_only=True)
class MetricSpec(Record):
    """A registered metric.

    ``group`` says what it is computed from; ``number`` what stands in its name (``k`` or ``far``), if anything;
    ``low`` and ``high`` are the least and the greatest value.
    """

    group: str = OWN
    higher_is_better: bool = True
    low: float = 0.0
    high: float = 1.0
    unit: str = "share"
    number: str | None = None


METRICS = Registry("metric", "metrics", MetricSpec)
F = TypeVar("F", bound=Callable[..., Any])


def register_metric(
    name: str, *, higher_is_better: bool = True, low: float = -math.inf, high: float = math.inf, unit: str = "",
    reference: str = "", replace: bool = False,
) -> Callable[[F], F]:  # fmt: skip
    """File a metric under ``name``: ``score(embeddings (N, D), labels (N,))``.

    It is given torch tensors, embeddings as the encoder made them. It returns a number, or a number for each sample
    ``(N,)``, NaN where there is none: their mean is the metric, and the means over each class make its intervals.

    Args:
        low, high: the least and the greatest value it can take; intervals end there.
        replace: take the place of a metric of that name, as in a notebook cell that is run again.

    Raises:
        InvalidValueError: the name is taken, or ``low < high`` doesn't hold.

    >>> @register_metric("mean_norm", replace=True)
    ... def mean_norm(embeddings, labels):
    ...     "The mean length of the embeddings."
    ...     return embeddings.norm(dim=1)
    >>> METRICS["mean_norm"].summary
    'The mean length of the embeddings.'
    """
    if not low < high:
        raise InvalidValueError("`low < high` must hold", value=f"low={low}, high={high}", place=name)

    def decorate(score: F) -> F:
        spec = MetricSpec(
            name=name, factory=score, doc=score.__doc__ or "", reference=reference, higher_is_better=higher_is_better,
            low=low, high=high, unit=unit,
        )  # fmt: skip
        METRICS.register(spec, replace=replace)
        return score

    return decorate


def _evaluated(*_inputs: Any) -> None:
    """Stand for the code in :mod:`mlcompare.evaluation`, which computes the metrics of a group together."""


def _native(group: str, name: str, doc: str, **facts: Any) -> None:
    METRICS.register(MetricSpec(name=name, factory=_evaluated, doc=doc, group=group, provider="native", **facts))


_native("retrieval", "recall_at", "Share of queries with a sample of their class among the k nearest.", number="k")
_native("retrieval", "precision_at", "Share of the query's class among the k nearest.", number="k")
_native("retrieval", "map_at_r", "Mean average precision over the R nearest, R the size of the query's class.")
_native("retrieval", "r_precision", "Share of the query's class among the R nearest.")
_native("retrieval", "mrr", "Mean of 1 / rank of the first sample of the query's class.")
_native("verification", "auc", "Area under the ROC curve of pairs.")
_native("verification", "eer", "Rate at which false accepts and false rejects are equal.", higher_is_better=False)
_native("verification", "tar_at_far", "Share of same pairs accepted at a false accept rate.", number="far")
_native("verification", "verification_accuracy", "Accuracy of listed pairs, threshold from the other folds.")
_native("identification", "rank", "Share of probes with their identity among the k best of the gallery.", number="k")
_native("identification", "dir_at_far", "Detection and identification rate at a false accept rate.", number="far")
_native("clustering", "nmi", "Normalised mutual information of k-means and the classes.")
_native("clustering", "ami", "Mutual information adjusted for chance.", low=-1.0)
_native("clustering", "ari", "Rand index adjusted for chance.", low=-1.0)
_native("closed_set", "accuracy", "Share of samples whose class is told right.")


@dataclass(frozen=True)
class Metric:
    """A parsed metric name: ``recall_at_10`` is ``Metric("recall_at_10", "recall_at", "retrieval", k=10)``.

    ``dims`` is how many of the first coordinates count, where its name says so; ``whole`` the name without that.
    ``level`` is the level whose groups stand in the place of the classes; ``plain`` the name without either.
    """

    name: str
    stem: str
    group: str
    k: int | None = None
    far: float | None = None
    dims: int | None = None
    level: str | None = None

    @property
    def whole(self) -> str:
        return self.name if self.dims is None else _prefixed(self.name)[0]

    @property
    def plain(self) -> str:
        return self.whole if self.level is None else _levelled(self.whole)[0]


def parse_metric(name: str) -> Metric:
    """Parse a metric name.

    Raises:
        UnknownNameError: no such metric; the message suggests the nearest names.
        InvalidValueError: ``k < 1``, a false accept rate outside (0, 1], or a metric of class scores that is to be
            taken of the first coordinates, or of a level.

    >>> parse_metric("tar_at_far_1e-3").far
    0.001
    >>> parse_metric("recall_at_10_in_16").dims, parse_metric("recall_at_10_level_kind").level
    (16, 'kind')
    """
    whole, dims = _prefixed(str(name))
    if dims is not None and METRICS.find(str(name)) is None:
        metric = parse_metric(whole)
        if metric.group == "closed_set":
            cure = "choose a metric of embeddings, such as recall_at_1_in_16"
            rule = f"`{whole}` is of class scores, not of coordinates of an embedding"
            raise InvalidValueError(rule, value=str(name), cure=cure, place="metrics")
        return replace(metric, name=str(name), dims=dims)
    plain, level = _levelled(str(name))
    if level is not None and METRICS.find(str(name)) is None:
        metric = parse_metric(plain)
        if metric.group == "closed_set":
            cure = f"choose a metric of embeddings, such as recall_at_1_level_{level}"
            rule = f"`{plain}` is of class scores, which know no groups"
            raise InvalidValueError(rule, value=str(name), cure=cure, place="metrics")
        return replace(metric, name=str(name), level=level)
    stem, number = _split(str(name))
    spec = METRICS.find(stem)
    if spec is not None and number is not None:
        if spec.number == "k" and number.isdecimal():
            if int(number) < 1:
                raise InvalidValueError("k must be at least 1", value=str(name), place="metrics")
            return Metric(name, stem, spec.group, k=int(number))
        if spec.number == "far":
            far = float(number)
            if not 0.0 < far <= 1.0:
                raise InvalidValueError("a false accept rate must be in (0, 1]", value=str(name), place="metrics")
            return Metric(name, stem, spec.group, far=far)
    unnumbered = METRICS.find(str(name))
    if unnumbered is not None and unnumbered.number is None:
        unnumbered.usable("metric")
        return Metric(name, name, unnumbered.group)
    raise METRICS.unknown(name, more=metric_names()).at("metrics")


def _prefixed(name: str) -> tuple[str, int | None]:
    """Return a name without ``_in_16`` at its end, and that number."""
    match = re.fullmatch(r"(.+)_in_([1-9]\d*)", name)
    return (match.group(1), int(match.group(2))) if match else (name, None)


def _levelled(name: str) -> tuple[str, str | None]:
    """Return a name without ``_level_kind`` at its end, and that level."""
    match = re.fullmatch(r"(.+?)_level_([^\W\d]\w*)", name)
    return (match.group(1), match.group(2)) if match else (name, None)


def _split(name: str) -> tuple[str, str | None]:
    """Return a name without the number at its end, and the number."""
    match = re.fullmatch(r"(.+?)_(\d[\d.]*(?:e[+-]?\d+)?)", name, flags=re.IGNORECASE)
    return (match.group(1), match.group(2)) if match else (name, None)


def metric_names() -> tuple[str, ...]:
    """Return one example of every metric; any k and any false accept rate may stand in the place of the number."""
    examples = {None: "", "k": "_1", "far": "_1e-3"}
    return tuple(f"{spec.name}{examples[spec.number]}" for spec in METRICS.records())


def _spec(name: str) -> MetricSpec | None:
    whole = name if METRICS.find(name) is not None else _levelled(_prefixed(name)[0])[0]
    return METRICS.find(whole) or METRICS.find(_split(whole)[0])


def higher_is_better(name: str) -> bool:
    """Say whether larger values are better: as registered, and for names that are not registered.

    >>> higher_is_better("eer"), higher_is_better("map_at_r"), higher_is_better("made_elsewhere")
    (False, True, True)
    """
    spec = _spec(name)
    return spec is None or spec.higher_is_better


def bounds(name: str) -> tuple[float, float]:
    """Return the least and the greatest value of a metric; those of a share where the name is not registered.

    >>> bounds("map_at_r"), bounds("ari")
    ((0.0, 1.0), (-1.0, 1.0))
    """
    spec = _spec(name)
    return (0.0, 1.0) if spec is None else (spec.low, spec.high)
