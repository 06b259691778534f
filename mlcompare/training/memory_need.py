"""The memory that a training takes at least, known before it begins."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from mlcompare.training.config import TrainingConfig
from mlcompare.training.optimizers import OPTIMIZERS
from mlcompare.training.prepare import encoder_precision

__all__ = ["MemoryNeed", "memory_need"]

PROCESS = 250 << 20  # bytes of a process that has loaded torch, before it trains anything
TRIED = 2  # samples that an encoder is tried with: batch norm needs two


@dataclass(frozen=True)
class MemoryNeed:
    """Bytes of one training's process.

    ``weights`` counts what the optimiser keeps of them, too; ``sample`` is what the backward pass needs of each sample
    that is embedded at a time.

    >>> MemoryNeed(weights=3 << 30, gradients=1 << 30, sample=1 << 20).of(4096) >> 20
    7418
    """

    weights: int
    gradients: int
    sample: int

    def of(self, samples: int) -> int:
        """Return the bytes of a training that embeds so many samples at a time.

        Gradients take the place of what the backward pass has used.
        """
        return PROCESS + self.weights + max(self.gradients, self.sample * samples)

    def fitting(self, available: int) -> int:
        """Return how many samples at a time fit into the bytes that are there; 0 where none do."""
        room = available - PROCESS - self.weights
        return 0 if room < max(self.gradients, self.sample) else room // max(self.sample, 1)


def memory_need(
    encoder: nn.Module, sample_shape: tuple[int, ...], config: TrainingConfig, class_weights: int = 0
) -> MemoryNeed | None:
    """Return what a training of an encoder takes at least, by embedding two samples; None where it can't embed them.

    What a loss makes of the embeddings is not counted, nor the dataset.

    Args:
        encoder: one that is of no further use: batch norm's running statistics have seen zeros.
        class_weights: how many numbers a loss learns beside the encoder.
    """
    learning = sum(parameter.numel() for parameter in encoder.parameters() if parameter.requires_grad) + class_weights
    held = sum(part.numel() for part in (*encoder.parameters(), *encoder.buffers())) + class_weights
    copies = _states(config) * learning + (held if config.ema is not None else 0)
    saved = _saved(encoder.train(), torch.zeros(TRIED, *sample_shape), config)
    if saved is None:
        return None
    return MemoryNeed(weights=4 * (held + copies), gradients=4 * learning, sample=saved // TRIED)


def _saved(encoder: nn.Module, batch: Tensor, config: TrainingConfig) -> int | None:
    """Return the bytes that the backward pass of a batch needs, weights left out."""
    weights = {part.untyped_storage().data_ptr() for part in (*encoder.parameters(), *encoder.buffers())}
    kept: dict[int, Tensor] = {}

    def keep(tensor: Tensor) -> Tensor:
        if tensor.untyped_storage().data_ptr() not in weights:
            kept[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    try:
        with (
            torch.random.fork_rng(devices=[]),
            encoder_precision(config, "cpu"),
            torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor),
        ):
            encoder(batch)
    except Exception:  # whatever an encoder does that it can't here: its first training will say so
        return None
    return sum(tensor.untyped_storage().nbytes() for tensor in kept.values())


def _states(config: TrainingConfig) -> int:
    """How many numbers an optimiser keeps of each weight."""
    weight = nn.Parameter(torch.zeros(32, 32))
    weight.grad = torch.zeros_like(weight)
    group = {"params": [weight], "lr": config.learning_rate, "weight_decay": 0.0, "momentum": config.momentum}
    optimizer = OPTIMIZERS.usable(config.optimizer).factory([group], config)
    optimizer.step()
    state = optimizer.state[weight].values()
    return sum(value.numel() for value in state if isinstance(value, Tensor)) // weight.numel()
