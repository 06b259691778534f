"""ElasticFace: each sample's margin is drawn anew."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from mlcompare.losses.angular import add_angle
from mlcompare.losses.citation import cite
from mlcompare.losses.head import MarginHead
from mlcompare.losses.noise import one_for_each_sample
from mlcompare.registry import Hyperparameter, Option, Published, register_loss

__all__ = ["ElasticArcFace", "ElasticCosFace", "ElasticHead"]

REFERENCE = "Boutros et al. 2022, arXiv:2109.09416"
BIBTEX = cite(
    "boutros2022elasticface",
    "Boutros, Fadi and Damer, Naser and Kirchbuchner, Florian and Kuijper, Arjan",
    "ElasticFace: Elastic Margin Loss for Deep Face Recognition",
    venue="Proceedings of the IEEE/CVF Conference on Computer Vision and Pattern Recognition (CVPR) Workshops",
    year=2022,
    arxiv="2109.09416",
)
TAIL = 1e-6  # of the uniform noise: margins are drawn within 4.75 standard deviations


def normal(uniform: Tensor) -> Tensor:
    """Return standard normal numbers made from ``uniform`` ones in [0, 1): the inverse of the distribution.

    >>> normal(torch.tensor([0.5, 0.975]))
    tensor([0.0000, 1.9600])
    """
    return 2**0.5 * torch.erfinv(2 * uniform.clamp(TAIL, 1 - TAIL) - 1)


class ElasticHead(MarginHead):
    """A head whose margins are drawn from N(m, σ²), one for each sample of each step."""

    margin: float
    deviation: float
    plus: bool

    def draw_noise(
        self, batch_size: int, *, generator: torch.Generator | None = None, device: torch.device | str | None = None
    ) -> Tensor:
        """Return noise ``(B, B)`` whose rows are alike: the loss reads the first."""
        return one_for_each_sample(batch_size, generator, device)

    def moved(self, cosine: Tensor, margin: Tensor) -> Tensor:
        """Return the targets' similarities ``(B, 1)`` for margins ``(B, 1)``."""
        raise NotImplementedError

    def compute(self, embeddings: Tensor, labels: Tensor, noise: Tensor | None) -> Tensor:
        assert noise is not None  # `forward` draws it: the loss is stochastic
        logits, mine = self.scaled_cosines(embeddings, labels, self.scale)  # (B, C), (B, 1)
        cosine = mine / self.scale  # (B, 1)
        margins = self.margin + self.deviation * normal(noise[0].to(cosine.dtype))  # (B,)
        if self.plus:
            place = cosine.detach().squeeze(1).argsort(descending=True).argsort()  # (B,): 0 is nearest to its class
            margins = margins.sort().values[place]
        changed = self.scale * self.moved(cosine, margins[:, None])
        return F.cross_entropy(logits.scatter(1, labels[:, None], changed), labels)


@register_loss(
    "elastic_arcface",
    family="margin",
    reference=REFERENCE,
    aliases=("elasticface",),
    stochastic=True,
    published=(Published("ElasticFace-Arc+ of the paper", deviation=0.0175),),
    bibtex=BIBTEX,
)
class ElasticArcFace(ElasticHead):
    """ElasticFace-Arc: ``CE`` over ``s·cos(θ_y + m_i)`` and ``s·cos θ_j``, each sample's m_i drawn from N(m, σ²).

    A fixed margin asks the same of every sample; one that is drawn lets classes of unlike spread find their own. With
    ``plus`` (ElasticFace-Arc+) the batch's margins are handed out by rank, the largest to the sample farthest from its
    class; σ is then .0175, the published setting. Margins in radians. Past θ = π − m the target rises again, as in the
    authors' code: there is no fallback as in :class:`~mlcompare.losses.arcface.ArcFace`, which this is at σ = 0 below
    that angle. Embeddings ``(B, D)`` and class weights ``(C, D)`` are normalised.

    Value and gradient were compared with utils/losses.py of the authors' repository (fdbtrs/ElasticFace) at the same
    margins. Its ``plus`` looks its sorted margins up by the order of the samples where the paper, and this, take their
    ranks; that option was compared with ranks in its place. Defaults are those of its config; ranges are a choice of
    this package's.

    >>> loss = ElasticArcFace(num_classes=2, embedding_dim=2, margin=0.5, scale=1.0)
    >>> _ = loss.class_weights.data.copy_(torch.eye(2))
    >>> noise = torch.full((1, 1), 0.5)  # the median: m itself
    >>> round(loss(torch.tensor([[3.0, 0.0]]), torch.tensor([0]), noise).item(), 4)  # log(1 + e^{−cos .5})
    0.3477
    """

    margin: float = Hyperparameter(0.5, low=0.0, high=0.8, minimum=0.0, maximum=3.1415, symbol="m", unit="rad")
    deviation: float = Hyperparameter(0.05, low=0.0, high=0.1, minimum=0.0, symbol="σ", unit="rad")
    scale: float = Hyperparameter(64.0, low=4.0, high=128.0, log=True, positive=True, symbol="s")
    plus: bool = Option(False, choices=(False, True), description="the largest margins for the farthest samples")

    def moved(self, cosine: Tensor, margin: Tensor) -> Tensor:
        return add_angle(cosine, margin)


@register_loss(
    "elastic_cosface",
    family="margin",
    reference=REFERENCE,
    stochastic=True,
    published=(Published("ElasticFace-Cos+ of the paper", deviation=0.02),),
    bibtex=BIBTEX,
)
class ElasticCosFace(ElasticHead):
    """ElasticFace-Cos: ``CE`` over ``s·(cos θ_y − m_i)`` and ``s·cos θ_j``, each sample's m_i drawn from N(m, σ²).

    :class:`ElasticArcFace` with the margins on the cosine; at σ = 0 it is CosFace. With ``plus`` (ElasticFace-Cos+, σ
    then .02, the published setting) the largest margins go to the samples farthest from their classes. Compared with
    the authors' code as that one was.

    >>> loss = ElasticCosFace(num_classes=2, embedding_dim=2, margin=0.25, scale=1.0)
    >>> _ = loss.class_weights.data.copy_(torch.eye(2))
    >>> noise = torch.full((1, 1), 0.5)  # the median: m itself
    >>> round(loss(torch.tensor([[3.0, 0.0]]), torch.tensor([0]), noise).item(), 4)  # log(1 + e^{−(1 − .25)})
    0.3869
    """

    margin: float = Hyperparameter(0.35, low=0.0, high=0.65, minimum=0.0, symbol="m", unit="cosine")
    deviation: float = Hyperparameter(0.05, low=0.0, high=0.1, minimum=0.0, symbol="σ", unit="cosine")
    scale: float = Hyperparameter(64.0, low=4.0, high=128.0, log=True, positive=True, symbol="s")
    plus: bool = Option(False, choices=(False, True), description="the largest margins for the farthest samples")

    def moved(self, cosine: Tensor, margin: Tensor) -> Tensor:
        return cosine - margin
