"""Sigmoid loss over pairs: every pair is a binary problem of its own, as in SigLIP."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mlcompare.losses.citation import cite
from mlcompare.losses.pairing import AnchorLoss, Pairing
from mlcompare.registry import Hyperparameter, Option, register_loss

__all__ = ["SigmoidPair"]


@register_loss(
    "sigmoid_pair",
    family="metric",
    reference="Zhai et al. 2023, arXiv:2303.15343",
    bibtex=cite(
        "zhai2023sigmoid",
        "Zhai, Xiaohua and Mustafa, Basil and Kolesnikov, Alexander and Beyer, Lucas",
        "Sigmoid Loss for Language Image Pre-Training",
        venue="Proceedings of the IEEE/CVF International Conference on Computer Vision (ICCV)",
        year=2023,
        arxiv="2303.15343",
    ),
)
class SigmoidPair(AnchorLoss):
    """Sigmoid pair loss: the mean over anchors of ``Σ_{j≠a} log(1 + e^{−z·(t·s_aj + b)})``, z = 1 or −1 for a pair.

    s are cosines of embeddings ``(B, D)``; z says whether both are of one class. No softmax: no pair competes with
    another, and ``−b/t`` is one threshold of the cosine for all. t and b start at ``scale`` and ``bias`` and are
    learned, t as ``scale·e^δ``; ``learn=False`` keeps them. b = −10 says at the start that pairs are negative, as
    nearly all are. SigLIP's pairs are an image and a text, one positive for each anchor; here they are the samples of
    one batch, with as many positives as a class has.

    With two samples of each class, value and gradient were compared with the loss of the authors' code
    (google-research/big_vision, trainers/proj/image_text/siglip.py), its JAX calls replaced by torch's, summed over the
    pairs of both samples and of each alone. s and b are its start, the ranges a choice of this package's.

    >>> x, y = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]]), torch.tensor([0, 0, 1])
    >>> loss = SigmoidPair(scale=1.0, bias=0.0)
    >>> round(loss(x, y).item(), 4)  # (2·log(1 + e^{−1}) + 4·log 2)/3
    1.133
    """

    group = "pair"
    scale: float = Hyperparameter(10.0, low=2.0, high=100.0, log=True, positive=True, symbol="s", description="t")
    bias: float = Hyperparameter(-10.0, low=-20.0, high=0.0, symbol="b")
    fixed = ("learn",)
    learn: bool = Option(True, choices=(True, False), description="learn t and b from these starts")

    log_growth: nn.Parameter
    shift: nn.Parameter

    def setup(self, generator: torch.Generator | None) -> None:
        if self.learn:
            self.log_growth = nn.Parameter(torch.zeros(()))  # δ
            self.shift = nn.Parameter(torch.zeros(()))

    def against(self, pairing: Pairing, noise: Tensor | None) -> Tensor:
        logits = self.scale * pairing.cosines  # (B, B)
        logits = logits * self.log_growth.exp() + (self.bias + self.shift) if self.learn else logits + self.bias
        positives, negatives = pairing.positives, pairing.negatives
        costs = F.softplus(torch.where(positives, -logits, logits), threshold=50.0)
        return torch.where(positives | negatives, costs, 0.0).sum(1).mean()
