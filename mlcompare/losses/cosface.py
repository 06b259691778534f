"""CosFace: an additive margin on the cosine."""

from __future__ import annotations

from torch import Tensor

from mlcompare.losses.citation import cite, reality_check
from mlcompare.losses.head import MarginHead
from mlcompare.registry import Hyperparameter, Published, register_loss

__all__ = ["CosFace"]


@register_loss(
    "cosface",
    family="margin",
    reference="Wang et al. 2018, arXiv:1801.09414, eq. 4; AM-Softmax: Wang et al. 2018, arXiv:1801.05599",
    aliases=("am_softmax",),
    published=(
        Published("arcface_torch, deepinsight/insightface", margin=0.4, scale=64.0),
        Published("Wang et al. 2018, arXiv:1801.09414", margin=0.35, scale=64.0),
        reality_check(margin=0.62, scale=100.0),
        reality_check(margin=0.43, scale=161.0),
        reality_check(margin=0.34, scale=100.0),
        reality_check(margin=0.41, scale=88.0),
    ),
    bibtex=cite(
        "wang2018cosface",
        "Wang, Hao and Wang, Yitong and Zhou, Zheng and Ji, Xing and Gong, Dihong and Zhou, Jingchao and Li, Zhifeng "
        "and Liu, Wei",
        "CosFace: Large Margin Cosine Loss for Deep Face Recognition",
        venue="Proceedings of the IEEE Conference on Computer Vision and Pattern Recognition (CVPR)",
        year=2018,
        arxiv="1801.09414",
    )
    + "\n\n"
    + cite(
        "wang2018additive",
        "Wang, Feng and Cheng, Jian and Liu, Weiyang and Liu, Haijun",
        "Additive Margin Softmax for Face Verification",
        year=2018,
        arxiv="1801.05599",
    ),
)
class CosFace(MarginHead):
    """CosFace (large-margin cosine loss), the same as AM-Softmax: ``CE`` over ``s(cos θ_y − m)`` and ``s·cos θ_j``.

    The margin is subtracted from the cosine, not added to the angle (:class:`~mlcompare.losses.arcface.ArcFace`).
    Embeddings ``(B, D)`` and class weights ``(C, D)`` are normalised; the defaults, s = 30 and m = .35, are those of
    AM-Softmax's code; most trainings today take s = 64 and m = .4 (arcface_torch, deepinsight/insightface), which is
    the first published setting. Value and gradient were compared with that code.

    To reach probability P a scale of at least ``(C−1)/C · log((C−1)P/(1−P))`` is needed; m can be met only up to
    ``C/(C−1)`` where D ≥ C−1, and up to ``1 − cos(2π/C)`` where D = 2 (the paper's bounds, not checked against it).

    >>> import torch
    >>> loss = CosFace(num_classes=2, embedding_dim=2, margin=0.25, scale=1.0)
    >>> _ = loss.class_weights.data.copy_(torch.eye(2))
    >>> round(loss(torch.tensor([[3.0, 0.0]]), torch.tensor([0])).item(), 4)  # log(1 + e^{−(1 − .25)})
    0.3869
    """

    margin: float = Hyperparameter(
        0.35, low=0.0, high=0.65, minimum=0.0, symbol="m", unit="cosine", description="published up to .62"
    )
    scale: float = Hyperparameter(
        30.0, low=4.0, high=180.0, log=True, positive=True, symbol="s", description="published up to 161"
    )

    def target_cosine(self, cosine: Tensor) -> Tensor:
        return cosine - self.margin
