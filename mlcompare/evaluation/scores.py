"""The front door: names of metrics in, numbers out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from mlcompare.errors import InvalidValueError, did_you_mean
from mlcompare.evaluation.clustering import clustering_scores
from mlcompare.evaluation.identification import identification_scores
from mlcompare.evaluation.inputs import Samples, Values, cosines, normalized_samples
from mlcompare.evaluation.neighbours import Task, retrieval_task
from mlcompare.evaluation.retrieval import retrieval_scores
from mlcompare.evaluation.roc import count_pairs
from mlcompare.evaluation.verification import score_counts, verification_scores
from mlcompare.grouped import rows_by_class
from mlcompare.metrics import DEFAULT_METRICS, METRICS, Metric, parse_metric

__all__ = ["evaluate_embeddings", "evaluate_with_classes", "has_class_scores", "per_class_scores"]

Levels = Mapping[str, Values]  # the name of a level → the group of each sample (N,)


def evaluate_embeddings(
    embeddings: Values, labels: Values, metrics: Sequence[str] | None = None, *, query: Values | None = None,
    gallery: Values | None = None, pairs: Sequence[Any] | None = None, seed: int = 0, chunk_size: int | None = None,
    device: torch.device | str | None = None, levels: Levels | None = None,
) -> dict[str, float]:  # fmt: skip
    """Score embeddings by cosine similarity, exactly, in bounded memory.

    Args:
        embeddings: ``(N, D)``, torch or numpy, of any length (they are normalised here); zero vectors have cosine 0.
        labels: ``(N,)``, numbers or strings.
        metrics: names; by default ``recall_at_1, map_at_r, r_precision, auc, eer``. Any k and any false accept rate may
            stand in a name: ``recall_at_10``, ``precision_at_5``, ``rank_1``, ``tar_at_far_1e-3``, ``dir_at_far_1e-2``;
            further ``mrr``, ``verification_accuracy``, ``nmi``, ``ami``, ``ari``. Each may be of the first coordinates
            alone, ``map_at_r_in_16`` (of all where there are fewer).
        query, gallery: indices or boolean masks over the samples. Without both: leave-one-out over all samples. No
            sample is compared with itself; queries with nothing to find in the gallery don't count. Both bear on
            retrieval, identification and all-pairs verification, not on clustering and ``verification_accuracy``.
        pairs: ``(index_a, index_b, same)`` for the verification metrics, instead of all pairs; a fourth array, where
            given, is each pair's fold of ``verification_accuracy``.
        seed: of what is drawn: folds of ``verification_accuracy``, k-means starts, the ``dir_at_far`` protocol.
        chunk_size: rows of the similarity matrix at a time; changes memory and speed, never a result.
        device: where to compute; by default where the embeddings are.
        levels: groups that the classes lie in, ``{"kind": (N,)}``: ``map_at_r_level_kind`` is of them, as if they were
            the classes.

    Returns:
        Metric name → value in the order asked for. ``tar_at_far_…`` and ``dir_at_far_…`` are NaN when fewer than
        ``1 / FAR`` negatives exist: such a rate can't be measured.

    Raises:
        UnknownNameError: an unknown metric; the message suggests the nearest names.
        InvalidValueError: NaN, wrong shapes, one class, no class with two samples, k larger than the gallery.

    In ranked lists a negative as similar as a positive stands before it, so a collapsed embedding scores 0; ``auc``
    counts ties by half.

    >>> scores = evaluate_embeddings([[1.0, 0.0], [0.9, 0.1], [0.0, 1.0], [0.1, 0.9]], [0, 0, 1, 1])
    >>> scores["recall_at_1"], scores["auc"], scores["eer"]
    (1.0, 1.0, 0.0)
    """
    names = [metrics] if isinstance(metrics, str) else list(DEFAULT_METRICS if metrics is None else metrics)
    samples = normalized_samples(embeddings, labels, device=device)
    return _evaluated(
        embeddings, samples, names, levels=levels, query=query, gallery=gallery, pairs=pairs, seed=seed,
        chunk_size=chunk_size,
    )[0]  # fmt: skip


def evaluate_with_classes(
    embeddings: Values, labels: Values, metrics: Sequence[str], *, by_class: str | None,
    pairs: Sequence[Any] | None = None, levels: Levels | None = None,
) -> tuple[dict[str, float], dict[Any, float]]:  # fmt: skip
    """Return :func:`evaluate_embeddings`, and :func:`per_class_scores` of the metric ``by_class``.

    Where that is a retrieval metric among ``metrics``, the neighbours are ranked once for both.

    Raises:
        InvalidValueError: as those two.

    >>> points = [[1.0, 0.0], [0.9, 0.1], [0.0, 1.0], [0.1, 0.9]]
    >>> evaluate_with_classes(points, [0, 0, 1, 1], ["map_at_r", "auc"], by_class="map_at_r")
    ({'map_at_r': 1.0, 'auc': 1.0}, {0: 1.0, 1: 1.0})
    """
    samples = normalized_samples(embeddings, labels)
    scores, queries = _evaluated(embeddings, samples, list(metrics), levels=levels, pairs=pairs)
    if by_class is None:
        return scores, {}
    if by_class not in queries:
        return scores, per_class_scores(embeddings, labels, by_class, levels=levels)
    cut = _of(embeddings, samples, parse_metric(by_class), levels)[1]
    codes = samples.codes.cpu().numpy()[retrieval_task(cut).query]
    return scores, _by_class(queries[by_class], codes, samples)


def _evaluated(
    embeddings: Values, samples: Samples, names: Sequence[str], *, levels: Levels | None = None,
    query: Values | None = None, gallery: Values | None = None, pairs: Sequence[Any] | None = None, seed: int = 0,
    chunk_size: int | None = None,
) -> tuple[dict[str, float], dict[str, np.ndarray]]:  # fmt: skip
    """Return the scores, and those of each query ``(Q,)`` where the metric has them."""
    parsed = [parse_metric(name) for name in names]
    scores: dict[str, float] = {}
    values: dict[str, np.ndarray] = {}
    for dims, level in dict.fromkeys((metric.dims, metric.level) for metric in parsed):
        some = [metric for metric in parsed if (metric.dims, metric.level) == (dims, level)]
        rows, cut = _of(embeddings, samples, some[0], levels)
        found, of_queries = _measured(
            rows, cut, [parse_metric(metric.plain) for metric in some], query=query, gallery=gallery, pairs=pairs,
            seed=seed, chunk_size=chunk_size,
        )  # fmt: skip
        scores |= {metric.name: found[metric.plain] for metric in some}
        values |= {metric.name: of_queries[metric.plain] for metric in some if metric.plain in of_queries}
    return {name: scores[name] for name in names}, values


def _of(embeddings: Values, samples: Samples, metric: Metric, levels: Levels | None) -> tuple[Values, Samples]:
    """Return what a metric is of: the coordinates that count, and its level's groups in the place of the classes.

    Raises:
        InvalidValueError: there is no such level, or one group alone.
    """
    if metric.level is not None:
        if metric.level not in (levels or {}):
            cure = did_you_mean(metric.level, levels) if levels else "give `levels`, the group of each sample"
            raise InvalidValueError("the metric's level must be given", value=metric.name, cure=cure, place="levels")
        samples = samples.grouped((levels or {})[metric.level], place=f"level {metric.level}")
    if metric.dims is None:
        return embeddings, samples
    return _first(embeddings, metric.dims), samples.first(metric.dims)


def _first(embeddings: Values, dims: int) -> Values:
    rows = embeddings if isinstance(embeddings, torch.Tensor) else np.asarray(embeddings)
    return rows[:, :dims]


def _measured(
    embeddings: Values, samples: Samples, parsed: Sequence[Metric], *, query: Values | None, gallery: Values | None,
    pairs: Sequence[Any] | None, seed: int, chunk_size: int | None,
) -> tuple[dict[str, float], dict[str, np.ndarray]]:  # fmt: skip
    """Return the scores of metrics of all coordinates, group by group, and those of each query."""
    if chunk_size is not None and chunk_size < 1:
        raise InvalidValueError("chunk_size must be at least 1", value=str(chunk_size), place="evaluate_embeddings")
    scores: dict[str, float] = {}
    values: dict[str, np.ndarray] = {}
    for group in dict.fromkeys(metric.group for metric in parsed):
        chosen = [metric for metric in parsed if metric.group == group]
        match group:
            case "retrieval":
                task = retrieval_task(samples, query, gallery)
                values = retrieval_scores(samples, task, chosen, chunk_size=chunk_size)
                scores |= {name: float(value.mean()) for name, value in values.items()}
            case "verification":
                scores |= verification_scores(
                    samples, chosen, query=query, gallery=gallery, pairs=pairs, seed=seed, chunk_size=chunk_size
                )
            case "identification":
                scores |= identification_scores(
                    samples, chosen, query=query, gallery=gallery, seed=seed, chunk_size=chunk_size
                )
            case "clustering":
                scores |= clustering_scores(samples, chosen, seed=seed)
            case "own":
                scores |= {metric.name: _mean(own_scores(embeddings, samples, metric)) for metric in chosen}
            case _:
                raise InvalidValueError(
                    "closed-set accuracy needs logits, not embeddings", value="accuracy", place="evaluate_embeddings",
                    cure="call closed_set_accuracy(logits, labels)",
                )  # fmt: skip
    return scores, values


def has_class_scores(metric: str) -> bool:
    """Say whether :func:`per_class_scores` is defined for the metric.

    >>> has_class_scores("recall_at_5"), has_class_scores("nmi")
    (True, False)
    """
    parsed = parse_metric(metric)
    return parsed.group in ("retrieval", "own") or parsed.stem in ("auc", "eer", "tar_at_far")


def per_class_scores(
    embeddings: Values, labels: Values, metric: str, *, query: Values | None = None, gallery: Values | None = None,
    chunk_size: int | None = None, device: torch.device | str | None = None, levels: Levels | None = None,
) -> dict[Any, float]:  # fmt: skip
    """Score each class by itself: class → value, the unit of the statistics in :mod:`mlcompare.comparison`.

    Retrieval metrics: the mean over the class's queries. ``auc``, ``eer`` and ``tar_at_far_…``: from the pairs that the
    class's queries form with the others. Classes without a query that can be answered are left out. With a metric of a
    level, the groups say what is alike, and the classes whose mean is taken.

    Raises:
        InvalidValueError: a metric that isn't defined for one class; else as :func:`evaluate_embeddings`.

    >>> per_class_scores([[1.0, 0.0], [0.9, 0.1], [0.0, 1.0], [0.1, 0.9]], ["a", "a", "b", "b"], "map_at_r")
    {'a': 1.0, 'b': 1.0}
    """
    parsed = parse_metric(metric)
    if not has_class_scores(metric):
        raise InvalidValueError(
            "must be a retrieval metric, auc, eer or tar_at_far", value=metric, place="per_class_scores"
        )
    samples = normalized_samples(embeddings, labels, device=device, place="per_class_scores")
    embeddings, cut = _of(embeddings, samples, parsed, levels)
    parsed = parse_metric(parsed.plain)
    if parsed.group == "own":
        return _own_by_class(own_scores(embeddings, cut, parsed), samples)
    task = retrieval_task(cut, query, gallery, place="per_class_scores")
    codes = samples.codes.cpu().numpy()[task.query]
    if parsed.group == "retrieval":
        values = retrieval_scores(cut, task, [parsed], chunk_size=chunk_size)[parsed.name]
        return _by_class(values, codes, samples)
    return {
        samples.classes[c].item(): _class_pairs(cut, task, task.query[rows], parsed)
        for c, rows in enumerate(rows_by_class(codes)) if len(rows)
    }  # fmt: skip


def _by_class(values: np.ndarray, codes: np.ndarray, samples: Samples) -> dict[Any, float]:
    """The means over each class's queries: ``values (Q,)``, ``codes (Q,)``."""
    rows = rows_by_class(codes)
    return {samples.classes[c].item(): float(values[mine].mean()) for c, mine in enumerate(rows) if len(mine)}


def own_scores(embeddings: Any, samples: Samples, metric: Metric) -> np.ndarray:
    """Compute a metric that a user registered: one number, or one for each sample ``(N,)``.

    Raises:
        InvalidValueError: it returns something else.
    """
    device = samples.codes.device
    with torch.no_grad():
        found = METRICS[metric.name].factory(torch.as_tensor(embeddings, device=device), samples.codes)
    values = np.asarray(found.detach().cpu() if isinstance(found, torch.Tensor) else found, dtype=np.float64)
    if values.shape not in ((), tuple(samples.codes.shape)):
        rule = f"a metric returns one number, or one for each of the {len(samples.codes)} samples"
        raise InvalidValueError(rule, value=f"shape {values.shape}", place=metric.name)
    return values


def _mean(values: np.ndarray) -> float:
    defined = values[np.isfinite(values)]
    return float(defined.mean()) if defined.size else float("nan")


def _own_by_class(values: np.ndarray, samples: Samples) -> dict:
    """The means over the classes; none where the metric is one number."""
    codes = samples.codes.cpu().numpy()
    if values.shape != codes.shape:
        return {}
    rows = rows_by_class(codes)
    means = {samples.classes[c].item(): _mean(values[mine]) for c, mine in enumerate(rows) if len(mine)}
    return {name: mean for name, mean in means.items() if np.isfinite(mean)}


def _class_pairs(samples: Samples, task: Task, queries: np.ndarray, metric: Metric) -> float:
    """Score the pairs of one class's ``queries`` with the gallery."""
    device = samples.vectors.device
    left = samples.take(torch.as_tensor(queries, device=device))
    right = samples.take(torch.as_tensor(task.gallery, device=device))
    similarity = cosines(left.vectors, right.vectors).cpu().numpy()  # (Q, G)
    same = (left.codes[:, None] == right.codes).cpu().numpy()
    other = queries[:, None] != task.gallery
    return score_counts(count_pairs(similarity[other], same[other]), metric)
