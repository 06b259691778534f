"""Caltech-UCSD Birds-200-2011."""

from __future__ import annotations

from mlcompare.data.dataset import Dataset, register_dataset
from mlcompare.data.download import Archive, ensure
from mlcompare.data.official import check_split, checked_folder, listed_images, read_table, second_half
from mlcompare.data.options import checked_flag
from mlcompare.errors import DataError

__all__ = ["cub200"]

ARCHIVE = Archive(
    "https://data.caltech.edu/records/65de6-vp158/files/CUB_200_2011.tgz", "md5:97eceeb196236b17998738112f37df78"
)
TABLES = ("images.txt", "image_class_labels.txt", "train_test_split.txt")


@register_dataset("cub200")
def cub200(
    path: str,
    size: tuple[int, int] = (64, 64),
    channels: int = 3,
    split: str = "classes",
    download: bool = False,
    cache: str | None = None,
) -> Dataset:
    """CUB-200-2011: 11 788 photographs of 200 bird species (Wah et al. 2011).

    Args:
        path: the folder CUB_200_2011 (images.txt, image_class_labels.txt, train_test_split.txt, images/), or the one
            that holds it.
        size: height and width in pixels.
        channels: 1 (grey) or 3 (colour).
        split: the official split: `classes`, where the first half of the classes trains and the rest tests, as is usual
            in retrieval (`protocol: {test_classes: official}`), or `images`, the authors' train_test_split.txt
            (`protocol: {kind: closed_set}`).
        download: fetch it (1.1 GB) where it is missing.
        cache: folder of the decoded images.

    Raises:
        InvalidValueError: an option is out of its range.
        DataError: something is missing or broken.
    """
    place = f"cub200: {path}"
    root = checked_folder(path, "CUB_200_2011", name="cub200")
    check_split(split, place=place)
    wanted = [f"CUB_200_2011/{name}" for name in (*TABLES, "images")]
    ensure(root.parent, wanted, [ARCHIVE], download=checked_flag("download", download, place=place), place=place)
    paths = dict(read_table(root / TABLES[0], (int, str), place=place))
    classes = dict(read_table(root / TABLES[1], (int, int), place=place))
    train = dict(read_table(root / TABLES[2], (int, int), place=place))
    if not paths.keys() == classes.keys() == train.keys():
        got = f"{len(paths)}, {len(classes)} and {len(train)}"
        raise DataError(f"{', '.join(TABLES)} must name the same images", value=got, place=place)
    test = second_half([classes[i] for i in paths]) if split == "classes" else [train[i] == 0 for i in paths]
    names = [line.split("/")[0] for line in paths.values()]
    return listed_images(
        "cub200", root / "images", list(paths.values()), names, test, size=size, channels=channels, cache=cache,
        place=place, credit="Wah, Branson, Welinder, Perona, Belongie 2011; Caltech",
    )  # fmt: skip
