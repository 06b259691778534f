"""Multi-similarity loss."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from mlcompare.geometry import (
    masked_logsumexp,
    masked_max,
    masked_min,
)
from mlcompare.losses.citation import cite, reality_check
from mlcompare.losses.pairing import AnchorLoss, Pairing
from mlcompare.registry import Hyperparameter, Option, Published, register_loss

__all__ = ["MultiSimilarity"]

EXACT = 50.0  # softplus turns linear only where it can't be told apart


@register_loss(
    "multi_similarity",
    family="metric",
    group="pair",
    reference="Wang et al. 2019, arXiv:1904.06627",
    published=(
        Published("the authors' code, msight-tech/research-ms-loss", alpha=2.0, beta=40.0, base=0.5, epsilon=0.1),
        reality_check(alpha=17.97, beta=75.66, base=0.77, epsilon=0.39),
        reality_check(alpha=7.49, beta=47.99, base=0.63, epsilon=0.72),
        reality_check(alpha=15.94, beta=156.61, base=0.72, epsilon=0.34),
        reality_check(alpha=11.63, beta=55.2, base=0.85, epsilon=0.42),
    ),
    bibtex=cite(
        "wang2019multi",
        "Wang, Xun and Han, Xintong and Huang, Weilin and Dong, Dengke and Scott, Matthew R.",
        "Multi-Similarity Loss with General Pair Weighting for Deep Metric Learning",
        venue="Proceedings of the IEEE/CVF Conference on Computer Vision and Pattern Recognition (CVPR)",
        year=2019,
        arxiv="1904.06627",
    ),
)
class MultiSimilarity(AnchorLoss):
    """Multi-similarity: the mean over anchors of ``(1/α)log(1 + Σ_p e^{−α(s−λ)}) + (1/β)log(1 + Σ_n e^{β(s−λ)})``.

    s are cosines of embeddings ``(B, D)``; λ (``base``) is a similarity, not a weight. Pairs are mined first: a
    negative stays if ``s_an + ε > min_p s_ap``, a positive if ``s_ap − ε < max_n s_an`` (``mining=False`` keeps
    all). The mean is over all anchors, those without a mined pair included as 0.

    The defaults are pytorch-metric-learning's; the authors' code (msight-tech/research-ms-loss) has β = 40, the first
    published setting. The others are Musgrave et al.'s (2020) optima with the miner.

    >>> import torch
    >>> loss = MultiSimilarity(alpha=1.0, beta=1.0, base=0.0)
    >>> x, y = torch.tensor([[1.0, 0.0], [1.0, 0.0], [1.0, 0.0]]), torch.tensor([0, 0, 1])
    >>> round(loss(x, y).item(), 3)  # ⅔·(log(1 + e^{−1}) + log(1 + e)); sample 2 has no positive
    1.084
    """

    group = "pair"
    alpha: float = Hyperparameter(
        2.0, low=0.1, high=20.0, log=True, positive=True, symbol="α", description="sharpness for positives"
    )
    beta: float = Hyperparameter(
        50.0,
        low=10.0,
        high=160.0,
        log=True,
        positive=True,
        symbol="β",
        description="sharpness for negatives; published up to 157",
    )
    base: float = Hyperparameter(
        0.5, low=0.0, high=1.0, minimum=-1.0, maximum=1.0, unit="cosine", description="the paper's λ, a similarity"
    )
    epsilon: float = Hyperparameter(
        0.1, low=0.0, high=0.8, minimum=0.0, symbol="ε", unit="cosine", description="slack of the mining; up to .72"
    )
    mining: bool = Option(True, choices=(True, False), description="drop easy pairs first")

    def against(self, pairing: Pairing, noise: Tensor | None) -> Tensor:
        cosine = pairing.cosines  # (B, M)
        positives, negatives = pairing.positives, pairing.negatives
        if self.mining:
            hardest_positive = masked_min(cosine, positives)[:, None]  # (B, 1)
            hardest_negative = masked_max(cosine, negatives)[:, None]
            positives = positives & (cosine - self.epsilon < hardest_negative)
            negatives = negatives & (cosine + self.epsilon > hardest_positive)
        offset = cosine - self.base
        pull = F.softplus(masked_logsumexp(-self.alpha * offset, positives), threshold=EXACT) / self.alpha  # (B,)
        push = F.softplus(masked_logsumexp(self.beta * offset, negatives), threshold=EXACT) / self.beta
        return (pull + push).mean()
