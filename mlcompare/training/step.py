"""One step of a population, forward and backward: as it is written, or traced into a flat list of operations.

Under ``torch.func.vmap`` each operation of each step passes through some Python, which costs small encoders more than
their arithmetic. A traced step is the same operations in the same order, and so the same numbers, without that. On a
CUDA device they are captured as one CUDA graph: hyperparameters are tensors, so one capture serves every member.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial

import torch
from torch import Tensor

__all__ = ["TRACED_FROM", "State", "Step", "captured", "create_step", "eager", "traced"]

State = tuple[Mapping[str, Tensor], Mapping[str, Tensor]]  # parameters and buffers, each name → (M, …)
Batch = tuple[Tensor | None, ...]
Step = Callable[..., tuple[Tensor, list[Tensor | None]]]

TRACED_FROM = 80  # steps: tracing takes the time that it saves in some 50
WARM_UP = 3  # runs before a capture, in which CUDA's libraries take the memory that they keep


def create_step(forward: Callable[..., Tensor], encoder: State, loss: State, batch: Batch, *, steps: int) -> Step:
    """Return the way of running a step that is the fastest over ``steps`` steps; the numbers are the same.

    The step takes batches shaped like ``batch`` and returns ``losses (M,)`` and a gradient for each of the encoder's,
    then the loss's parameters, ``None`` where the losses don't depend on it. They hold until the next call.

    Args:
        forward: ``(encoder, loss, *batch) → losses (M,)``.
        encoder: the encoders' state; parameters are read, and buffers (running state) updated in place.
        loss: the losses' state, likewise.
    """
    if steps < TRACED_FROM:
        return eager(forward, encoder, loss)
    program = traced(forward, encoder, loss, batch)
    if program is None:
        return eager(forward, encoder, loss)
    if all(tensor is None or not tensor.is_cuda for tensor in batch):
        return program
    try:
        return captured(program, [*encoder[1].values(), *loss[1].values()], batch)
    except RuntimeError:  # something in it can't be captured, or there is no memory for a graph
        return program


def eager(forward: Callable[..., Tensor], encoder: State, loss: State) -> Step:
    """Return the step as it is written."""
    return partial(_losses_and_gradients, forward, encoder, loss)


def traced(forward: Callable[..., Tensor], encoder: State, loss: State, batch: Batch) -> Step | None:
    """Return the step as a list of operations on the states' tensors.

    ``None`` where a tensor that is neither state nor batch enters it: the trace would keep its value of now.
    """
    from torch.fx.experimental.proxy_tensor import make_fx

    states = [({n: p.detach() for n, p in own.items()}, dict(buffers)) for own, buffers in (encoder, loss)]
    copies = (  # tracing takes a step, which must not count
        ({n: p.detach().requires_grad_() for n, p in own.items()}, {n: b.clone() for n, b in buffers.items()})
        for own, buffers in states
    )
    with torch.autograd.set_multithreading_enabled(False):  # a trace sees what its own thread does
        program = make_fx(partial(_losses_and_gradients, forward))(*copies, *batch)
    if any(node.op == "get_attr" for node in program.graph.nodes):
        return None

    def run(*batch: Tensor | None) -> tuple[Tensor, list[Tensor | None]]:
        with torch.no_grad():  # the backward pass is among the operations
            return program(*states, *batch)

    return run


def captured(step: Step, running_state: Sequence[Tensor], batch: Batch) -> Step:
    """Return a traced step as the replay of one CUDA graph; ``running_state`` stays as it is until the first call.

    Raises:
        RuntimeError: it can't be captured.
    """
    fixed = [None if tensor is None else tensor.clone() for tensor in batch]
    kept = [tensor.clone() for tensor in running_state]
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    try:
        with torch.cuda.stream(stream):
            for _ in range(WARM_UP):
                step(*fixed)
    finally:
        torch.cuda.current_stream().wait_stream(stream)
        for tensor, value in zip(running_state, kept):
            tensor.copy_(value)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):  # captured, not run
        outputs = step(*fixed)

    def replay(*batch: Tensor | None) -> tuple[Tensor, list[Tensor | None]]:
        for place, tensor in zip(fixed, batch):
            if place is not None and tensor is not None:
                place.copy_(tensor)
        graph.replay()
        return outputs

    return replay


def _losses_and_gradients(
    forward: Callable[..., Tensor], encoder: State, loss: State, *batch: Tensor | None
) -> tuple[Tensor, list[Tensor | None]]:
    losses = forward(encoder, loss, *batch)
    parameters = [*encoder[0].values(), *loss[0].values()]
    # members share nothing, so each weight's gradient is of its own member's loss
    return losses.detach(), list(torch.autograd.grad(losses.sum(), parameters, allow_unused=True))
