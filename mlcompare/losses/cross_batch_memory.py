"""Cross-batch memory: pairs of a batch with the embeddings of the batches before it."""

from __future__ import annotations

import torch
from torch import Tensor

from mlcompare.losses.citation import cite
from mlcompare.losses.pairing import Pairing, takes_references
from mlcompare.losses.running import write
from mlcompare.losses.wrapper import Inside, Wrapper, refuse_to_wrap
from mlcompare.registry import Hyperparameter, Option, register_wrapper

__all__ = ["Memory"]


@register_wrapper(
    "memory",
    reference="Wang et al. 2020, arXiv:1912.06798",
    bibtex=cite(
        "wang2020cross",
        "Wang, Xun and Zhang, Haozhi and Huang, Weilin and Scott, Matthew R.",
        "Cross-Batch Memory for Embedding Learning",
        venue="Proceedings of the IEEE/CVF Conference on Computer Vision and Pattern Recognition (CVPR)",
        year=2020,
        arxiv="1912.06798",
    ),
)
class Memory(Wrapper):
    """Cross-batch memory (XBM): ``L(batch, batch ∪ memory)``, the memory being the last N embeddings before the batch.

    Each sample of the batch is an anchor, compared with the others of the batch and with the N newest embeddings
    ``(N, D)`` of earlier train-mode batches, kept with their labels as they were made then. So a small batch meets
    many negatives, at the cost of B·N similarities and no activations. Gradients flow through the batch alone: a
    remembered embedding is a constant, and never an anchor. It may be of a sample that the batch holds too, which is
    then a positive of itself. ``size`` is N (a list of sizes is searched: ``size: [256, 1024]``); the memory fills as
    training goes, and takes part from the share ``start`` of the training on, when embeddings no longer drift fast.

    It goes around pair and triplet losses that are a mean over anchors, each against a list of references; a loss that
    compares a batch in another way is refused. The loss is one over all references, as in pytorch-metric-learning's
    CrossBatchMemory, with whose values it was compared (there the batch counts among the N, and is constant as a
    reference too). It is not the sum in the authors' code (engine/trainer.py of MalongTech/research-xbm): the loss
    inside the batch plus that against a memory which has the batch in it. N = 1024 is that library's default; the
    authors' example has 55 000, nearly a whole dataset, and starts after 1000 of 35 000 steps, as this does.

    >>> from mlcompare.registry import create_loss
    >>> loss = Memory(lambda dim: create_loss("contrastive", margin=2.0), embedding_dim=2, size=4)
    >>> x, y = torch.eye(2), torch.tensor([0, 0])
    >>> round(loss(x, y).item(), 4)  # ½·d² of the positive pair, d = √2; nothing is remembered yet
    1.0
    >>> round(loss(-x, 1 - y).item(), 4)  # + the mean of ½(2 − d)² over d = 2 and √2, twice each
    1.0858
    """

    size: int = Option(1024, symbol="N", description="embeddings that are remembered, the newest")
    start: float = Hyperparameter(
        0.03, minimum=0.0, maximum=1.0, unit="share of the training", description="when the memory sets in"
    )
    fixed = ("size",)
    remembers_labels = True

    kept: Tensor
    kept_labels: Tensor
    filled: Tensor

    def wrap(self, inside: Inside) -> None:
        loss = inside(self.embedding_dim)
        if not takes_references(loss):
            rule = "a memory goes around a loss of anchors against references"
            some = "triplet, contrastive, multi_similarity, nt_xent"
            refuse_to_wrap("memory", loss, rule, choose=some, example="triplet")
        self.losses.append(loss)
        self.register_buffer("kept", torch.zeros(self.size, self.embedding_dim))  # (N, D), the newest first
        self.register_buffer("kept_labels", torch.zeros(self.size, dtype=torch.int64))  # (N,)
        self.register_buffer("filled", torch.zeros(()))  # of the N

    def references(self, batch_size: int) -> int:
        return batch_size + self.size

    def compute(self, embeddings: Tensor, labels: Tensor, noise: Tensor | None) -> Tensor:
        places = torch.arange(self.size, device=labels.device)  # (N,)
        usable = (places < self.filled) & (self.progress >= self.start)
        kept = self.kept.to(embeddings.dtype, copy=True)  # it moves below, and the gradient needs it as it was
        pairing = Pairing.beyond(embeddings, labels, kept, self.kept_labels, usable)
        value: Tensor = self.losses[0].against(pairing, noise)
        if self.training:
            self._remember(embeddings.detach(), labels)
        return value

    @torch.no_grad()
    def _remember(self, embeddings: Tensor, labels: Tensor) -> None:
        write(self, "kept", torch.cat([embeddings.to(self.kept.dtype), self.kept])[: self.size])
        write(self, "kept_labels", torch.cat([labels, self.kept_labels])[: self.size])
        write(self, "filled", (self.filled + len(labels)).clamp_max(self.size))
