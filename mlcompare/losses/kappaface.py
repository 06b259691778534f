"""KappaFace: margins that follow how concentrated and how frequent a class is."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from mlcompare.geometry import Number, normalize
from mlcompare.losses.angular import add_angle
from mlcompare.losses.citation import cite
from mlcompare.losses.counts import register_counts
from mlcompare.losses.head import MarginHead
from mlcompare.losses.running import write
from mlcompare.registry import Hyperparameter, register_loss

__all__ = ["KappaFace"]

LONGEST = 0.9999  # of a mean of unit vectors: at 1 the concentration is infinite
SAME = 1e-12  # a deviation below which all classes are concentrated alike
BEYOND = 1.05  # times the largest class's samples: where the frequency's weight would reach 0


def concentration(mean: Tensor) -> Tensor:
    """Return κ ≈ r(D − r²)/(1 − r²), r = ‖mean‖, of von Mises-Fisher distributions with ``mean (C, D)``: ``(C,)``."""
    r = torch.linalg.vector_norm(mean, dim=1).clamp_max(LONGEST)  # (C,)
    return r * (mean.shape[1] - r.square()) / (1 - r.square())


def margin_weights(kappa: Tensor, counts: Tensor, most: Tensor, sharpness: Number, gamma: Number) -> Tensor:
    """Return ``γ·(1 − σ(T·z)) + (1 − γ)·(1 + cos(π·n/(1.05·n_max)))/2``, ``(C,)``; z are the standardised κ."""
    z = (kappa - kappa.mean()) / kappa.std().clamp_min(SAME)
    spread = torch.sigmoid(-sharpness * z)
    rarity = (1 + (math.pi * counts / (BEYOND * most)).cos()) / 2
    return gamma * spread + (1 - gamma) * rarity


@register_loss(
    "kappaface",
    family="margin",
    reference="Oinar et al. 2023, arXiv:2201.07394",
    bibtex=cite(
        "oinar2023kappaface",
        "Oinar, Chingis and Le, Binh M. and Woo, Simon S.",
        "KappaFace: Adaptive Additive Angular Margin Loss for Deep Face Recognition",
        journal="IEEE Access",
        year=2023,
        arxiv="2201.07394",
    ),
)
class KappaFace(MarginHead):
    """KappaFace: ``CE`` over ``s·cos(θ_y + m·ψ_y)`` and ``s·cos θ_j``; ψ is larger for scattered and for rare classes.

    ``ψ_c = γ·(1 − σ(T·z_c)) + (1 − γ)·(1 + cos(π·n_c/(1.05·n_max)))/2``: z_c standardises, over the classes, the
    concentration κ_c of a class's unit embeddings (von Mises-Fisher), n_c are its training samples (``class_counts``).
    κ comes from a moving average of the class's embeddings in train-mode batches, used before it is updated; a class
    that was seen little has a small one. m is an angle, ψ·m what is added; past π the target rises again, as in the
    authors' code. Embeddings ``(B, D)`` and class weights ``(C, D)`` are normalised.

    ψ, value and gradient at a given memory were compared with losses.py and momentum_head.py of the authors' repository
    (Leminhbinh0209/KappaFace). That memory differs: an average over one epoch of a momentum encoder, with ψ = 1 in the
    first; a loss knows neither epochs nor the encoder. Defaults are its config's, the momentum and the ranges a choice
    of this package's.

    >>> loss = KappaFace(num_classes=2, embedding_dim=2, margin=1.0, scale=1.0, gamma=1.0)
    >>> _ = loss.class_weights.data.copy_(torch.eye(2))
    >>> round(loss(torch.tensor([[3.0, 0.0]]), torch.tensor([0])).item(), 4)  # κ alike, ψ = ½: log(1 + e^{−cos .5})
    0.3477
    """

    class_rows = ("class_weights", "counts", "direction")
    margin: float = Hyperparameter(0.8, low=0.0, high=1.0, minimum=0.0, maximum=3.1415, symbol="m", unit="rad")
    scale: float = Hyperparameter(64.0, low=4.0, high=128.0, log=True, positive=True, symbol="s")
    sharpness: float = Hyperparameter(0.4, low=0.1, high=1.0, minimum=0.0, symbol="T")
    gamma: float = Hyperparameter(
        0.7, low=0.0, high=1.0, minimum=0.0, maximum=1.0, symbol="γ", description="share of the concentration"
    )
    momentum: float = Hyperparameter(0.9, minimum=0.0, maximum=1.0, unit="share that stays")

    counts: Tensor
    most: Tensor
    direction: Tensor

    def setup(self, generator: torch.Generator | None) -> None:
        super().setup(generator)
        register_counts(self, self.num_classes)
        self.register_buffer("most", self.counts.max())  # of all classes, where a step sees a sample of them
        self.register_buffer("direction", torch.zeros(self.num_classes, self.embedding_dim))  # (C, D)

    def compute(self, embeddings: Tensor, labels: Tensor, noise: Tensor | None) -> Tensor:
        logits, mine = self.scaled_cosines(embeddings, labels, self.scale)  # (B, C), (B, 1)
        kappa = concentration(self.direction)
        psi = margin_weights(kappa, self.counts, self.most, self.sharpness, self.gamma)  # (C,)
        changed = self.scale * add_angle(mine / self.scale, self.margin * psi[labels][:, None])  # (B, 1)
        if self.training:
            self._remember(embeddings.detach(), labels)
        return F.cross_entropy(logits.scatter(1, labels[:, None], changed.to(logits.dtype)), labels)

    @torch.no_grad()
    def _remember(self, embeddings: Tensor, labels: Tensor) -> None:
        rows = normalize(embeddings).to(self.direction.dtype)  # (B, D)
        seen = self.counts.new_zeros(self.num_classes).scatter_add(0, labels, torch.ones_like(rows[:, 0]))[:, None]
        sums = torch.zeros_like(self.direction).scatter_add(0, labels[:, None].expand_as(rows), rows)  # (C, D)
        blended = self.momentum * self.direction + (1 - self.momentum) * sums / seen.clamp_min(1)
        write(self, "direction", torch.where(seen > 0, blended, self.direction))
