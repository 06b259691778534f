"""Weights that were trained elsewhere, and the input statistics that belong to them."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from torch import Tensor, nn

from mlcompare.data.hints import nothing_there
from mlcompare.errors import DataError

__all__ = ["Statistics", "load_weights", "read_weights"]

Statistics = tuple[list[float], list[float]]  # mean and deviation of each channel or column, as samples are stored


def read_weights(path: str | Path) -> tuple[dict[str, Tensor], Statistics | None]:
    """Read a state dict (``.pt``), or a folder that ``mlcompare export`` wrote with its input statistics.

    Raises:
        DataError: there is nothing, or it can't be read as tensors. No code is run.
    """
    path = Path(path).expanduser()
    file = path / "weights.pt" if path.is_dir() else path
    try:
        statistics = None
        if path.is_dir():
            given = json.loads((path / "card.json").read_text(encoding="utf-8"))["input"]
            statistics = (given["mean"], given["std"])
        state = torch.load(file, weights_only=True, map_location="cpu")
        if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
            raise TypeError("a state dict maps names to tensors")
    except FileNotFoundError:
        cure = "give a state dict (.pt), or a folder that `mlcompare export` wrote"
        raise DataError("the weights must exist", place=str(file), **nothing_there(path, cure)) from None
    except Exception as error:  # torch, pickle, zipfile and a broken card each have errors of their own
        value = f"{type(error).__name__}: {error}".splitlines()[0]
        cure = "save it with torch.save(module.state_dict(), file)"
        raise DataError("the weights must be a readable state dict", value=value, cure=cure, place=str(path)) from None
    return state, statistics


def load_weights(encoder: nn.Module, path: str | Path) -> None:
    """Load weights into an encoder; the last linear layer keeps its first weights where the file has none that fit.

    Where the file tells the statistics of their input, they become the encoder's: ``encoder.statistics``.

    Raises:
        DataError: a weight of the encoder is missing or of another shape; the first three are named.
    """
    state, statistics = read_weights(path)
    own = encoder.state_dict()
    fits = {key: state[key] for key in own if key in state and state[key].shape == own[key].shape}
    head = _last_linear(encoder)
    missing = [key for key in own if key not in fits and not (head and key.startswith(f"{head}."))]
    if missing:
        shown = ", ".join(f"{key} {_shape(own[key])} (file: {_shape(state.get(key))})" for key in missing[:3])
        value = f"{len(missing)} of {len(own)} don't: {shown}"
        cure = "name the encoder and options that they were trained with"
        raise DataError("the weights must fit the encoder", value=value, cure=cure, place=str(path))
    encoder.load_state_dict({**own, **fits})
    if statistics is not None:
        vars(encoder)["statistics"] = statistics


def _last_linear(encoder: nn.Module) -> str:
    """The name of the linear layer that a sequence ends with, or nothing."""
    layers = list(encoder.named_children()) if isinstance(encoder, nn.Sequential) else []
    return layers[-1][0] if layers and isinstance(layers[-1][1], nn.Linear) else ""


def _shape(tensor: Tensor | None) -> str:
    return "none" if tensor is None else str(tuple(tensor.shape))
