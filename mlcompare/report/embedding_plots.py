"""Charts drawn from embeddings: ROC curves, recall curves, and the sealed samples in two dimensions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from mlcompare.report.curves import Curves, normalized
from mlcompare.report.formats import number
from mlcompare.report.plots import Plot, axis, color, dash, floats, layout
from mlcompare.report.study import Embeddings

__all__ = ["Projection", "project", "recall_plot", "roc_plot", "shown_classes", "view_plot"]

MOST_POINTS = 400  # of a two-dimensional view
COLORED_CLASSES = 10
FEWEST_FOR_TSNE = 12


def roc_plot(curves: dict[str, Curves], prefix: str) -> Plot:
    """True accept rate against false accept rate, on a logarithmic axis."""
    data, legend = [], []
    for position, (loss, curve) in enumerate(curves.items()):
        known = (curve.far > 0) & np.isfinite(curve.tar)
        data.append({
            "type": "scatter", "mode": "lines", "name": loss, "legendgroup": loss, "x": floats(curve.far[known], 4),
            "y": floats(curve.tar[known], 4), "line": {"color": color(position), "dash": dash(position), "width": 2},
            "hovertemplate": "%{fullData.name}: TAR %{y:.3f} at FAR %{x:.2g}<extra></extra>",
        })  # fmt: skip
        legend.append((loss, color(position), dash(position)))
    at = int(np.argmin(np.abs(next(iter(curves.values())).far - 1e-2)))
    told = "; ".join(f"{loss} {number(curve.tar[at])}" for loss, curve in curves.items())
    x = axis("false accept rate", type="log", dtick=1, exponentformat="power")
    return Plot(
        f"{prefix}-roc", data, layout(x, axis("true accept rate", range=[0, 1.02]), height=400),
        f"ROC curves of verification on the sealed samples. True accept rate at a false accept rate of 1 %: {told}.",
        legend=legend,
    )  # fmt: skip


def recall_plot(curves: dict[str, Curves], prefix: str) -> Plot:
    """Recall@k against k."""
    data, legend = [], []
    for position, (loss, curve) in enumerate(curves.items()):
        data.append({
            "type": "scatter", "mode": "lines+markers", "name": loss, "legendgroup": loss,
            "x": [int(k) for k in curve.ranks], "y": floats(curve.recall), "marker": {"size": 5},
            "line": {"color": color(position), "dash": dash(position), "width": 2},
            "hovertemplate": "%{fullData.name}: recall@%{x} %{y:.3f}<extra></extra>",
        })  # fmt: skip
        legend.append((loss, color(position), dash(position)))
    told = "; ".join(f"{loss} {number(curve.recall[0])}" for loss, curve in curves.items())
    ticks = [1, 2, 3, 5, 10, 20, 50, 100]
    x = axis("k", type="log", tickvals=ticks, ticktext=[str(k) for k in ticks])
    return Plot(
        f"{prefix}-recall", data, layout(x, axis("recall@k"), height=400),
        f"Recall@k of retrieval on the sealed samples. Recall@1: {told}.", legend=legend,
    )  # fmt: skip


def shown_classes(labels: np.ndarray) -> tuple[np.ndarray, list[int]]:
    """Choose which samples a view shows and which classes it colours: the same for every loss.

    Returns:
        Indices ``(n,)`` of whole classes, evenly spaced among the classes until :data:`MOST_POINTS` are full, and up to
        ten labels to colour.
    """
    classes = np.unique(labels)
    spread = classes[np.linspace(0, len(classes) - 1, min(COLORED_CLASSES, len(classes))).astype(int)]
    others = [c for c in classes if c not in set(spread)]
    chosen, total = [], 0
    for label in [*spread, *others]:
        rows = np.flatnonzero(labels == label)
        rows = rows[np.linspace(0, len(rows) - 1, min(len(rows), MOST_POINTS // COLORED_CLASSES)).astype(int)]
        if total + len(rows) > MOST_POINTS:
            break
        chosen.append(rows)
        total += len(rows)
    return np.sort(np.concatenate(chosen)), [int(c) for c in spread]


class Projection:
    """How points came to two dimensions: ``name`` says it, ``points (n, 2)``."""

    def __init__(self, name: str, points: np.ndarray) -> None:
        self.name, self.points = name, points


def project(vectors: np.ndarray) -> Projection:
    """Return points ``(n, 2)``: two-dimensional embeddings as they are, others on the unit sphere by t-SNE.

    With fewer than a dozen samples, by PCA; one-dimensional embeddings get a second coordinate of 0.
    """
    vectors = np.asarray(vectors, dtype=np.float64)
    if vectors.shape[1] == 2:
        return Projection("raw", vectors)
    if vectors.shape[1] == 1:
        return Projection("raw", np.column_stack([vectors, np.zeros(len(vectors))]))
    unit = normalized(vectors)
    if len(unit) < FEWEST_FOR_TSNE or np.ptp(unit, axis=0).max() < 1e-9:
        return Projection("PCA", _pca(unit))
    from sklearn.manifold import TSNE  # a second to import
    from threadpoolctl import threadpool_limits

    perplexity = min(30.0, (len(unit) - 1) / 3)
    start = _pca(unit)
    start = start / max(start[:, 0].std(), 1e-12) * 1e-4
    model = TSNE(2, perplexity=perplexity, init=start, learning_rate="auto", random_state=0, max_iter=500)
    with threadpool_limits(1):  # a few hundred points: threads cost more than they bring, and change the rounding
        return Projection("t-SNE", model.fit_transform(unit))


def _pca(unit: np.ndarray) -> np.ndarray:
    from sklearn.decomposition import PCA

    points = PCA(min(2, *unit.shape), svd_solver="full").fit_transform(unit)
    return points if points.shape[1] == 2 else np.column_stack([points, np.zeros(len(points))])


def view_plot(
    loss: str, run: Embeddings, chosen: np.ndarray, colored: list[int], name_of: Callable[[int], str], plot_id: str
) -> tuple[Plot, str]:
    """Return the two-dimensional view of a loss's embeddings, and how it was made."""
    projection = project(run.vectors[chosen])
    labels, points = run.labels[chosen], projection.points
    data = []
    rest = ~np.isin(labels, colored)
    if rest.any():
        data.append(_points("other classes", points[rest], labels[rest], name_of, "@muted", 4, "circle", 0.45))
    for position, label in enumerate(colored):
        mine = labels == label
        symbol = ("circle", "diamond", "square", "cross", "triangle-up")[position % 5]
        data.append(_points(name_of(label), points[mine], labels[mine], name_of, color(position), 7, symbol, 0.9))
    bare: dict[str, Any] = {"showticklabels": False, "ticks": "", "showgrid": False}
    x, y = axis(**bare), axis(scaleanchor="x", **bare)
    alt = f"{len(chosen)} sealed samples embedded by {loss}, in two dimensions ({projection.name}), coloured by class."
    legend = [(name_of(label), color(position), "solid") for position, label in enumerate(colored)]
    return Plot(plot_id, data, layout(x, y, height=280), alt, title=loss, legend=legend), projection.name


def _points(name, points, labels, name_of, token, size, symbol, opacity) -> dict:
    return {
        "type": "scatter", "mode": "markers", "name": name, "legendgroup": name,
        "x": floats(points[:, 0], 4), "y": floats(points[:, 1], 4),
        "text": [name_of(int(label)) for label in labels], "hovertemplate": "%{text}<extra></extra>",
        "marker": {"color": token, "size": size, "symbol": symbol, "opacity": opacity, "line": {"width": 0}},
    }  # fmt: skip
