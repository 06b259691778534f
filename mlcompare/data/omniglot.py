"""Omniglot: handwritten characters of fifty alphabets."""

from __future__ import annotations

from mlcompare.data.dataset import Dataset, register_dataset
from mlcompare.data.download import Archive, ensure
from mlcompare.data.folder import scan
from mlcompare.data.official import listed_images
from mlcompare.data.options import checked_flag, checked_path
from mlcompare.errors import DataError

__all__ = ["omniglot"]

SERVER = "https://raw.githubusercontent.com/brendenlake/omniglot/master/python"
ARCHIVES = {
    "images_background": Archive(f"{SERVER}/images_background.zip", "md5:68d2efa1b9178cc56df9314c21c6e718"),
    "images_evaluation": Archive(f"{SERVER}/images_evaluation.zip", "md5:6b91aef0f799c5bb55b94e3f2daec811"),
}


@register_dataset("omniglot")
def omniglot(
    path: str, size: tuple[int, int] = (28, 28), channels: int = 1, download: bool = False, cache: str | None = None
) -> Dataset:
    """Omniglot: 1623 characters of 50 alphabets, each drawn by 20 people (Lake et al. 2015), black on white.

    Args:
        path: the folder that holds images_background (it trains) and images_evaluation (it tests), each with
            alphabet/character/*.png: the official class split (`protocol: {test_classes: official}`).
        size: height and width in pixels.
        channels: 1 (grey) or 3 (colour).
        download: fetch what is missing (15 MB).
        cache: folder of the decoded images.

    Raises:
        InvalidValueError: an option is out of its range.
        DataError: something is missing or broken.
    """
    root, place = checked_path(path, place="omniglot"), f"omniglot: {path}"
    download = checked_flag("download", download, place=place)
    absent = [archive for name, archive in ARCHIVES.items() if not (root / name).is_dir()]
    ensure(root, tuple(ARCHIVES), absent, download=download, place=place)
    paths, classes, test = [], [], []
    for part in ARCHIVES:
        files, _ = scan(root / part, place=place)
        for name in files.paths:
            if name.count("/") != 2:
                rule = f"images must lie in {part}/alphabet/character"
                raise DataError(rule, value=f"{part}/{name}", cure="unpack it again", place=place)
            paths.append(f"{part}/{name}")
            classes.append(name.rpartition("/")[0])
            test.append(part == "images_evaluation")
        if not files:
            raise DataError(f"{part} must hold alphabet/character/*.png", value="no image", place=place)
    return listed_images(
        "omniglot", root, paths, classes, test, size=size, channels=channels, cache=cache, place=place,
        credit="Lake, Salakhutdinov, Tenenbaum 2015",
    )  # fmt: skip
