"""UniTSFace: one learned threshold between the samples of a class and all others, beside CosFace."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mlcompare.geometry import cosine_similarities, masked_logsumexp, masked_mean, normalize
from mlcompare.losses.citation import cite
from mlcompare.losses.cosface import CosFace
from mlcompare.losses.memory import newest
from mlcompare.losses.running import write
from mlcompare.registry import Hyperparameter, register_loss

__all__ = ["UniTSFace"]

EXACT = 50.0  # softplus turns linear only where it can't be told apart


@register_loss(
    "unitsface",
    family="margin",
    reference="Li et al. 2023, UniTSFace: Unified Threshold Integrated Sample-to-Sample Loss, NeurIPS",
    bibtex=cite(
        "li2023unitsface",
        "Li, Qiufu and Jia, Xi and Zhou, Jiancan and Shen, Linlin and Duan, Jinming",
        "UniTSFace: Unified Threshold Integrated Sample-to-Sample Loss for Face Recognition",
        venue="Advances in Neural Information Processing Systems (NeurIPS)",
        year=2023,
    ),
)
class UniTSFace(CosFace):
    """UniTSFace: CosFace plus ``log(1 + e^{b − s(c_y − m′)}) + Σ_{j≠y} log(1 + e^{s·c_j − b})``, sample against sample.

    c_j is the cosine to the newest embedding of class j in a train-mode batch, kept without gradient: samples are
    compared with samples of every class, not only those of the batch, and b/s is one threshold of the cosine for all of
    them, as a verification needs it. b is learned; it starts, where the second part sets in (the share ``start`` of
    the training, the official code's first of 28 epochs), as the mean of ``log Σ_{j≠y} e^{s·c_j}``. Classes that no
    batch has had yet take no part. m′ is ``sample_margin``. It is :class:`~mlcompare.losses.uniface.UniFace` with
    samples for class weights. Embeddings ``(B, D)``, class weights and memory ``(C, D)`` are normalised.

    Value and gradient of both parts were compared with head.py of the authors' repository (CVI-SZU/UniTSFace), whose
    defaults these are, wherever no exponent lies beyond ±s, where that code clips it and loses the gradient. Ranges are
    a choice of this package's.

    >>> import torch
    >>> loss = UniTSFace(num_classes=2, embedding_dim=2, margin=0.0, sample_margin=0.0, scale=1.0)
    >>> _ = loss.class_weights.data.copy_(torch.eye(2))
    >>> x, y = torch.eye(2), torch.tensor([0, 1])
    >>> round(loss(x, y).item(), 4)  # nothing to compare with yet: log(1 + e^{−1})
    0.3133
    >>> round(loss(x, y).item(), 4)  # b = log e^0: + log(1 + e^{−1}) + log 2
    1.3197
    """

    class_rows = ("class_weights", "memory", "seen")
    margin: float = Hyperparameter(0.4, low=0.0, high=0.65, minimum=0.0, symbol="m", unit="cosine")
    sample_margin: float = Hyperparameter(0.1, low=0.0, high=0.4, minimum=0.0, symbol="m", unit="cosine")
    scale: float = Hyperparameter(64.0, low=8.0, high=128.0, log=True, positive=True, symbol="s")
    start: float = Hyperparameter(0.036, minimum=0.0, maximum=1.0, unit="share of the training")

    memory: Tensor
    seen: Tensor
    first: Tensor
    initialised: Tensor

    def setup(self, generator: torch.Generator | None) -> None:
        super().setup(generator)
        self.register_buffer("memory", torch.zeros(self.num_classes, self.embedding_dim))  # (C, D)
        self.register_buffer("seen", torch.zeros(self.num_classes, dtype=torch.bool))  # (C,)
        self.register_buffer("first", torch.zeros(()))
        self.register_buffer("initialised", torch.zeros((), dtype=torch.bool))
        self.offset = nn.Parameter(torch.zeros(()))

    def threshold(self) -> Tensor:
        """Return b, 0-dim: where it started plus what was learned."""
        return self.first + self.offset

    def compute(self, embeddings: Tensor, labels: Tensor, noise: Tensor | None) -> Tensor:
        value = super().compute(embeddings, labels, noise) + self._between_samples(embeddings, labels)
        if self.training:
            self._remember(embeddings.detach(), labels)
        return value

    def _between_samples(self, embeddings: Tensor, labels: Tensor) -> Tensor:
        """Return the second part, 0-dim; 0 before it sets in."""
        kept = self.memory.to(embeddings.dtype, copy=True)  # (C, D)
        scaled = self.scale * cosine_similarities(embeddings, kept)  # (B, C)
        own = torch.arange(self.num_classes, device=labels.device) == labels[:, None]  # (B, C)
        seen = self.seen & (self.progress >= self.start)  # (C,)
        others = ~own & seen  # (B, C)
        if self.training:
            self._initialise(scaled.detach(), others)
        b = self.threshold().to(scaled.dtype)
        pull = F.softplus(b - (scaled - self.scale * self.sample_margin), threshold=EXACT)
        push = F.softplus(scaled - b, threshold=EXACT)
        return (torch.where(own & seen, pull, 0.0) + torch.where(others, push, 0.0)).sum(1).mean()

    @torch.no_grad()
    def _initialise(self, scaled: Tensor, others: Tensor) -> None:
        """Write where b starts, at the first batch that has something to compare with."""
        ready = others.any()
        start = masked_mean(masked_logsumexp(scaled, others), others.any(1)).to(self.first.dtype)  # ()
        write(self, "first", torch.where(self.initialised | ~ready, self.first, start))
        write(self, "initialised", self.initialised | ready)

    @torch.no_grad()
    def _remember(self, embeddings: Tensor, labels: Tensor) -> None:
        place, present = newest(labels, self.num_classes)  # (C,), (C,)
        rows = normalize(embeddings).index_select(0, place).to(self.memory.dtype)  # (C, D)
        write(self, "memory", torch.where(present[:, None], rows, self.memory))
        write(self, "seen", self.seen | present)
