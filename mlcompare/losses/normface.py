"""NormFace: softmax over scaled cosines, the m = 0 end of every margin loss."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mlcompare.geometry import scalar
from mlcompare.losses.citation import cite, reality_check
from mlcompare.losses.head import MarginHead
from mlcompare.registry import Hyperparameter, Option, register_loss

__all__ = ["NormFace"]

SCALE_FLOOR = 0.01  # the official code's floor for a learned scale
LEARNED_START = 10.0


@register_loss(
    "normface",
    family="margin",
    group="softmax",
    reference="Wang et al. 2017, arXiv:1704.06369",
    aliases=("normalized_softmax",),
    published=(
        *(reality_check(scale=1 / temperature) for temperature in (0.109, 0.089, 0.063, 0.071)),
        *(reality_check(scale=2 * scale) for scale in (14.0, 10.7, 10.0)),  # Proxy-NCA's, see there; 2·8 is the default
    ),
    bibtex=cite(
        "wang2017normface",
        "Wang, Feng and Xiang, Xiang and Cheng, Jian and Yuille, Alan L.",
        "NormFace: L2 Hypersphere Embedding for Face Verification",
        venue="Proceedings of the ACM International Conference on Multimedia",
        year=2017,
        arxiv="1704.06369",
    ),
)
class NormFace(MarginHead):
    """NormFace (normalised softmax): ``CE(s · cos θ_j)``, embeddings and class weights both normalised.

    With C classes the loss can't fall below ``log(1 + (C−1)·e^{−sC/(C−1)})`` (the paper's bound for balanced classes),
    which is why a scale is needed at all. ``scale`` s is fixed by default, at 16, a choice of this package's: the form
    later papers compare with. The official code (happynear/NormFace, scaled_cosine_softmax.prototxt) learns it, from 10
    and never below .01: so does ``learn_scale``, which then ignores ``scale``.
    It is not :class:`~mlcompare.losses.l2_softmax.L2Softmax`, which normalises the embedding alone.

    >>> import torch
    >>> loss = NormFace(num_classes=2, embedding_dim=2, scale=1.0)
    >>> _ = loss.class_weights.data.copy_(torch.eye(2))
    >>> round(loss(torch.tensor([[3.0, 0.0]]), torch.tensor([0])).item(), 4)  # log(1 + e^{−1})
    0.3133
    """

    group = "softmax"
    scale: float = Hyperparameter(16.0, low=4.0, high=64.0, log=True, positive=True, symbol="s")
    fixed = ("learn_scale",)
    learn_scale: bool = Option(False, choices=(False, True), description="learn s, from 10 on, and ignore `scale`")

    def setup(self, generator: torch.Generator | None) -> None:
        super().setup(generator)
        if self.learn_scale:
            self.learned_scale = nn.Parameter(torch.tensor(LEARNED_START))

    def current_scale(self) -> Tensor:
        return self.learned_scale.clamp_min(SCALE_FLOOR) if self.learn_scale else scalar(self.scale)

    def target_cosine(self, cosine: Tensor) -> Tensor:
        return cosine
