"""Proxy losses: learned points stand for classes, and samples are compared with them instead of each other."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from mlcompare.errors import InvalidValueError
from mlcompare.geometry import FAR, scalar
from mlcompare.losses.citation import cite
from mlcompare.losses.head import Head
from mlcompare.registry import Hyperparameter, register_loss

__all__ = ["ProxyAnchor", "ProxyNCA", "ProxyNCAPlusPlus"]


def log_sum_by_class(values: Tensor, labels: Tensor, num_classes: int) -> tuple[Tensor, Tensor]:
    """Return ``log(1 + Σ e^v)`` of each class's ``values (B,)`` and whether it has any, each ``(C,)``.

    >>> log_sum_by_class(torch.tensor([0.0, 0.0, 1.0]), torch.tensor([1, 1, 0]), 3)[0]  # log(1 + e), log 3, log 1
    tensor([1.3133, 1.0986, 0.0000])
    """
    zeros = values.new_zeros(num_classes)  # (C,)
    top = zeros.scatter_reduce(0, labels, values.detach(), "amax")  # (C,): never below 0, the 1's exponent
    total = zeros.scatter_add(0, labels, (values - top.gather(0, labels)).exp())  # (C,)
    present = zeros.scatter(0, labels, 1.0) > 0
    return top + (torch.expm1(-top) + total).log1p(), present


@register_loss(
    "proxy_nca",
    family="metric",
    reference="Movshovitz-Attias et al. 2017, arXiv:1703.07464, eq. 4",
    bibtex=cite(
        "movshovitz2017no",
        "Movshovitz-Attias, Yair and Toshev, Alexander and Leung, Thomas K. and Ioffe, Sergey and Singh, Saurabh",
        "No Fuss Distance Metric Learning Using Proxies",
        venue="Proceedings of the IEEE International Conference on Computer Vision (ICCV)",
        year=2017,
        arxiv="1703.07464",
    ),
)
class ProxyNCA(Head):
    """Proxy-NCA: the batch mean of ``−log(e^{−s·d²(x,p_y)} / Σ_{j≠y} e^{−s·d²(x,p_j)})``.

    One proxy for each class (``class_weights (C, D)``); embeddings and proxies are normalised, d² is their squared
    Euclidean distance. The denominator leaves the own proxy out, as in the paper, so the loss may be negative; with it
    included (many ports) this would be NormFace at scale 2s. The paper has no scale (s = 1); the default 8 is a choice
    of this package's. Musgrave et al.'s (2020) optima, 14, 8, 10.7 and 10, belong to that other formula: they are
    published settings of ``normface``, at 2s.

    >>> loss = ProxyNCA(num_classes=2, embedding_dim=2, scale=1.0)
    >>> _ = loss.class_weights.data.copy_(torch.eye(2))
    >>> round(loss(torch.tensor([[3.0, 0.0]]), torch.tensor([0])).item(), 4)  # 0 − 2
    -2.0
    """

    group = "proxy"
    scale: float = Hyperparameter(8.0, low=1.0, high=32.0, log=True, positive=True, symbol="s")

    def setup(self, generator: torch.Generator | None) -> None:
        if self.num_classes < 2:
            raise InvalidValueError("`num_classes >= 2` must hold", value=f"num_classes={self.num_classes}")
        super().setup(generator)

    def each(self, embeddings: Tensor, labels: Tensor) -> Tensor:
        near, mine = self.scaled_cosines(embeddings, labels, 2 * self.scale)  # (B, C), (B, 1): 2s − s·d²
        others = near.scatter(1, labels[:, None], -FAR).logsumexp(1)  # (B,): over j ≠ y
        return others - mine.squeeze(1)


@register_loss(
    "proxy_nca_pp",
    family="metric",
    reference="Teh et al. 2020, arXiv:2004.01113",
    bibtex=cite(
        "teh2020proxynca",
        "Teh, Eu Wern and DeVries, Terrance and Taylor, Graham W.",
        "ProxyNCA++: Revisiting and Revitalizing Proxy Neighborhood Component Analysis",
        venue="European Conference on Computer Vision (ECCV)",
        year=2020,
        arxiv="2004.01113",
    ),
)
class ProxyNCAPlusPlus(Head):
    """ProxyNCA++: the batch mean of ``−log(e^{−d²(x,p_y)/τ} / Σ_j e^{−d²(x,p_j)/τ})``, the own proxy in the sum.

    d² is the squared Euclidean distance of normalised embeddings ``(B, D)`` to normalised proxies ``(C, D)``. With the
    own proxy in the denominator it is a probability, unlike :class:`ProxyNCA`'s, and since ``d² = 2 − 2·cos θ`` it is
    NormFace at s = 2/τ. The paper's other parts belong to the training: proxies learn faster (``head_lr_ratio``),
    batches are balanced, features are pooled by their maximum. τ = 1/9 is the paper's. Value and gradient were compared
    with ProxyNCA_prob in loss.py of the authors' repository (euwern/proxynca_pp); the range is a choice of this
    package's.

    >>> loss = ProxyNCAPlusPlus(num_classes=2, embedding_dim=2, temperature=1.0)
    >>> _ = loss.class_weights.data.copy_(torch.eye(2))
    >>> round(loss(torch.tensor([[3.0, 0.0]]), torch.tensor([0])).item(), 4)  # log(1 + e^{0 − 2})
    0.1269
    """

    group = "proxy"
    temperature: float = Hyperparameter(1 / 9, low=0.02, high=1.0, log=True, positive=True, symbol="τ")

    def each(self, embeddings: Tensor, labels: Tensor) -> Tensor:
        near, _ = self.scaled_cosines(embeddings, labels, 2 / scalar(self.temperature))  # (B, C)
        return F.cross_entropy(near, labels, reduction="none")


@register_loss(
    "proxy_anchor",
    family="metric",
    reference="Kim et al. 2020, arXiv:2003.13911, eq. 4",
    bibtex=cite(
        "kim2020proxy",
        "Kim, Sungyeon and Kim, Dongwon and Cho, Minsu and Kwak, Suha",
        "Proxy Anchor Loss for Deep Metric Learning",
        venue="Proceedings of the IEEE/CVF Conference on Computer Vision and Pattern Recognition (CVPR)",
        year=2020,
        arxiv="2003.13911",
    ),
)
class ProxyAnchor(Head):
    """Proxy-Anchor: ``1/|P⁺| Σ_{p∈P⁺} log(1 + Σ_{x∈X_p⁺} e^{−α(s−δ)}) + 1/|P| Σ_p log(1 + Σ_{x∈X_p⁻} e^{α(s+δ)})``.

    s is the cosine of embeddings ``(B, D)`` to proxies ``(C, D)``; each proxy is an anchor for the whole batch. P⁺ are
    the proxies of classes in the batch, P all of them. Not Proxy-NCA, where each sample is the anchor.

    >>> loss = ProxyAnchor(num_classes=2, embedding_dim=2, alpha=1.0, margin=0.0)
    >>> _ = loss.class_weights.data.copy_(torch.eye(2))
    >>> round(loss(torch.tensor([[3.0, 0.0]]), torch.tensor([0])).item(), 4)  # log(1 + e^{−1}) + ½·log(1 + e^0)
    0.6598
    """

    group = "proxy"
    alpha: float = Hyperparameter(32.0, low=8.0, high=64.0, log=True, positive=True, symbol="α", description="a scale")
    margin: float = Hyperparameter(0.1, low=0.0, high=0.4, minimum=0.0, symbol="m", unit="cosine", description="δ")

    def compute(self, embeddings: Tensor, labels: Tensor, noise: Tensor | None) -> Tensor:
        scaled, mine = self.scaled_cosines(embeddings, labels, self.alpha)  # (B, C), (B, 1)
        shift = self.alpha * self.margin  # ()
        push = scaled.scatter(1, labels[:, None], -FAR).logsumexp(0) + shift  # (C,)
        pulls, present = log_sum_by_class((shift - mine).squeeze(1), labels, self.num_classes)  # (C,), (C,)
        return pulls.sum() / present.sum() + F.softplus(push, threshold=50.0).mean()
