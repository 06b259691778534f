"""Center loss: pull every embedding to a running center of its class."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from mlcompare.losses.base import Loss
from mlcompare.losses.citation import cite
from mlcompare.losses.running import write
from mlcompare.losses.softmax import Softmax
from mlcompare.losses.sums import register_sum
from mlcompare.registry import Hyperparameter, register_loss

__all__ = ["CenterTerm"]

REFERENCE = "Wen et al. 2016, A Discriminative Feature Learning Approach for Deep Face Recognition, ECCV"
BIBTEX = cite(
    "wen2016discriminative",
    "Wen, Yandong and Zhang, Kaipeng and Li, Zhifeng and Qiao, Yu",
    "A Discriminative Feature Learning Approach for Deep Face Recognition",
    venue="European Conference on Computer Vision (ECCV)",
    year=2016,
)


@register_loss("center_term", family="margin", group="term", reference=REFERENCE, term=True, bibtex=BIBTEX)
class CenterTerm(Loss):
    """Center loss, the term alone: ``(λ/2) · mean‖x − c_y‖²`` on raw embeddings ``(B, D)``.

    The centers ``(C, D)`` are state, not weights. In train mode, after the loss is taken, each moves by the paper's own
    rule (Wen et al. 2016, eq. 4): ``c_j ← c_j − α·Δc_j`` with ``Δc_j = Σ_i δ(y_i=j)(c_j − x_i) / (1 + Σ_i δ(y_i=j))``.
    This is not the λ-scaled gradient step that many ports take; α and λ are independent. The paper sums over the
    batch where this takes the mean (as the official solver's loss weight does). Centers start at 0. The defaults,
    λ = .003 and α = .5, were not checked against the paper.

    >>> import torch
    >>> loss = CenterTerm(num_classes=2, embedding_dim=2, weight=1.0, alpha=0.5)
    >>> round(loss(torch.tensor([[2.0, 0.0]]), torch.tensor([1])).item(), 4)  # ½·‖x − 0‖²
    2.0
    >>> loss.centers  # moved by α·(2 − 0)/(1 + 1)
    tensor([[0.0000, 0.0000],
            [0.5000, 0.0000]])
    """

    needs = ("num_classes", "embedding_dim")
    class_rows = ("centers",)
    num_classes: int  # `needs` demands both
    embedding_dim: int
    group = "term"
    weight: float = Hyperparameter(0.003, low=1e-4, high=1.0, log=True, minimum=0.0, symbol="λ")
    alpha: float = Hyperparameter(
        0.5, low=0.05, high=1.0, minimum=0.0, maximum=1.0, symbol="α", description="rate of the center update"
    )

    centers: Tensor

    def setup(self, generator: torch.Generator | None) -> None:
        self.register_buffer("centers", torch.zeros(self.num_classes, self.embedding_dim))  # (C, D)

    def compute(self, embeddings: Tensor, labels: Tensor, noise: Tensor | None) -> Tensor:
        # compiled code would take centers[labels] again for the gradient, after they moved; a look-up it keeps
        offset = embeddings - F.embedding(labels, self.centers).to(embeddings.dtype)  # (B, D)
        if self.training:
            self._update(offset.detach(), labels)
        return 0.5 * self.weight * offset.square().sum(1).mean()

    @torch.no_grad()
    def _update(self, offset: Tensor, labels: Tensor) -> None:
        count = (labels[:, None] == labels[None, :]).sum(1, keepdim=True)  # (B, 1): Σ_i δ(y_i = y)
        step = self.alpha * offset / (1 + count)  # Wen et al. 2016, eq. 4, one share for each sample
        moved = self.centers.index_add(0, labels, step.to(self.centers.dtype))  # (C, D)
        write(self, "centers", moved)


register_sum(
    "center",
    (Softmax, CenterTerm),
    family="margin",
    reference=REFERENCE,
    bibtex=BIBTEX,
    doc="""Center loss: softmax plus ``(λ/2) · mean‖x − c_y‖²``, with class centers that follow the embeddings.

    The paper's joint supervision (Wen et al. 2016, eq. 5); see ``center_term`` for the update rule of the centers.
    """,
)
