"""L-Softmax: a multiplicative margin on the angle, annealed."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from mlcompare.geometry import NORM_FLOOR, Number, normalize
from mlcompare.losses.angular import monotone_cosine
from mlcompare.losses.citation import cite
from mlcompare.losses.head import SoftmaxHead
from mlcompare.losses.schedules import ANNEALING, annealed
from mlcompare.registry import Hyperparameter, Option, Published, register_loss

__all__ = ["AnnealedHead", "LSoftmax", "softened"]


def softened(cosine: Tensor, margin: Number, weight: Tensor) -> Tensor:
    """Return (λ·cos θ + ψ(θ)) / (1 + λ), the annealed target cosine."""
    return cosine + (monotone_cosine(cosine, margin) - cosine) / (1 + weight)


class AnnealedHead(SoftmaxHead):
    """What annealed heads declare: the floor of λ and the preset of its schedule."""

    group = "margin"
    lambda_min: float = Hyperparameter(0.0, minimum=0.0, symbol="λ", description="where the annealed λ ends")
    annealing: str = Option("none", choices=(*ANNEALING, "none"), description="schedule of λ")

    def annealing_weight(self) -> Tensor:
        return annealed(self.annealing, self.progress, self.lambda_min)


@register_loss(
    "l_softmax",
    family="margin",
    reference="Liu et al. 2016, arXiv:1612.02295, eq. 4–6",
    published=(Published("MNIST, wy1iu/LargeMargin_Softmax_Loss", margin=4),),
    bibtex=cite(
        "liu2016large",
        "Liu, Weiyang and Wen, Yandong and Yu, Zhiding and Yang, Meng",
        "Large-Margin Softmax Loss for Convolutional Neural Networks",
        venue="International Conference on Machine Learning (ICML)",
        year=2016,
        arxiv="1612.02295",
    ),
)
class LSoftmax(AnnealedHead):
    """L-Softmax: the target logit is ``‖W_y‖‖x‖(λ·cos θ_y + ψ(θ_y)) / (1 + λ)``, no bias, nothing normalised.

    ψ is cos(mθ) made monotone (:func:`monotone_cosine`), m a whole number, θ the angle of embeddings ``(B, D)`` to
    class weights ``(C, D)``. λ falls from 1000 to ``lambda_min`` over training: it is a function of the training's
    progress, which a training sets by ``loss.set_progress(done / total)`` before each step and which is 1 (λ at its
    end) until then. The preset is that of the authors' MNIST prototxt (wy1iu/LargeMargin_Softmax_Loss: 421, 16.2 and
    .41 at 1k, 5k and 10k of 30k iterations), which has m = 4, the published setting; the default m = 2 is that of their
    CIFAR-10 prototxt, whose λ falls alike (γ 2e-5, power 45). SphereFace differs by normalised class weights.

    >>> loss = LSoftmax(num_classes=2, embedding_dim=2, margin=2, annealing="none")
    >>> _ = loss.class_weights.data.copy_(torch.tensor([[1.0, 0.0], [0.0, 1.0]]))
    >>> x = torch.tensor([[2**0.5, 2**0.5]])  # θ_y = π/4: ψ = 0, the other logit is √2
    >>> round(loss(x, torch.tensor([0])).item(), 4)  # log(1 + e^{√2})
    1.6318
    """

    margin: int = Hyperparameter(2, low=1, high=4, integer=True, minimum=1, symbol="m", unit="factor")
    annealing: str = Option("l_softmax_mnist", choices=(*ANNEALING, "none"), description="schedule of λ")

    def logits(self, embeddings: Tensor) -> Tensor:
        return embeddings @ self.class_weights.to(embeddings.dtype).T  # (B, C)

    def margin_logits(self, embeddings: Tensor, labels: Tensor) -> Tensor:
        logits = self.logits(embeddings)  # (B, C)
        mine = F.embedding(labels, self.class_weights.to(embeddings.dtype))  # (B, D): w_y
        sizes = [torch.linalg.vector_norm(rows, dim=1, keepdim=True) for rows in (embeddings, mine)]  # (B, 1) each
        norms = sizes[0] * sizes[1]
        cosine = (normalize(embeddings) * mine).sum(1, keepdim=True) / sizes[1].clamp_min(NORM_FLOOR)  # (B, 1)
        changed = norms * softened(cosine, self.margin, self.annealing_weight())
        return logits.scatter(1, labels[:, None], changed)
