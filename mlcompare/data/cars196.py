"""Stanford Cars."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from mlcompare.data.dataset import Dataset, register_dataset
from mlcompare.data.official import check_split, listed_images, second_half
from mlcompare.data.options import checked_path
from mlcompare.errors import DataError

__all__ = ["cars196"]

DEVKIT = ("cars_train_annos.mat", "cars_test_annos_withlabels.mat")


@register_dataset("cars196")
def cars196(
    path: str, size: tuple[int, int] = (64, 64), channels: int = 3, split: str = "classes", cache: str | None = None
) -> Dataset:
    """Stanford Cars: 16 185 photographs of 196 models of cars (Krause et al. 2013).

    There is no download: the authors' server no longer has it.

    Args:
        path: a folder with cars_annos.mat and car_ims/, or with devkit/, cars_train/ and cars_test/ (the annotations of
            the test images, cars_test_annos_withlabels.mat, in either folder).
        size: height and width in pixels.
        channels: 1 (grey) or 3 (colour).
        split: the official split: `classes`, where the first half of the classes trains and the rest tests, as is usual
            in retrieval (`protocol: {test_classes: official}`), or `images`, the authors' (`protocol: {kind:
            closed_set}`).
        cache: folder of the decoded images.

    Raises:
        InvalidValueError: an option is out of its range.
        DataError: something is missing or broken.
    """
    root, place = checked_path(path, place="cars196"), f"cars196: {path}"
    check_split(split, place=place)
    paths, numbers, test = (_whole if (root / "cars_annos.mat").is_file() else _devkit)(root, place)
    if split == "classes":
        test = second_half(numbers)
    return listed_images(
        "cars196", root, paths, [str(number) for number in numbers], test, size=size, channels=channels, cache=cache,
        place=place, credit="Krause, Stark, Deng, Fei-Fei 2013; Stanford",
    )  # fmt: skip


def _whole(root: Path, place: str) -> tuple[list[str], list[int], list[bool]]:
    rows = _annotations(root / "cars_annos.mat", ("relative_im_path", "class", "test"), place)
    return [str(row[0]) for row in rows], [int(row[1]) for row in rows], [bool(row[2]) for row in rows]


def _devkit(root: Path, place: str) -> tuple[list[str], list[int], list[bool]]:
    paths, numbers, test = [], [], []
    for part, name in zip(("train", "test"), DEVKIT):
        file = next((folder / name for folder in (root / "devkit", root) if (folder / name).is_file()), None)
        if file is None:
            rule = f"the folder must hold cars_annos.mat, or {' and '.join(f'devkit/{name}' for name in DEVKIT)}"
            raise DataError(rule, value=f"no {name}" if root.is_dir() else "no such folder", place=place)
        rows = _annotations(file, ("fname", "class"), place)
        paths += [f"cars_{part}/{row[0]}" for row in rows]
        numbers += [int(row[1]) for row in rows]
        test += [part == "test"] * len(rows)
    return paths, numbers, test


READ = """
import json, sys
import numpy as np
from scipy.io import loadmat
file, fields = sys.argv[1], sys.argv[2].split(",")
entries = np.atleast_1d(loadmat(file, squeeze_me=True)["annotations"])
print(json.dumps([[np.asarray(entry[field]).item() for field in fields] for entry in entries]))
"""


def _annotations(file: Path, fields: tuple[str, ...], place: str) -> list[list]:
    """Return ``fields`` of each entry of a MATLAB file's structure `annotations`.

    Read in a process of its own: on broken bytes scipy may end the process that it runs in.
    """
    done = subprocess.run([sys.executable, "-c", READ, str(file), ",".join(fields)], capture_output=True, text=True)
    if done.returncode == 0:
        return json.loads(done.stdout)
    got = done.stderr.strip().splitlines()[-1] if done.stderr.strip() else "bytes that break scipy's reader"
    rule = f"it must hold `annotations` with {', '.join(fields)}"
    raise DataError(rule, value=got[:200], cure="fetch it again", place=f"{place}: {file.name}")
