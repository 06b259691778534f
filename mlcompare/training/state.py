"""What a module and the random streams are at a moment, as plain data, and how they become that again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

__all__ = ["module_state", "random_state", "restore_module", "restore_random", "running_state"]

PLAIN = (int, float, bool, str)


def module_state(module: nn.Module) -> dict[str, Any]:
    """Return every parameter and buffer, and the numbers and tensors that parts keep as plain attributes.

    Unlike a ``state_dict`` it has the buffers that are not persistent, and the running values of losses from other
    libraries, which keep them as attributes.

    >>> sorted(module_state(nn.BatchNorm1d(1))["tensors"])
    ['bias', 'num_batches_tracked', 'running_mean', 'running_var', 'weight']
    """
    return {"tensors": {name: tensor.detach() for name, tensor in _tensors(module).items()}, **_attributes(module)}


def running_state(module: nn.Module) -> dict[str, Any]:
    """Return a copy of what changes without learning: buffers, and plain attributes as in :func:`module_state`."""
    return {"tensors": {name: buffer.clone() for name, buffer in module.named_buffers()}, **_attributes(module)}


@torch.no_grad()
def restore_module(module: nn.Module, state: Mapping[str, Any]) -> None:
    """Give a module built alike the state of :func:`module_state`; tensors are written in place.

    With a :func:`running_state` parameters stay as they are.

    Raises:
        ValueError: they are other ones, or one has another shape.
    """
    own, saved, parts = _tensors(module), state["tensors"], dict(module.named_modules())
    needed = own if saved.keys() - dict(module.named_buffers()).keys() else dict(module.named_buffers())
    if {name: tensor.shape for name, tensor in needed.items()} != {name: t.shape for name, t in saved.items()}:
        raise ValueError("it is of other tensors")
    for name, tensor in needed.items():
        tensor.copy_(saved[name])
    for name, attributes in state["attributes"].items():
        own_attributes = parts[name].__dict__
        for key, value in attributes.items():
            before = own_attributes.get(key)
            own_attributes[key] = value.to(before.device) if isinstance(before, Tensor) else value


def random_state(device: str) -> list[Tensor]:
    """Return the state of torch's own random streams: the CPU's, and that of a CUDA device."""
    return [torch.get_rng_state(), *([torch.cuda.get_rng_state(device)] if device.startswith("cuda") else [])]


def restore_random(states: list[Tensor], device: str) -> None:
    """Set torch's own random streams to :func:`random_state`."""
    torch.set_rng_state(states[0])
    for state in states[1:]:
        torch.cuda.set_rng_state(state, device)


def _attributes(module: nn.Module) -> dict[str, Any]:
    found = {}
    for name, part in module.named_modules():
        own = {k: v for k, v in vars(part).items() if isinstance(v, Tensor) or type(v) in PLAIN}
        found[name] = {k: v.detach().clone() if isinstance(v, Tensor) else v for k, v in own.items()}
    return {"attributes": found}


def _tensors(module: nn.Module) -> dict[str, Tensor]:
    return {**dict(module.named_parameters()), **dict(module.named_buffers())}
