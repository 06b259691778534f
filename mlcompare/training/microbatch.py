"""Batches larger than memory: the loss of the whole batch, with the activations of one piece of it at a time.

Gradient caching (Gao et al. 2021, arXiv:2101.06983): embed the pieces without a graph, take the loss's gradient with
respect to the embeddings, then embed each piece again, with a graph, and send its part of that gradient back.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from mlcompare.training.state import random_state, restore_module, restore_random, running_state

__all__ = ["backward_in_pieces"]


def backward_in_pieces(
    encoder: nn.Module, embed: Callable[[Tensor], Tensor], loss: Callable[[Tensor], Tensor], inputs: Tensor, size: int
) -> Tensor:
    """Add the gradients of ``loss(embed(inputs))`` to encoder and loss, and return the loss, 0-dim.

    Loss and gradients are those of the whole batch, to rounding, wherever an embedding depends on its own sample alone.
    Batch norm in training mode is the exception: it normalises each piece by that piece's statistics. Both passes see
    the same random numbers (dropout) and the same running state, which ends as after one pass over the pieces.

    Args:
        encoder: what ``embed`` runs; its running state is taken back between the passes.
        embed: samples ``(b, …)`` → embeddings ``(b, D)``.
        loss: embeddings ``(B, D)`` → 0-dim.
        inputs: ``(B, …)``.
        size: the most samples in a piece; pieces are as even as can be, so that none is left with a single sample.

    >>> layer, inputs = nn.Linear(2, 2), torch.eye(2)
    >>> value = backward_in_pieces(layer, layer, lambda x: (x @ x.T).sum(), inputs, 1)
    >>> in_pieces = layer.weight.grad.clone()
    >>> layer.weight.grad = None
    >>> (layer(inputs) @ layer(inputs).T).sum().backward()
    >>> torch.testing.assert_close(in_pieces, layer.weight.grad)
    """
    device, pieces = str(inputs.device), inputs.tensor_split(-(-len(inputs) // size))
    before, stream = running_state(encoder), random_state(device)
    with torch.no_grad():
        embeddings = torch.cat([embed(piece) for piece in pieces])  # (B, D)
    embeddings.requires_grad_()
    value = loss(embeddings)
    value.backward()
    after = random_state(device)
    restore_module(encoder, before)
    restore_random(stream, device)
    assert embeddings.grad is not None  # every loss depends on its embeddings
    for piece, gradient in zip(pieces, embeddings.grad.tensor_split(len(pieces))):
        embed(piece).backward(gradient)
    restore_random(after, device)
    return value.detach()
