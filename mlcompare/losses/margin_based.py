"""Margin-based loss with distance-weighted sampling."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mlcompare.errors import InvalidValueError
from mlcompare.geometry import scalar
from mlcompare.losses.citation import cite, reality_check
from mlcompare.losses.pair import SAMPLING, SampledLoss
from mlcompare.losses.pairing import Pairing
from mlcompare.registry import Hyperparameter, Option, register_loss

__all__ = ["MarginBased"]


@register_loss(
    "margin_based",
    family="metric",
    reference="Wu et al. 2017, arXiv:1706.07567",
    stochastic=True,
    published=(
        reality_check(margin=0.088, beta=0.78),
        reality_check(margin=0.078, beta=1.32),
        reality_check(margin=0.092, beta=1.11),
        reality_check(margin=0.067, beta=0.98),
    ),
    bibtex=cite(
        "wu2017sampling",
        "Wu, Chao-Yuan and Manmatha, R. and Smola, Alexander J. and Krähenbühl, Philipp",
        "Sampling Matters in Deep Embedding Learning",
        venue="Proceedings of the IEEE International Conference on Computer Vision (ICCV)",
        year=2017,
        arxiv="1706.07567",
    ),
)
class MarginBased(SampledLoss):
    """Margin-based loss: ``(Σ ([m + (d_ap − β)]₊ + [m − (d_an − β)]₊) + ν·Σβ) / #active hinges``.

    The sums run over sampled (a, p, n); by default one negative for each positive pair, drawn by distance-weighted
    sampling. β, the boundary between "same" and "different", is learned from ``beta`` on, one for all or one for each
    class (``per_class``); ``nu`` presses it down, once for each triplet. m, β and d are Euclidean distances of the
    normalised embeddings ``(B, D)``. The division and the place of ν are those of the authors' code (MXNet's
    example/gluon/embedding_learning/model.py), which presses β only where it is learned for each class. The published
    settings are Musgrave et al.'s (2020), for pytorch-metric-learning's loss, whose default is all triplets. It is not
    the triplet loss: d_ap is held against β, never against d_an.

    >>> import torch
    >>> x = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.6, 0.8]])  # d_ap = 0, d_an = √.8
    >>> loss = MarginBased(margin=0.2, beta=1.2, sampling="all")(x, torch.tensor([0, 0, 1]))
    >>> round(loss.item(), 4)  # m − (√.8 − β)
    0.5056
    """

    group = "pair"
    fixed = ("beta", "learn_beta", "per_class")
    margin: float = Hyperparameter(0.2, low=0.05, high=0.4, minimum=0.0, symbol="m", unit="distance")
    beta: float = Hyperparameter(
        1.2, low=0.6, high=1.4, symbol="β", unit="distance", description="where the learned boundary starts"
    )
    nu: float = Hyperparameter(0.0, minimum=0.0, symbol="ν", description="weight of the penalty on mean β")
    sampling: str = Option("distance_weighted", choices=SAMPLING, description="which negatives meet each positive pair")
    learn_beta: bool = Option(True, choices=(True, False), description="β is learned")
    per_class: bool = Option(False, choices=(False, True), description="one β for each class (needs num_classes)")

    @property
    def class_rows(self) -> tuple[str, ...]:  # type: ignore[override]  # a fact of every other class
        return ("boundary",) if self.per_class else ()

    def setup(self, generator: torch.Generator | None) -> None:
        count = self.num_classes if self.per_class else 1
        if count is None:
            cure = "pass num_classes=…"
            raise InvalidValueError("`per_class` needs `num_classes`", value="num_classes=None", cure=cure)
        boundary = scalar(self.beta).float().expand(count).clone()  # (C,) or (1,)
        self.boundary = nn.Parameter(boundary, requires_grad=self.learn_beta)

    def against(self, pairing: Pairing, noise: Tensor | None) -> Tensor:
        pairs = self.measured(pairing)
        boundary = self.boundary.to(pairing.anchors.dtype)
        beta = boundary[pairing.labels][:, None] if self.per_class else boundary  # (B, 1) or (1,): of the anchor
        pull = (self.margin + (pairs.distances - beta)).relu()  # (B, B)
        if self.sampling == "all":
            push = (self.margin - (pairs.distances - beta)).relu()  # (B, B)
            pulls = pairs.positives * pairs.negatives.sum(1, keepdim=True)  # in how many triplets each pair stands
            pushes = pairs.negatives * pairs.positives.sum(1, keepdim=True)
        else:
            negative = self.chosen_distances(pairs, self.margin, pairing.anchors.shape[1], noise)  # (B, B)
            push = (self.margin - (negative - beta)).relu()  # (B, B)
            pulls = pushes = pairs.positives & pairs.negatives.any(1, keepdim=True)
        active = (pulls * (pull > 0)).sum() + (pushes * (push > 0)).sum()
        pressed = self.nu * (pulls * beta).sum()  # ν·Σβ over the triplets
        return ((pulls * pull + pushes * push).sum() + pressed) / active.clamp_min(1)
