"""Stanford Online Products."""

from __future__ import annotations

from mlcompare.data.dataset import Dataset, register_dataset
from mlcompare.data.download import Archive, ensure
from mlcompare.data.official import checked_folder, listed_images, read_table
from mlcompare.data.options import checked_flag

__all__ = ["sop"]

ARCHIVE = Archive(
    "http://ftp.cs.stanford.edu/cs/cvgl/Stanford_Online_Products.zip", "md5:7f73d41a2f44250d4779881525aea32e"
)
FOLDER, TABLES = "Stanford_Online_Products", ("Ebay_train.txt", "Ebay_test.txt")


@register_dataset("sop")
def sop(
    path: str, size: tuple[int, int] = (64, 64), channels: int = 3, download: bool = False, cache: str | None = None
) -> Dataset:
    """Stanford Online Products: 120 053 photographs of 22 634 products (Song et al. 2016, arXiv:1511.06452).

    Args:
        path: the folder Stanford_Online_Products (Ebay_train.txt, Ebay_test.txt and the images), or the one that holds
            it. The lists are the official class split (`protocol: {test_classes: official}`).
        size: height and width in pixels.
        channels: 1 (grey) or 3 (colour).
        download: fetch it (2.9 GB) where it is missing.
        cache: folder of the decoded images.

    Raises:
        InvalidValueError: an option is out of its range.
        DataError: something is missing or broken.
    """
    place = f"sop: {path}"
    root = checked_folder(path, FOLDER, name="sop")
    wanted = [f"{FOLDER}/{name}" for name in TABLES]
    ensure(root.parent, wanted, [ARCHIVE], download=checked_flag("download", download, place=place), place=place)
    parts = [read_table(root / name, (int, int, int, str), header=1, place=place) for name in TABLES]
    rows = [(file, str(label), number) for number, part in enumerate(parts) for _, label, _, file in part]
    paths, classes, test = zip(*rows)
    return listed_images(
        "sop", root, paths, classes, test, size=size, channels=channels, cache=cache, place=place,
        credit="Song, Xiang, Jegelka, Savarese 2016; Stanford",
    )  # fmt: skip
