"""Ring loss: embeddings on a sphere whose radius is learned."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mlcompare.losses.base import Loss
from mlcompare.losses.citation import cite
from mlcompare.losses.running import write
from mlcompare.losses.softmax import Softmax
from mlcompare.losses.sums import register_sum
from mlcompare.registry import Hyperparameter, register_loss

__all__ = ["RingTerm"]

REFERENCE = "Zheng et al. 2018, arXiv:1803.00130, eq. 1"
BIBTEX = cite(
    "zheng2018ring",
    "Zheng, Yutong and Pal, Dipan K. and Savvides, Marios",
    "Ring Loss: Convex Feature Normalization for Face Recognition",
    venue="Proceedings of the IEEE Conference on Computer Vision and Pattern Recognition (CVPR)",
    year=2018,
    arxiv="1803.00130",
)
RADIUS_FLOOR = 1e-3


@register_loss("ring_term", family="margin", group="term", reference=REFERENCE, term=True, bibtex=BIBTEX)
class RingTerm(Loss):
    """Ring loss, the term alone: ``λ/(2B) · Σ(‖x‖ − R)²`` on raw embeddings ``(B, D)``.

    The radius R is learned. It is held as ``start + offset``: ``start`` is written once, by the first train-mode batch,
    as the mean norm of its embeddings; ``offset`` is the weight that trains, and R never falls below .001. Norms are
    pulled together without normalising, so the embedding keeps its norm in the softmax that stands beside the term.

    >>> loss = RingTerm(weight=1.0)
    >>> x = torch.tensor([[3.0, 0.0], [0.0, 5.0]])
    >>> round(loss(x, torch.tensor([0, 1])).item(), 4)  # R = 4: (1 + 1) / (2·2)
    0.5
    """

    group = "term"
    weight: float = Hyperparameter(0.01, low=1e-4, high=1.0, log=True, minimum=0.0, symbol="λ")

    start: Tensor
    initialised: Tensor

    def setup(self, generator: torch.Generator | None) -> None:
        self.register_buffer("start", torch.ones(()))
        self.register_buffer("initialised", torch.zeros((), dtype=torch.bool))
        self.offset = nn.Parameter(torch.zeros(()))

    def radius(self) -> Tensor:
        """Return R, 0-dim."""
        return (self.start + self.offset).clamp_min(RADIUS_FLOOR)

    def compute(self, embeddings: Tensor, labels: Tensor, noise: Tensor | None) -> Tensor:
        norms = torch.linalg.vector_norm(embeddings, dim=1)  # (B,)
        if self.training:
            self._initialise(norms.detach().mean())
        return 0.5 * self.weight * (norms - self.radius().to(norms.dtype)).square().mean()

    @torch.no_grad()
    def _initialise(self, mean_norm: Tensor) -> None:
        start = torch.where(self.initialised, self.start, mean_norm.to(self.start.dtype))
        write(self, "start", start)
        self.initialised.fill_(True)


register_sum(
    "ring",
    (Softmax, RingTerm),
    family="margin",
    reference=REFERENCE,
    bibtex=BIBTEX,
    doc="""Ring loss: softmax plus ``λ/(2B) · Σ(‖x‖ − R)²``, with a learned radius R.

    See ``ring_term`` for where R starts.
    """,
)
