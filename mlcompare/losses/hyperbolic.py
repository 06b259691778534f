"""Hyperbolic pairwise cross-entropy: pairs measured in a ball where room grows towards the rim."""

from __future__ import annotations

import torch
from torch import Tensor

from mlcompare.geometry import NORM_FLOOR, masked_logsumexp, masked_mean, scalar
from mlcompare.losses.citation import cite
from mlcompare.losses.pairing import AnchorLoss, Pairing
from mlcompare.registry import Hyperparameter, register_loss

__all__ = ["Hyperbolic"]


@register_loss(
    "hyperbolic",
    family="metric",
    reference="Ermolov et al. 2022, arXiv:2203.10833",
    bibtex=cite(
        "ermolov2022hyperbolic",
        "Ermolov, Aleksandr and Mirvakhabova, Leyla and Khrulkov, Valentin and Sebe, Nicu and Oseledets, Ivan",
        "Hyperbolic Vision Transformers: Combining Improvements in Metric Learning",
        venue="IEEE/CVF Conference on Computer Vision and Pattern Recognition (CVPR)",
        year=2022,
        arxiv="2203.10833",
    ),
)
class Hyperbolic(AnchorLoss):
    """Hyperbolic pairs: the mean over positive pairs of ``−log e^{−D_ap/τ} / (e^{−D_ap/τ} + Σ_n e^{−D_an/τ})``.

    D is the distance of two points of the Poincaré ball of curvature −c. An embedding ``x (B, D)`` longer than r is cut
    to r (the clipping of arXiv:2107.11472), then lies at ``z = tanh(√c·‖x‖)·x / (√c·‖x‖)``, and

    ``D_ij = 2/√c · arsinh(√c·‖z_i − z_j‖ / √((1 − c‖z_i‖²)(1 − c‖z_j‖²)))``

    The embedding's length counts, up to r; negatives are all samples of other classes, as in
    :class:`~mlcompare.losses.nt_xent.NTXent`, which this is with −D in place of the cosine. It is not a hyperbolic
    network: the layers before it are as ever. A study ranks by cosine, as for every loss; embeddings that are all cut
    to r are ranked alike by D. As c goes to 0, D goes to twice the Euclidean distance.

    With two samples of each class it is half the loss of the authors' code (htdt/hyp_metric), which sums over both, in
    value and gradient to 2e-5, as large as what that adds to its denominators; with more, that takes the negatives of a
    pair from the pair's two places in the classes' lists alone. τ, c and r are the authors' defaults, the ranges a
    choice of this package's.

    >>> x, y = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]]), torch.tensor([0, 0, 1])
    >>> loss = Hyperbolic(temperature=1.0, curvature=1.0, radius=9.0)
    >>> round(loss(x, y).item(), 4)  # log(1 + e^{−D}), D = 2·arsinh(√2·tanh 1·cosh² 1) = 3.345
    0.0348
    """

    group = "pair"
    temperature: float = Hyperparameter(0.2, low=0.02, high=1.0, log=True, positive=True, symbol="τ")
    curvature: float = Hyperparameter(
        0.1, low=0.01, high=1.0, log=True, positive=True, symbol="c", description="how fast room grows outwards"
    )
    radius: float = Hyperparameter(
        2.3, positive=True, symbol="r", unit="length", description="longer embeddings are cut to it"
    )

    def against(self, pairing: Pairing, noise: Tensor | None) -> Tensor:
        scaled = -self._distances(pairing) / self.temperature  # (B, M)
        others = masked_logsumexp(scaled, pairing.negatives)[:, None]  # (B, 1)
        return masked_mean(torch.logaddexp(others, scaled) - scaled, pairing.positives)

    def _distances(self, pairing: Pairing) -> Tensor:
        """Distances in the ball, ``(B, M)``."""
        root = scalar(self.curvature).sqrt()
        points, growth = self._in_ball(pairing.references, root)  # (M, D), (M,)
        anchors = points if pairing.references is pairing.anchors else points[: len(pairing.anchors)]
        straight = pairing._replace(anchors=anchors, references=points).distances(normalized=False)  # (B, M)
        stretched = straight * growth[: len(anchors), None] * growth[None, :]
        return 2 / root * torch.asinh(root * stretched)

    def _in_ball(self, embeddings: Tensor, root: Tensor) -> tuple[Tensor, Tensor]:
        """Return the points z of the ball ``(M, D)`` and their ``1/√(1 − c‖z‖²) = cosh √c‖x‖``, ``(M,)``."""
        lengths = torch.linalg.vector_norm(embeddings, dim=-1, keepdim=True).clamp_min(NORM_FLOOR)  # (M, 1)
        inner = root * torch.minimum(lengths, scalar(self.radius).to(lengths.dtype))  # √c·min(‖x‖, r)
        return embeddings / lengths * torch.tanh(inner) / root, torch.cosh(inner).squeeze(-1)
