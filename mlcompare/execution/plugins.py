"""What a script, a notebook or a ``--plugin`` file registers, and how it reaches other processes.

Functions and classes of ``__main__`` and of plug-in files travel by value (cloudpickle), so a worker imports neither;
what an installed package registered travels by its name.
"""

from __future__ import annotations

import hashlib
import importlib.util
import pickle
import sys
from pathlib import Path

import cloudpickle

from mlcompare.errors import InvalidValueError
from mlcompare.registry import install, written_in_this_process

__all__ = ["load_plugin", "pack", "unpack"]


def load_plugin(path: str | Path) -> None:
    """Run a Python file that registers losses, encoders and the like, here and in every worker. Once for each file.

    Raises:
        InvalidValueError: the file is missing, or running it fails.
    """
    path = Path(path).expanduser().resolve()
    if not path.is_file():
        raise InvalidValueError("a plug-in file must exist", value=str(path), cure="check the path", place="--plugin")
    name = f"mlcompare_plugin_{path.stem}_{hashlib.sha256(str(path).encode()).hexdigest()[:8]}"
    if name in sys.modules:
        return
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise InvalidValueError("a plug-in is a Python file", value=path.name, cure="name it *.py", place="--plugin")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException as error:
        del sys.modules[name]
        if not isinstance(error, Exception):
            raise
        value = f"{type(error).__name__}: {error}".splitlines()[0]
        rule = "a plug-in file must run"
        raise InvalidValueError(rule, value=value, cure="fix the file", place=f"--plugin {path}") from error
    cloudpickle.register_pickle_by_value(module)


def pack() -> bytes:
    """Return everything that this process registered itself, for :func:`unpack` in another.

    Raises:
        InvalidValueError: something of it can't be sent.
    """
    records = written_in_this_process()
    try:
        return cloudpickle.dumps(records)
    except Exception as error:  # whatever an object raises that can't be pickled
        names = ", ".join(record.name for some in records.values() for record in some)
        cure = "keep open files, locks and devices out of what it refers to; or use --executor in-process"
        value = f"{type(error).__name__}: {error}".splitlines()[0]
        raise InvalidValueError(f"workers must get what you registered ({names})", value=value, cure=cure) from None


def unpack(packed: bytes) -> None:
    """Register here what another process packed."""
    install(pickle.loads(packed))  # our own coordinator's bytes
