"""A-Softmax (SphereFace): a multiplicative angular margin on normalised class weights, or on a sphere."""

from __future__ import annotations

import torch
from torch import Tensor

from mlcompare.geometry import NORM_FLOOR, normalize
from mlcompare.losses.head import MarginHead
from mlcompare.losses.l_softmax import AnnealedHead, softened
from mlcompare.losses.projection import project
from mlcompare.losses.schedules import ANNEALING
from mlcompare.losses.softmax import SPHEREFACE_BIBTEX as BIBTEX
from mlcompare.registry import Hyperparameter, Option, register_loss

__all__ = ["SphereFace", "SphereFaceFNorm"]


@register_loss(
    "sphereface",
    family="margin",
    reference="Liu et al. 2017, arXiv:1704.08063",
    aliases=("a_softmax",),
    bibtex=BIBTEX,
)
class SphereFace(AnnealedHead):
    """SphereFace (A-Softmax): the target logit is ``‖x‖(λ·cos θ_y + ψ(θ_y)) / (1 + λ)``, class weights normalised.

    ψ as in :class:`~mlcompare.losses.l_softmax.LSoftmax`. λ follows the SphereFace-20 schedule down to ``lambda_min`` =
    5, so that m = 4 runs heavily softened: that is the official setting. A training sets its progress, which λ is a
    function of, by ``loss.set_progress(done / total)`` before each step; until then it is 1 (λ at its end). m ≥ 2 + √3
    (two classes) or m ≥ 3 (more) makes every angle inside a class smaller than every angle between classes. The
    gradient is that of the formula; the official Caffe layer's is normalised in scale, so its learning rate and λ don't
    carry over. As λ → ∞ this is ``modified_softmax``.

    >>> loss = SphereFace(num_classes=2, embedding_dim=2, margin=2, lambda_min=0.0, annealing="none")
    >>> _ = loss.class_weights.data.copy_(torch.tensor([[5.0, 0.0], [0.0, 1.0]]))
    >>> x = torch.tensor([[2**0.5, 2**0.5]])  # θ_y = π/4: ψ = 0, the other logit is √2
    >>> round(loss(x, torch.tensor([0])).item(), 4)  # log(1 + e^{√2})
    1.6318
    """

    margin: int = Hyperparameter(4, low=1, high=4, integer=True, minimum=1, symbol="m", unit="factor")
    lambda_min: float = Hyperparameter(
        5.0, low=0.0, high=10.0, minimum=0.0, symbol="λ", description="where the annealed λ ends"
    )
    annealing: str = Option("sphereface20", choices=(*ANNEALING, "none"), description="schedule of λ")

    def logits(self, embeddings: Tensor) -> Tensor:
        return embeddings @ normalize(self.class_weights.to(embeddings.dtype)).T  # (B, C)

    def margin_logits(self, embeddings: Tensor, labels: Tensor) -> Tensor:
        logits, mine = project(embeddings, self.class_weights.to(embeddings.dtype), labels)  # (B, C), (B, 1)
        norms = torch.linalg.vector_norm(embeddings, dim=1, keepdim=True)  # (B, 1)
        cosine = mine / norms.clamp_min(NORM_FLOOR)  # (B, 1)
        changed = norms * softened(cosine, self.margin, self.annealing_weight())
        return logits.scatter(1, labels[:, None], changed)


@register_loss(
    "sphereface_fnorm",
    family="margin",
    reference="Liu et al. 2017, arXiv:1704.08063, with normalised embeddings",
    bibtex=BIBTEX,
)
class SphereFaceFNorm(AnnealedHead, MarginHead):
    """SphereFace with feature normalisation: ``s·(λ·cos θ_y + ψ(θ_y)) / (1 + λ)``, embeddings normalised too.

    m may be any real number from 1 up; λ is ``lambda_min`` (0) throughout unless ``annealing`` names a schedule, along
    which ``loss.set_progress(done / total)`` moves it.
    ψ as in :class:`~mlcompare.losses.l_softmax.LSoftmax`; not :class:`~mlcompare.losses.sphereface_r.SphereFaceR`,
    whose margin carries no gradient.

    >>> loss = SphereFaceFNorm(num_classes=2, embedding_dim=2, margin=2.0, scale=1.0)
    >>> _ = loss.class_weights.data.copy_(torch.eye(2))
    >>> round(loss(torch.tensor([[1.0, 1.0]]), torch.tensor([0])).item(), 4)  # log(1 + e^{√½})
    1.1079
    """

    group = "margin"
    margin: float = Hyperparameter(2.0, low=1.2, high=4.0, minimum=1.0, symbol="m", unit="factor")
    scale: float = Hyperparameter(30.0, low=16.0, high=64.0, log=True, positive=True, symbol="s")

    def target_cosine(self, cosine: Tensor) -> Tensor:
        return softened(cosine, self.margin, self.annealing_weight())
