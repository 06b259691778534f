"""A model as an ONNX file, which onnxruntime and others run without this package or PyTorch."""

from __future__ import annotations

import importlib.util
import io
import logging
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path

import torch

from mlcompare.errors import InvalidValueError
from mlcompare.export.standardized import Standardized

__all__ = ["ONNX", "check_onnx", "save_onnx"]

ONNX = "model.onnx"
NEEDED = ("onnx", "onnxscript")


def check_onnx() -> None:
    """Check that what writes ONNX files is installed.

    Raises:
        InvalidValueError: it is not; the cure names the extra.
    """
    missing = [name for name in NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        rule, cure = f"--onnx needs {' and '.join(NEEDED)}", "pip install 'mlcompare[onnx]'"
        raise InvalidValueError(rule, value=f"no {' and no '.join(missing)}", cure=cure)


def save_onnx(model: Standardized, shape: tuple[int, ...], path: Path) -> None:
    """Write ``samples (N, …) float32 → embeddings (N, D)`` for any N, with the weights in the same file.

    Samples are as they are stored, pixels from 0 to 255 or features; embeddings are as the encoder makes them.

    Args:
        shape: of one sample.

    Raises:
        InvalidValueError: the encoder does what ONNX has no operators for.
    """
    try:
        with _quiet():
            torch.onnx.export(
                model, (torch.zeros(2, *shape),), str(path), dynamo=True, external_data=False, verbose=False,
                input_names=["samples"], output_names=["embeddings"],
                dynamic_shapes=({0: torch.export.Dim("batch")},),
            )  # fmt: skip
    except Exception as error:  # the exporter has errors of its own for whatever it can't trace
        path.unlink(missing_ok=True)
        cure = "leave out --onnx, or use another encoder"
        raise InvalidValueError(
            "the encoder must be one that ONNX can express", value=_reason(error), cure=cure
        ) from None


def _reason(error: BaseException) -> str:
    """The first line of what began it: the exporter wraps that in advice of many lines."""
    while error.__cause__ is not None:
        error = error.__cause__
    return re.sub(r"\x1b\[[0-9;]*m", "", f"{type(error).__name__}: {error}".splitlines()[0])


@contextmanager
def _quiet() -> Iterator[None]:
    """Nothing is printed: the exporter tells every step, and whole programs where one fails."""
    logger = logging.getLogger("torch")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings(), redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
