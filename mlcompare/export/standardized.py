"""An exported model as a module: samples as they are in, embeddings out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from mlcompare.encoders import create_encoder
from mlcompare.training.frozen import body_of

__all__ = ["Standardized", "described_encoder", "embed_samples", "on_frozen"]


class Standardized(nn.Module):
    """An encoder that takes samples as they are (pixels from 0 to 255, or features): ``(B, …) → (B, D)``."""

    mean: Tensor
    inverse: Tensor

    def __init__(self, encoder: nn.Module, mean: Tensor, inverse: Tensor) -> None:
        super().__init__()
        self.encoder = encoder
        self.register_buffer("mean", mean)
        self.register_buffer("inverse", inverse)

    def forward(self, samples: Tensor) -> Tensor:
        return self.encoder((samples.float() - self.mean) * self.inverse)


def on_frozen(body: nn.Module, head: Standardized) -> nn.Sequential:
    """Return one encoder of a frozen one's ``body`` and the ``head`` on its features ``(B, F)``."""
    return nn.Sequential(body, nn.Flatten(1), head)


def described_encoder(section: Mapping[str, Any], shape: tuple[int, ...]) -> nn.Module:
    """Return the encoder that a card describes, for samples of ``shape``; its weights are still to be loaded."""
    entries: list[Any] = [section.get(key) for key in ("name", "embedding_dim", "options", "head")]
    name, dim, options, head = entries
    if head is None:
        return create_encoder(name, input_shape=shape, embedding_dim=dim, **options)
    body = body_of(create_encoder(name, input_shape=shape, embedding_dim=1, **options)).eval()
    with torch.no_grad():
        blank = torch.zeros_like(body(torch.zeros(1, *shape)).flatten(1))  # (1, F)
    net = create_encoder(head["name"], input_shape=tuple(blank.shape[1:]), embedding_dim=dim, **head["options"])
    return on_frozen(body, Standardized(net, blank, blank.clone()))


def embed_samples(
    model: nn.Module, samples: np.ndarray, rows: np.ndarray | None = None, *, chunk: int = 512
) -> np.ndarray:
    """Return embeddings ``(N, D)`` float32 of samples as they are stored, or of some ``rows`` of them.

    Only a chunk of them is read and held at a time.
    """
    rows = np.arange(len(samples)) if rows is None else rows
    with torch.no_grad():
        chunks = (samples[rows[start : start + chunk]] for start in range(0, len(rows), chunk))
        parts = [model(torch.as_tensor(part)).numpy() for part in chunks]
    return np.concatenate(parts).astype(np.float32)
