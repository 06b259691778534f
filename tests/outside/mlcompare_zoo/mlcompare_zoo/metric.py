"""A metric: a number for each sample, so that each class has one too."""

from __future__ import annotations

import torch
from torch import Tensor

from mlcompare import register_metric


@register_metric("zoo_metric", low=0.0, high=1.0, unit="share")
def zoo_metric(embeddings: Tensor, labels: Tensor) -> Tensor:
    """Share of a sample's class among its three nearest neighbours."""
    unit = torch.nn.functional.normalize(embeddings.float(), dim=1)
    cosines = (unit @ unit.T).fill_diagonal_(-2)
    return (labels[cosines.topk(3, dim=1).indices] == labels[:, None]).float().mean(1)
