"""Normalised temperature-scaled cross-entropy over pairs: NT-Xent and supervised contrastive."""

from __future__ import annotations

import torch
from torch import Tensor

from mlcompare.geometry import masked_logsumexp, masked_mean
from mlcompare.losses.citation import cite, reality_check
from mlcompare.losses.pairing import AnchorLoss, Pairing
from mlcompare.registry import Hyperparameter, register_loss

__all__ = ["NTXent", "SupCon"]


@register_loss(
    "nt_xent",
    family="metric",
    reference="Chen et al. 2020, arXiv:2002.05709, eq. 1",
    published=tuple(reality_check(temperature=value) for value in (0.0091, 0.0219, 0.0002, 0.0415)),
    bibtex=cite(
        "chen2020simple",
        "Chen, Ting and Kornblith, Simon and Norouzi, Mohammad and Hinton, Geoffrey",
        "A Simple Framework for Contrastive Learning of Visual Representations",
        venue="International Conference on Machine Learning (ICML)",
        year=2020,
        arxiv="2002.05709",
    ),
)
class NTXent(AnchorLoss):
    """NT-Xent: the mean over positive pairs of ``−log e^{s_ap/τ} / (e^{s_ap/τ} + Σ_n e^{s_an/τ})``.

    s are cosines of embeddings ``(B, D)``; the negatives are all samples of other classes, so that the other positives
    of the anchor stay out of the denominator: that is the difference to :class:`SupCon`. With two views a class it is
    SimCLR's loss.

    >>> x, y = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]]), torch.tensor([0, 0, 1])
    >>> round(NTXent(temperature=1.0)(x, y).item(), 4)  # log(1 + e^{0 − 1})
    0.3133
    """

    group = "pair"
    temperature: float = Hyperparameter(
        0.1, low=1e-4, high=1.0, log=True, positive=True, symbol="τ", description="published down to .0002"
    )

    def against(self, pairing: Pairing, noise: Tensor | None) -> Tensor:
        scaled = pairing.cosines / self.temperature  # (B, B)
        others = masked_logsumexp(scaled, pairing.negatives)[:, None]  # (B, 1)
        return masked_mean(torch.logaddexp(others, scaled) - scaled, pairing.positives)


@register_loss(
    "supcon",
    family="metric",
    reference="Khosla et al. 2020, arXiv:2004.11362, eq. 2 (L_out)",
    bibtex=cite(
        "khosla2020supervised",
        "Khosla, Prannay and Teterwak, Piotr and Wang, Chen and Sarna, Aaron and Tian, Yonglong and Isola, Phillip and "
        "Maschinot, Aaron and Liu, Ce and Krishnan, Dilip",
        "Supervised Contrastive Learning",
        venue="Advances in Neural Information Processing Systems (NeurIPS)",
        year=2020,
        arxiv="2004.11362",
    ),
)
class SupCon(AnchorLoss):
    """Supervised contrastive (L_out): ``mean_a −1/|P_a| Σ_p log(e^{s_ap/τ} / Σ_{k≠a} e^{s_ak/τ})``.

    s are cosines of embeddings ``(B, D)``. The denominator holds all other samples, positives included; the log stands
    inside the sum over positives (L_out, not L_in). Anchors without a positive are dropped. The paper's factor
    τ/τ_base is left out.

    >>> x, y = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]]), torch.tensor([0, 0, 1])
    >>> round(SupCon(temperature=1.0)(x, y).item(), 4)  # log(e + 1) − 1
    0.3133
    """

    group = "pair"
    temperature: float = Hyperparameter(0.1, low=0.02, high=1.0, log=True, positive=True, symbol="τ")

    def against(self, pairing: Pairing, noise: Tensor | None) -> Tensor:
        scaled = pairing.cosines / self.temperature  # (B, B)
        positives = pairing.positives
        everyone = masked_logsumexp(scaled, positives | pairing.negatives)  # (B,)
        count = positives.sum(1)  # (B,)
        mean = torch.where(positives, scaled, 0.0).sum(1) / count.clamp_min(1)  # (B,)
        return masked_mean(everyone - mean, count > 0)
