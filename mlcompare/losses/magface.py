"""MagFace: the margin grows with the embedding's norm, which becomes a quality."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from mlcompare.losses.angular import eased_angle, monotone_angle
from mlcompare.losses.citation import cite
from mlcompare.losses.head import MarginHead
from mlcompare.registry import Hyperparameter, Option, register_loss

__all__ = ["MagFace"]

NORMS_AT_512 = (10.0, 110.0)  # l_a and u_a of the paper, for 512-dimensional embeddings


@register_loss(
    "magface",
    family="margin",
    reference="Meng et al. 2021, arXiv:2103.06627",
    bibtex=cite(
        "meng2021magface",
        "Meng, Qiang and Zhao, Shichao and Huang, Zhida and Zhou, Feng",
        "MagFace: A Universal Representation for Face Recognition and Quality Assessment",
        venue="Proceedings of the IEEE/CVF Conference on Computer Vision and Pattern Recognition (CVPR)",
        year=2021,
        arxiv="2103.06627",
    ),
)
class MagFace(MarginHead):
    """MagFace: ArcFace with margin ``m(a) = l_m + (u_m − l_m)(a − l_a)/(u_a − l_a)``, plus ``λ_g·mean g(a)``.

    a = ‖x‖ clipped to [l_a, u_a] and ``g(a) = a/u_a² + 1/a``, which rewards large norms. The paper's bounds of a,
    10 and 110, are for D = 512; both are scaled by √(D/512), because outside them the norm has no gradient, and so is
    λ_g, because g shrinks as the norms grow: the loss is that of 512 dimensions at norms scaled alike. ``easy_margin``
    adds the margin only where cos θ_y > 0, as the official training does; False takes ArcFace's fallback past
    θ = π − m(a). Margins in radians; gradients flow through m(a). It is not AdaFace, which adapts to the norm relative
    to the batch and stops its gradient.

    Values and gradients were compared with models/magface.py of the authors' repository (IrvingMeng/MagFace), whose
    training leaves ``easy_margin=True``; the margins, λ_g and s are its training script's.

    >>> loss = MagFace(num_classes=2, embedding_dim=512, lower_margin=0.0, upper_margin=0.0, scale=1.0, weight=1.0)
    >>> _ = loss.class_weights.data.copy_(torch.eye(2, 512))
    >>> x = 110 * torch.eye(1, 512)
    >>> round(loss(x, torch.tensor([0])).item(), 4)  # log(1 + e^{−1}) + 1/110 + 1/110
    0.3314
    """

    lower_margin: float = Hyperparameter(0.45, low=0.0, high=0.6, minimum=0.0, maximum=3.1415, symbol="m", unit="rad")
    upper_margin: float = Hyperparameter(0.8, low=0.6, high=1.0, minimum=0.0, maximum=3.1415, symbol="m", unit="rad")
    scale: float = Hyperparameter(64.0, low=4.0, high=128.0, log=True, positive=True, symbol="s")
    weight: float = Hyperparameter(
        35.0, low=1.0, high=100.0, log=True, minimum=0.0, symbol="λ", description="λ_g, at D = 512"
    )
    easy_margin: bool = Option(True, choices=(True, False), description="add the margin only where cos θ > 0")

    def each(self, embeddings: Tensor, labels: Tensor) -> Tensor:
        ratio = (self.embedding_dim / 512) ** 0.5
        low, high = (norm * ratio for norm in NORMS_AT_512)
        norms = torch.linalg.vector_norm(embeddings, dim=1, keepdim=True).clamp(low, high)  # (B, 1)
        margin = self.lower_margin + (self.upper_margin - self.lower_margin) * (norms - low) / (high - low)  # (B, 1)
        logits, mine = self.scaled_cosines(embeddings, labels, self.scale)  # (B, C), (B, 1)
        add = eased_angle if self.easy_margin else monotone_angle
        changed = self.scale * add(mine / self.scale, margin)  # (B, 1)
        each = F.cross_entropy(logits.scatter(1, labels[:, None], changed), labels, reduction="none")
        return each + self.weight * ratio * (norms / high**2 + 1 / norms).squeeze(1)  # Meng et al. 2021, eq. 3
