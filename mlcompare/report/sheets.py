"""Nearest-neighbour sheets: query photographs, what each loss finds beside them, hits and misses."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass

import numpy as np
from PIL import Image

from mlcompare.report.curves import nearest
from mlcompare.report.study import Embeddings, TestSamples

__all__ = ["Sample", "chosen_queries", "data_uri", "sheet"]

NEIGHBOURS = 12  # at most; as many as its class has other samples
QUERIES = 6
MOST_SCANNED = 2_000  # queries looked at to find good and bad ones


@dataclass(frozen=True)
class Sample:
    """One image of a sheet: its class, the name of it, and the image as a ``data:`` URI."""

    label: int
    name: str
    image: str


def data_uri(image: np.ndarray) -> str:
    """Return an image ``(C, H, W)`` uint8, one or three channels, as a PNG inside the page."""
    array = image[0] if image.shape[0] == 1 else image[:3].transpose(1, 2, 0)
    buffer = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(array)).save(buffer, "PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()


def chosen_queries(run: Embeddings, k: int = NEIGHBOURS) -> tuple[np.ndarray, np.ndarray]:
    """Return queries ``(q,)`` and their neighbours ``(q, k)``: first the worst, one of each class, then the best.

    Of a query's neighbours as many count as its class has other samples; ``k`` is the most of all, and the bound.
    A query alone in its class has nothing to find and is left out.
    """
    labels = run.labels
    counts = dict(zip(*np.unique(labels, return_counts=True)))
    queries = np.array([i for i, label in enumerate(labels) if counts[label] > 1])
    if len(queries) > MOST_SCANNED:
        queries = queries[np.linspace(0, len(queries) - 1, MOST_SCANNED).astype(int)]
    if not len(queries):
        return queries, np.empty((0, k), dtype=int)
    others = np.array([counts[label] - 1 for label in labels[queries]])  # (Q,), what there is to find
    found = nearest(run, queries, min(k, int(others.max())))  # (Q, k)
    hits = labels[found] == labels[queries][:, None]
    places = np.arange(found.shape[1])
    weights = (places < others[:, None]) / (1.0 + places)  # an early miss is worse than a late one
    share = (hits * weights).sum(1) / weights.sum(1)
    worst = _one_of_each_class(np.argsort(share, kind="stable"), labels[queries], QUERIES // 2)
    rest = [i for i in np.argsort(-share, kind="stable") if labels[queries[i]] not in labels[queries[worst]]]
    best = _one_of_each_class(rest or np.argsort(-share, kind="stable"), labels[queries], QUERIES // 2)
    picked = np.array(list(dict.fromkeys([*worst, *best])))
    return queries[picked], found[picked]


def _one_of_each_class(order, labels: np.ndarray, most: int) -> list[int]:
    picked: dict[int, int] = {}
    for index in order:
        picked.setdefault(int(labels[index]), int(index))
        if len(picked) == most:
            break
    return list(picked.values())


def sheet(run: Embeddings, samples: TestSamples) -> list[tuple[Sample, list[Sample]]]:
    """Return the queries of one loss, and what it finds for each; nothing where images of the samples are missing."""
    positions = {int(row): i for i, row in enumerate(samples.rows)}
    where = [positions.get(int(row)) for row in run.rows]
    images = samples.images
    if images is None or None in where:
        return []

    def shown(index: int) -> Sample:
        label = int(run.labels[index])
        return Sample(label, samples.name_of(label), data_uri(images[where[index]]))

    counts = dict(zip(*np.unique(run.labels, return_counts=True)))
    return [
        (shown(query), [shown(index) for index in found[: counts[run.labels[query]] - 1]])
        for query, found in zip(*chosen_queries(run))
    ]
