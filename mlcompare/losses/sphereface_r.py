"""SphereFace-R: a multiplicative angular margin that changes the value and not the gradient."""

from __future__ import annotations

from torch import Tensor

from mlcompare.losses.angular import monotone_cosine
from mlcompare.losses.citation import cite
from mlcompare.losses.head import MarginHead
from mlcompare.registry import Hyperparameter, register_loss

__all__ = ["SphereFaceR"]


@register_loss(
    "sphereface_r",
    family="margin",
    reference="Liu et al. 2022, arXiv:2109.05565",
    bibtex=cite(
        "liu2022sphereface",
        "Liu, Weiyang and Wen, Yandong and Raj, Bhiksha and Singh, Rita and Weller, Adrian",
        "SphereFace Revived: Unifying Hyperspherical Face Recognition",
        journal="IEEE Transactions on Pattern Analysis and Machine Intelligence",
        year=2022,
        arxiv="2109.05565",
    ),
)
class SphereFaceR(MarginHead):
    """SphereFace-R: ``s·(cos θ_y + sg(ψ(θ_y) − cos θ_y))``: the margin changes the value and carries no gradient.

    sg stops the gradient, so that each target's gradient is the plain cosine's, weighted by 1 − p of the harder
    problem (the official code's characteristic gradient detachment). Embeddings ``(B, D)`` and class weights
    ``(C, D)`` are normalised; ψ as in :class:`~mlcompare.losses.l_softmax.LSoftmax`, m any real number from 1 up.

    >>> import torch
    >>> loss = SphereFaceR(num_classes=2, embedding_dim=2, margin=2.0, scale=1.0)
    >>> _ = loss.class_weights.data.copy_(torch.eye(2))
    >>> round(loss(torch.tensor([[1.0, 1.0]]), torch.tensor([0])).item(), 4)  # log(1 + e^{√½})
    1.1079
    """

    exact_gradient = False
    margin: float = Hyperparameter(1.7, low=1.1, high=3.0, minimum=1.0, symbol="m", unit="factor")
    scale: float = Hyperparameter(30.0, low=8.0, high=64.0, log=True, positive=True, symbol="s")

    def target_cosine(self, cosine: Tensor) -> Tensor:
        return cosine + (monotone_cosine(cosine, self.margin) - cosine).detach()
