"""What this machine has to train on."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path

from mlcompare.errors import InvalidValueError

__all__ = ["available_memory", "cpu_count", "grouped_devices", "resolve_device", "resolve_devices"]


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
        cure = "use --devices for one of several" if device.startswith("cuda:") else None
        raise InvalidValueError("`--device` must be auto, cpu or cuda", value=device, cure=cure)
    if device == "cuda" and not torch.cuda.is_available():
        raise InvalidValueError("`--device cuda` needs a CUDA device", value="none found", cure="use --device auto")
    return ("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device


def resolve_devices(devices: str | Sequence[str] | None, device: str = "auto") -> tuple[str, ...]:
    """Return what to train on: ``devices``, each by its name, or the one that ``device`` says.

    They are counted, not touched: CUDA is left alone here.

    Args:
        devices: ``all`` (every CUDA device), or names such as ``cuda:0,cuda:2``, as a text or one by one.
        device: as for :func:`resolve_device`; it is one or the other.

    Raises:
        InvalidValueError: a device is unknown, is not there, or is named twice; or kinds are mixed.

    >>> resolve_devices("cpu"), resolve_devices(None, "cpu")
    (('cpu',), ('cpu',))
    """
    if devices is None:
        return (resolve_device(device),)
    if device != "auto":
        raise InvalidValueError("it is `--device` or `--devices`", value=f"{device} and {devices}", cure="say one")
    there = _cuda_devices()
    listed = devices.split(",") if isinstance(devices, str) else devices
    names = [name.strip() for name in listed]
    if names == ["all"]:
        if not there:
            raise InvalidValueError("`--devices all` needs CUDA devices", value="none found", cure="leave it out")
        return there
    for name in names:
        if name not in ("cpu", *there):
            found = ", ".join(("cpu", *there))
            raise InvalidValueError(
                "`--devices` must name devices of this machine", value=name or "nothing", cure=f"here: {found}"
            )
    if len(set(names)) < len(names):
        cure = "name it once; --workers says how many trainings run at a time on all together"
        raise InvalidValueError("each of `--devices` is named once", value=",".join(names), cure=cure)
    if not names or ("cpu" in names and len(names) > 1):
        cure = "name cpu, or CUDA devices"
        rule = "a study trains on devices of one kind, as rounding differs"
        raise InvalidValueError(rule, value=",".join(names) or "nothing", cure=cure, place="--devices")
    return tuple(names)


def available_memory() -> int | None:
    """Return how many bytes new processes can have; None where the system doesn't say."""
    try:
        told = re.search(r"^MemAvailable:\s*(\d+) kB", Path("/proc/meminfo").read_text(encoding="ascii"), re.MULTILINE)
    except OSError:
        return None
    return None if told is None else 1024 * int(told[1])


def grouped_devices(devices: Sequence[str], ranks: int) -> list[tuple[str, ...]]:
    """Return which devices each worker has: one, or on CUDA one for each rank of a training.

    Raises:
        InvalidValueError: there are fewer than a training needs, or some would be left over.

    >>> grouped_devices(["cuda:0", "cuda:1", "cuda:2", "cuda:3"], 2), grouped_devices(["cpu"], 2)
    ([('cuda:0', 'cuda:1'), ('cuda:2', 'cuda:3')], [('cpu', 'cpu')])
    """
    if ranks == 1:
        return [(device,) for device in devices]
    if not devices[0].startswith("cuda"):
        return [(device,) * ranks for device in devices]
    named = _cuda_devices() if list(devices) == ["cuda"] else tuple(devices)
    if not named or len(named) % ranks:
        rule = f"`training.ranks: {ranks}` needs {ranks} CUDA devices for each training"
        raise InvalidValueError(rule, value=", ".join(named) or "none", cure="name as many with --devices")
    return [named[first : first + ranks] for first in range(0, len(named), ranks)]


def _cuda_devices() -> tuple[str, ...]:
    import torch

    return tuple(f"cuda:{number}" for number in range(torch.cuda.device_count()))
