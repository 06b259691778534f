"""What this machine has to train on."""

from __future__ import annotations

import os

from mlcompare.errors import InvalidValueError

__all__ = ["cpu_count", "resolve_device"]


def cpu_count() -> int:
    """Return how many cores this process may use (all of the machine's where the system can't say, as on macOS)."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def resolve_device(device: str) -> str:
    """Return ``cpu`` or ``cuda`` for ``auto``, ``cpu`` or ``cuda``.

    Raises:
        InvalidValueError: another name, or no CUDA device where one is asked for.
    """
    import torch

    if device not in ("auto", "cpu", "cuda"):
        raise InvalidValueError("`--device` must be auto, cpu or cuda", value=device)
    if device == "cuda" and not torch.cuda.is_available():
        raise InvalidValueError("`--device cuda` needs a CUDA device", value="none found", cure="use --device auto")
    return ("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device
