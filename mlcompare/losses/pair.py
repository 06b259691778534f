"""What pair and triplet losses share: distances, masks, and the ways to choose a negative for each positive pair."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from mlcompare.geometry import FAR, Number, masked_min
from mlcompare.losses.pairing import AnchorLoss, Pairing
from mlcompare.registry import Option

__all__ = ["PairLoss", "Pairs", "SampledLoss", "distance_weights", "draw_columns", "semi_hard_distances"]

SAMPLING = ("all", "random", "semi_hard", "hard", "distance_weighted")
NEAREST, FARTHEST = 0.5, 1.4  # Wu et al. 2017: closer pairs count as .5, farther ones are dropped


class Pairs(NamedTuple):
    """Dense pairs: ``distances``, ``positives``, ``negatives``, each ``(B, M)``: a row for each anchor."""

    distances: Tensor
    positives: Tensor
    negatives: Tensor


class PairLoss(AnchorLoss):
    """A loss of the distances inside a batch; it owns no weights."""

    group = "pair"
    normalize: bool = Option(True, choices=(True, False), description="L2-normalise the embeddings first")

    def pairs(self, embeddings: Tensor, labels: Tensor) -> Pairs:
        """Return Euclidean distances and both masks, inside a batch."""
        return self.measured(Pairing.within(embeddings, labels))

    def measured(self, pairing: Pairing) -> Pairs:
        """Return Euclidean distances of anchors and references, and both masks."""
        return Pairs(pairing.distances(self.normalize), pairing.positives, pairing.negatives)


class SampledLoss(PairLoss):
    """A pair loss whose negatives are all used, or chosen: one negative n for each positive pair (a, p).

    ``random`` draws uniformly, ``semi_hard`` takes the hardest with d_ap < d_an < d_ap + m (none: the easiest negative
    of a), ``hard`` the nearest, ``distance_weighted`` draws by the inverse density of distances on the sphere.
    """

    sampling: str = Option("all", choices=SAMPLING, description="which negatives meet each positive pair")

    @property
    def stochastic(self) -> bool:
        return self.sampling in ("random", "distance_weighted")

    def chosen_distances(self, pairs: Pairs, margin: Number, dim: int, noise: Tensor | None) -> Tensor:
        """Return d_an of the negative chosen for each (a, p), ``(B, M)``; meaningful where a has a negative."""
        distances, _, negatives = pairs
        if self.sampling == "hard":
            return masked_min(distances, negatives)[:, None].expand_as(distances)
        if self.sampling == "semi_hard":
            return semi_hard_distances(distances, negatives, margin)
        weights = negatives.to(distances.dtype)
        if self.sampling == "distance_weighted":
            weights = distance_weights(distances.detach(), negatives, dim)
        assert noise is not None  # `forward` draws it for a stochastic loss
        return distances.gather(1, draw_columns(weights, noise))  # (B, B)


def semi_hard_distances(distances: Tensor, negatives: Tensor, margin: Number) -> Tensor:
    """Return for each (a, p) the smallest d_an in (d_ap, d_ap + m), else the anchor's largest d_an, ``(B, B)``."""
    with torch.no_grad():
        later = 1 + torch.finfo(distances.dtype).eps  # a positive sorts behind a negative at the same distance
        key = torch.where(negatives, distances, distances * later)
        key.diagonal().fill_(FAR)  # the anchor itself comes last
        ranked, order = key.sort(1)  # (B, B)
        count = key.shape[1]  # M
        place = torch.where(negatives.gather(1, order), torch.arange(count, device=key.device), count)
        following = place.flip(1).cummin(1).values.flip(1).clamp_max(count - 1)  # the next negative's place
        easiest = torch.where(place < count, place, 0).amax(1, keepdim=True)  # (B, 1)
        nearest = ranked.gather(1, following)  # (B, B); without a next negative it is the anchor's own FAR
        column = order.gather(1, torch.where(nearest < ranked + margin, following, easiest))
        chosen = torch.zeros_like(order).scatter(1, order, column)  # (B, B): a column for each (a, p)
    return distances.gather(1, chosen)


def distance_weights(distances: Tensor, negatives: Tensor, dim: int) -> Tensor:
    """Return unnormalised sampling weights 1/q(d) of each anchor's negatives, ``(B, B)``; the largest of a row is 1.

    ``log q(d) = (D−2)·log d + ((D−3)/2)·log(1 − d²/4)`` is the density of distances on the unit sphere in D dimensions
    (Wu et al. 2017, eq. 3); the official code's inverse also clips d to ≥ .5 and drops d ≥ 1.4. An anchor without a
    usable negative falls back to uniform over its negatives. The maximum is subtracted row by row: one near-duplicate
    elsewhere in the batch must not underflow this row.
    """
    d = distances.clamp_min(NEAREST)
    log_weight = (2.0 - dim) * d.log() - 0.5 * (dim - 3.0) * (1 - 0.25 * d.square()).clamp_min(1e-8).log()
    usable = negatives & (distances < FARTHEST)
    usable = torch.where(usable.any(1, keepdim=True), usable, negatives)  # (B, B)
    log_weight = torch.where(distances < FARTHEST, log_weight, 0.0)
    log_weight = torch.where(usable, log_weight, -FAR)
    return torch.where(usable, (log_weight - log_weight.amax(1, keepdim=True)).exp(), 0.0)


def draw_columns(weights: Tensor, noise: Tensor) -> Tensor:
    """Return for each entry of ``noise (B, B)`` a column of its row, drawn with ``weights (B, B)``: the inverse CDF.

    >>> draw_columns(torch.tensor([[0.0, 1.0, 0.0], [1.0, 0.0, 1.0], [0.0, 0.0, 1.0]]), torch.full((3, 3), 0.6))
    tensor([[1, 1, 1],
            [2, 2, 2],
            [2, 2, 2]])
    """
    cdf = weights.to(torch.float64).cumsum(1)  # (B, B)
    total = cdf[:, -1:]  # (B, 1)
    last = (cdf < total).sum(1, keepdim=True)  # (B, 1): rounding may push noise · total up to total
    columns = torch.searchsorted(cdf, noise * total, right=True)  # (B, B)
    return torch.minimum(columns, last)
