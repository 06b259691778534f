"""ArcFace: an additive margin on the angle."""

from __future__ import annotations

from torch import Tensor

from mlcompare.losses.angular import add_angle, eased_angle, monotone_angle
from mlcompare.losses.citation import cite, reality_check
from mlcompare.losses.head import MarginHead
from mlcompare.registry import Hyperparameter, Option, register_loss

__all__ = ["ArcFace"]

BIBTEX = cite(
    "deng2019arcface",
    "Deng, Jiankang and Guo, Jia and Xue, Niannan and Zafeiriou, Stefanos",
    "ArcFace: Additive Angular Margin Loss for Deep Face Recognition",
    venue="Proceedings of the IEEE/CVF Conference on Computer Vision and Pattern Recognition (CVPR)",
    year=2019,
    arxiv="1801.07698",
)


@register_loss(
    "arcface",
    family="margin",
    reference="Deng et al. 2019, arXiv:1801.07698",
    published=(
        reality_check(margin=0.4049, scale=100.0),
        reality_check(margin=0.3578, scale=49.5),
        reality_check(margin=0.3246, scale=220.0),
        reality_check(margin=0.4032, scale=78.9),
    ),
    bibtex=BIBTEX,
)
class ArcFace(MarginHead):
    """ArcFace: ``CE`` over ``s·cos(θ_y + m)`` for the target and ``s·cos θ_j`` for the other classes; m in radians.

    Deng et al. 2019, eq. 3. Past θ = π − m, where cos(θ + m) would rise again, the target is ``cos θ − m·sin m``; this
    fallback keeps the target falling but jumps (from −1 to −1.117 at m = .5). ``easy_margin`` adds the margin only
    where cos θ > 0. ``gradient="detached"`` is the official PyTorch code's gradient, which changes the angle under
    no_grad: straight through, s(p − 1) for the target; ``exact`` differentiates the formula. The margin is added to
    the angle of ``(B, D)`` embeddings to their class weights ``(C, D)``, unlike
    :class:`~mlcompare.losses.cosface.CosFace`, which subtracts it from the cosine.

    >>> import torch
    >>> loss = ArcFace(num_classes=2, embedding_dim=2, margin=0.5, scale=1.0)
    >>> _ = loss.class_weights.data.copy_(torch.eye(2))
    >>> round(loss(torch.tensor([[3.0, 0.0]]), torch.tensor([0])).item(), 4)  # log(1 + e^{−cos .5})
    0.3477
    """

    margin: float = Hyperparameter(0.5, low=0.0, high=0.8, minimum=0.0, maximum=3.1415, symbol="m", unit="rad")
    scale: float = Hyperparameter(
        64.0,
        low=4.0,
        high=256.0,
        log=True,
        positive=True,
        symbol="s",
        description="ArcFace's optima reach 220",
    )
    easy_margin: bool = Option(False, choices=(False, True), description="add the margin only where cos θ > 0")
    gradient: str = Option("exact", choices=("exact", "detached"), description="of the formula, or straight through")

    def moved(self, cosine: Tensor) -> Tensor:
        """Return cos(θ + m), Deng et al. 2019, eq. 3, whatever θ."""
        return add_angle(cosine, self.margin)

    def target_cosine(self, cosine: Tensor) -> Tensor:
        target = (eased_angle if self.easy_margin else monotone_angle)(cosine, self.margin)
        return cosine + (target - cosine).detach() if self.gradient == "detached" else target
