"""Signs that a training went wrong, in words that end up beside the trial."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from mlcompare.geometry import normalize

__all__ = ["COLLAPSE_SPREAD", "divergence", "embedding_fault", "spread"]

COLLAPSE_SPREAD = 1e-4


def divergence(losses: list[float], first_step: int) -> str | None:
    """Return why a stretch of training losses is broken, or ``None``.

    >>> divergence([1.0, float("nan")], first_step=10)
    'diverged: the loss is nan at step 11'
    """
    for offset, value in enumerate(losses):
        if not math.isfinite(value):
            return f"diverged: the loss is {value} at step {first_step + offset}"
    return None


def spread(embeddings: Tensor) -> float:
    """Return how far normalised embeddings ``(N, D)`` point apart: 1 − ‖mean‖², which is 0 when all point one way."""
    unit = normalize(embeddings.float())
    return float(1 - unit.mean(0).square().sum())


def embedding_fault(embeddings: Tensor) -> str | None:
    """Return why embeddings can't be scored (not finite, or collapsed to one point), or ``None``."""
    bad = int((~torch.isfinite(embeddings).all(1)).sum())
    if bad:
        return f"diverged: {bad} of {len(embeddings)} embeddings are not finite"
    value = spread(embeddings)
    if value < COLLAPSE_SPREAD:
        return f"collapsed: all embeddings point one way (spread {value:.1e} < {COLLAPSE_SPREAD:.0e})"
    return None
