"""L2-constrained softmax (Crystal loss): embeddings on a sphere of radius α."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mlcompare.geometry import normalize, scalar
from mlcompare.losses.citation import cite
from mlcompare.losses.softmax import LinearHead
from mlcompare.registry import Hyperparameter, Option, register_loss

__all__ = ["L2Softmax"]

ALPHA_FLOOR = 0.01


@register_loss(
    "l2_softmax",
    family="margin",
    reference="Ranjan et al. 2017, arXiv:1703.09507; Crystal loss: Ranjan et al. 2018, arXiv:1804.01159",
    aliases=("crystal",),
    bibtex=cite(
        "ranjan2017l2",
        "Ranjan, Rajeev and Castillo, Carlos D. and Chellappa, Rama",
        "L2-constrained Softmax Loss for Discriminative Face Verification",
        year=2017,
        arxiv="1703.09507",
    )
    + "\n\n"
    + cite(
        "ranjan2018crystal",
        "Ranjan, Rajeev and Bansal, Ankan and Xu, Hongyu and Sankaranarayanan, Swami and Chen, Jun-Cheng and Castillo, "
        "Carlos D. and Chellappa, Rama",
        "Crystal Loss and Quality Pooling for Unconstrained Face Verification and Recognition",
        year=2018,
        arxiv="1804.01159",
    ),
)
class L2Softmax(LinearHead):
    """L2-softmax (Crystal loss): ``CE(Wᵀ(α·x/‖x‖) + b)``, embeddings normalised to the radius α.

    Class weights ``(C, D)`` and bias are free, unlike NormFace's, so that α is no temperature of a cosine. To reach
    probability p on C classes α must be at least ``log(p(C−2)/(1−p))`` (4.28 for 10 classes and p = .9,
    9.10 for 1000; the paper's bound, not checked against it). The default α = 16 is fixed; ``learn_alpha`` starts there
    and learns on.

    >>> loss = L2Softmax(num_classes=2, embedding_dim=2, alpha=4.0)
    >>> _ = loss.class_weights.data.copy_(torch.eye(2))
    >>> round(loss(torch.tensor([[3.0, 0.0]]), torch.tensor([0])).item(), 4)  # log(1 + e^{−4})
    0.0181
    """

    alpha: float = Hyperparameter(
        16.0, low=4.0, high=64.0, log=True, positive=True, symbol="α", description="radius of the sphere: a scale"
    )
    fixed = ("learn_alpha",)
    learn_alpha: bool = Option(False, choices=(False, True), description="learn α, from `alpha` on")

    def setup(self, generator: torch.Generator | None) -> None:
        super().setup(generator)
        if self.learn_alpha:
            self.learned_alpha = nn.Parameter(scalar(self.alpha).float().clone())

    def logits(self, embeddings: Tensor) -> Tensor:
        alpha = self.learned_alpha.clamp_min(ALPHA_FLOOR) if self.learn_alpha else self.alpha
        return super().logits(alpha * normalize(embeddings))
