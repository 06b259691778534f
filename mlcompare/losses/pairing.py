"""Who meets whom: anchors against references, which are the batch itself, or the batch and more."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from mlcompare.geometry import cosine_similarities, cross_distances, euclidean_distances, normalize
from mlcompare.losses.base import Loss

__all__ = ["AnchorLoss", "Pairing", "takes_references"]


class Pairing(NamedTuple):
    """Anchors, the references that each is compared with, and which of these are of its class.

    Attributes:
        anchors, labels: the batch, ``(B, D)`` and ``(B,)``.
        references: ``(M, D)``; the first B of them are the anchors.
        positives, negatives: ``(B, M)`` booleans; no sample meets itself, and references that don't count are neither.
    """

    anchors: Tensor
    labels: Tensor
    references: Tensor
    positives: Tensor
    negatives: Tensor

    @classmethod
    def within(cls, embeddings: Tensor, labels: Tensor) -> Pairing:
        """Return the pairs inside a batch."""
        return cls._of(embeddings, labels, embeddings, labels)

    @classmethod
    def beyond(cls, embeddings: Tensor, labels: Tensor, others: Tensor, their: Tensor, usable: Tensor) -> Pairing:
        """Return the pairs of a batch with itself and with ``others (N, D)`` of the labels ``their (N,)``.

        >>> pairing = Pairing.beyond(torch.eye(2), torch.tensor([0, 1]), torch.eye(2), torch.tensor([0, 0]),
        ...                          torch.tensor([True, False]))
        >>> pairing.positives.int(), pairing.negatives.int()
        (tensor([[0, 0, 1, 0],
                [0, 0, 0, 0]], dtype=torch.int32), tensor([[0, 1, 0, 0],
                [1, 0, 1, 0]], dtype=torch.int32))
        """
        all_labels = torch.cat([labels, their])  # (M,)
        found = cls._of(embeddings, labels, torch.cat([embeddings, others]), all_labels)
        counts = torch.cat([torch.ones_like(labels, dtype=torch.bool), usable])  # (M,)
        return found._replace(positives=found.positives & counts, negatives=found.negatives & counts)

    @classmethod
    def _of(cls, anchors: Tensor, labels: Tensor, references: Tensor, their: Tensor) -> Pairing:
        same = labels[:, None] == their[None, :]  # (B, M)
        itself = torch.eye(len(labels), len(their), dtype=torch.bool, device=labels.device)
        return cls(anchors, labels, references, same & ~itself, ~same)

    @property
    def cosines(self) -> Tensor:
        """cos θ of anchors and references, ``(B, M)``."""
        return cosine_similarities(self.anchors, self.references)

    def distances(self, normalized: bool) -> Tensor:
        """Return Euclidean distances of anchors and references, ``(B, M)``; ``normalized`` rows have length 1."""
        anchors = normalize(self.anchors) if normalized else self.anchors
        if self.references is self.anchors:
            return euclidean_distances(anchors)
        return cross_distances(anchors, normalize(self.references) if normalized else self.references)


class AnchorLoss(Loss):
    """A loss of anchors against references, a row for each anchor: a subclass computes it in :meth:`against`.

    The references of a batch are the batch itself; a memory adds some that take part without being anchors.
    """

    def compute(self, embeddings: Tensor, labels: Tensor, noise: Tensor | None) -> Tensor:
        return self.against(Pairing.within(embeddings, labels), noise)

    def against(self, pairing: Pairing, noise: Tensor | None) -> Tensor:
        """Return the scalar loss of the pairs; ``noise (B, M)`` for one that draws."""
        raise NotImplementedError


def takes_references(loss: Loss) -> bool:
    """Whether a loss is of anchors against any references, and not of its batch alone.

    >>> from mlcompare.registry import create_loss
    >>> takes_references(create_loss("triplet")), takes_references(create_loss("lifted_structure"))
    (True, False)
    """
    if not isinstance(loss, AnchorLoss):
        return False
    kind: type[AnchorLoss] = type(loss)
    return kind.compute is AnchorLoss.compute and kind.against is not AnchorLoss.against
