"""Weights that were trained elsewhere, and the input statistics that belong to them."""

from __future__ import annotations

import json
import pickle
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from mlcompare.data.hints import nothing_there
from mlcompare.errors import DataError

__all__ = ["Statistics", "load_weights", "read_weights", "used_weights"]

WRAPPERS = ("state_dict", "model_state_dict", "model", "ema")  # under which training scripts keep a state dict
COUNTER = "num_batches_tracked"  # of batch norms; files from before it was counted have none
Statistics = tuple[list[float], list[float]]  # mean and deviation of each channel or column, as samples are stored


def read_weights(path: str | Path) -> tuple[dict[str, Tensor], Statistics | None]:
    """Read a state dict (``.pt``), or a folder that ``mlcompare export`` wrote with its input statistics.

    The state dict may lie in a checkpoint, as ``{"state_dict": …}`` or ``{"model": …}``.

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
        state = _unwrapped(torch.load(file, weights_only=True, map_location="cpu"))
        if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
            raise TypeError("a state dict maps names to tensors")
    except FileNotFoundError:
        cure = "give a state dict (.pt), or a folder that `mlcompare export` wrote"
        raise DataError("the weights must exist", place=f"weights: {file}", **nothing_there(path, cure)) from None
    except Exception as error:  # torch, pickle, zipfile and a broken card each have errors of their own
        cure = "save it with torch.save(module.state_dict(), file)"
        rule = "the weights must be a readable state dict"
        raise DataError(rule, value=_unreadable(error), cure=cure, place=f"weights: {path}") from None
    odd = [name for name, tensor in state.items() if tensor.is_floating_point() and not tensor.isfinite().all()]
    if odd:
        value, cure = f"NaN or infinity in {_first(odd)}", "take a checkpoint from before its training diverged"
        raise DataError("the weights must be finite", value=value, cure=cure, place=f"weights: {path}")
    return state, statistics


def _unreadable(error: Exception) -> str:
    """Say in a line why a file can't be read, for torch's own message is a page."""
    if isinstance(error, pickle.UnpicklingError) and "weights only" in str(error).lower():
        return "a pickle of Python objects, such as a whole module, which would run code"
    if isinstance(error, TypeError | json.JSONDecodeError | OSError):
        return f"{type(error).__name__}: {error}".splitlines()[0]
    return "a file that torch can't read"


def used_weights(encoder: nn.Module, path: str | Path) -> str:
    """Say what of a file's weights an encoder takes, and what begins anew or is left out."""
    state, own = read_weights(path)[0], encoder.state_dict()
    state = _aligned(state, own)
    taken = _fitting(state, own)
    parts = [f"{len(taken)} of {len(own)} tensors from {path}"]
    anew = [key for key in own if key not in taken and not key.endswith(COUNTER)]
    left = [key for key in state if key not in taken]
    for keys, what in ((anew, "begins anew" if len(anew) == 1 else "begin anew"), (left, "of the file not used")):
        if keys:
            parts.append(f"{_first(keys)} {what}")
    return "; ".join(parts)


def _first(names: Sequence[str]) -> str:
    """Name three, and how many more there are."""
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def _fitting(state: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the weights that the encoder has under that name, of that shape."""
    return {key: state[key] for key in own if key in state and state[key].shape == own[key].shape}


def load_weights(encoder: nn.Module, path: str | Path | None, statistics: Statistics | None = None) -> None:
    """Load weights into an encoder, and say what its input is normalised by: ``encoder.statistics``.

    The last linear layer keeps its first weights where the file has none that fit.

    The names may lack what comes before them all in the encoder (``0.``, where it is a network and a linear layer), or
    have more of it (``module.``): those under which most weights fit are taken. A batch norm's count of batches may be
    missing. ``statistics`` become the encoder's, else those that the file tells.

    Args:
        path: a file or folder as for :func:`read_weights`; None leaves the weights as they are.

    Raises:
        DataError: a weight of the encoder is missing or of another shape; the first three are named.
    """
    if path is not None:
        told = _load(encoder, path)
        statistics = statistics or told
    if statistics is not None:
        vars(encoder)["statistics"] = statistics


def _load(encoder: nn.Module, path: str | Path) -> Statistics | None:
    """Load a file's weights, and return the statistics of their input that it tells."""
    state, statistics = read_weights(path)
    own = encoder.state_dict()
    state = _aligned(state, own)
    fits = _fitting(state, own)
    head = _last_linear(encoder)
    spared = [key for key in own if key.endswith(f".{COUNTER}") and key not in state]
    spared += [key for key in own if head and key.startswith(f"{head}.")]
    missing = [key for key in own if key not in fits and key not in spared]
    if missing:
        shown = ", ".join(f"{key} {_shape(own[key])} (file: {_shape(state.get(key))})" for key in missing[:3])
        value = f"{len(missing)} of {len(own)} don't: {shown}"
        others = [key for key in state if key not in own]
        if others and not any(key in state for key in missing[:3]):
            value += f"; the file has {', '.join(f'{key} {_shape(state[key])}' for key in others[:3])}"
        cure = "name the encoder and options that they were trained with"
        raise DataError("the weights must fit the encoder", value=value, cure=cure, place=f"weights: {path}")
    encoder.load_state_dict({**own, **fits})
    return statistics


def _unwrapped(content: Any) -> Any:
    """Return the state dict in what a training script saved."""
    for key in WRAPPERS:
        inner = content.get(key) if isinstance(content, dict) else None
        if isinstance(inner, dict) and inner and all(isinstance(value, Tensor) for value in inner.values()):
            return inner
    return content


def _aligned(state: dict[str, Tensor], own: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the weights under the names by which most of them fit: as they are, with less, or with more before them.

    >>> list(_aligned({"module.fc.weight": torch.zeros(2)}, {"0.fc.weight": torch.zeros(2)}))
    ['0.fc.weight']
    """
    first = next(iter(own), "").partition(".")[0]
    ways = [state]
    bare = {key.partition(".")[2]: tensor for key, tensor in state.items()}
    if len({key.partition(".")[0] for key in state}) == 1 and all(bare):
        ways.append(bare)
    ways += [{f"{first}.{key}": tensor for key, tensor in way.items()} for way in ways]
    return max(ways, key=lambda way: sum(key in own and own[key].shape == t.shape for key, t in way.items()))


def _last_linear(encoder: nn.Module) -> str:
    """The name of the linear layer that a sequence ends with, or nothing."""
    layers = list(encoder.named_children()) if isinstance(encoder, nn.Sequential) else []
    return layers[-1][0] if layers and isinstance(layers[-1][1], nn.Linear) else ""


def _shape(tensor: Tensor | None) -> str:
    return "none" if tensor is None else str(tuple(tensor.shape))
