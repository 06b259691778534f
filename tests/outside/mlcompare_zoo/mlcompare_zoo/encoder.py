"""An encoder: an ``nn.Module`` with dropout, which a population can't run."""

from __future__ import annotations

from torch import Tensor, nn

from mlcompare import register_encoder


@register_encoder("zoo_encoder", takes="images", embedding_dim=16, batched=False)
class ZooEncoder(nn.Module):
    """One convolution, dropout, and a linear layer."""

    def __init__(self, input_shape: tuple[int, ...], embedding_dim: int, width: int = 8) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(input_shape[0], width, 5, stride=2), nn.ReLU(), nn.Dropout(0.1), nn.AdaptiveAvgPool2d(4),
            nn.Flatten(), nn.Linear(16 * width, embedding_dim),
        )  # fmt: skip

    def forward(self, images: Tensor) -> Tensor:
        return self.layers(images)
