"""Decode once: image files become one uint8 array on disk, which every later open only maps or reads.

An entry is a folder ``<key>/`` with ``pixels.npy`` and ``entry.json``. The key is a hash of the manifest (relative
path, size and modification time of each file) and of how the files are decoded, so that a changed file is a new
entry. An entry is built under another name and renamed when it is whole: two processes may build it at once, the
first one to finish wins, and the other takes the winner's.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import BinaryIO

import numpy as np

from mlcompare.data.image_files import ImageFiles
from mlcompare.data.image_reader import ImageReader
from mlcompare.data.images import measured_bits
from mlcompare.errors import DataError, InvalidValueError, MLCompareError
from mlcompare.files import user_cache

__all__ = ["CachedImages", "cache_folders", "cached_images", "checked_cache"]

FORMAT = 2  # raise it when the decoding changes
IN_MEMORY = 1 << 30  # bytes; larger arrays are memory-mapped
PROGRESS_FROM = 5000  # files
ABANDONED = 24 * 3600  # seconds after which a half-built entry is nobody's


@dataclass(frozen=True)
class CachedImages:
    """Decoded images ``(N, C, H, W)``, the rows of the manifest they come from, and the hash of the pixels.

    ``notes`` say what was met on the way, ``bits`` the depth that 16-bit grey was scaled from, where there was any;
    ``folder`` is the entry.
    """

    samples: np.ndarray
    rows: np.ndarray
    content: str
    notes: tuple[str, ...] = ()
    bits: int | None = None
    folder: Path | None = None

    def fingerprint(self, labels: np.ndarray) -> str:
        """Return the dataset's fingerprint without reading the pixels again."""
        return hashlib.sha256(self.content.encode() + np.ascontiguousarray(labels).tobytes()).hexdigest()


def checked_cache(cache: object, *, place: str) -> str | None:
    """Return the option ``cache``: a folder, or None for the usual ones."""
    if cache is not None and not (isinstance(cache, str | Path) and str(cache)):
        raise InvalidValueError("`cache` must be a folder", value=f"cache={cache!r}", place=place)
    return None if cache is None else str(Path(cache).expanduser())


def cache_folders(data: Path, cache: str | None) -> list[Path]:
    """Return where entries may lie, best first: as told, else next to the data, else in the user's cache folder."""
    if cache is not None:
        return [Path(cache)]
    return [data.parent / ".mlcompare-cache", user_cache()]


def cached_images(
    root: Path,
    files: ImageFiles,
    *,
    size: tuple[int, int],
    channels: int,
    folders: Sequence[Path],
    skip_corrupt: bool,
    max_pixels: int | None = None,
    place: str,
) -> CachedImages:
    """Return the decoded images of ``files``, from the cache if they are there.

    Args:
        root: the folder that the paths are relative to.
        size: height and width in pixels.
        channels: 1 or 3.
        folders: where entries may lie; a new one goes to the first that can be written.
        skip_corrupt: leave out files that can't be decoded, instead of refusing.
        max_pixels: how many pixels an image may have; Pillow's limit by default.
        place: where the data is, for the message.

    Raises:
        DataError: files can't be decoded (the first ones are named), or there is nowhere to write.
    """
    how = {
        "format": FORMAT, "size": size, "channels": channels, "skip_corrupt": skip_corrupt, "max_pixels": max_pixels,
    }  # fmt: skip
    key = _key(root, files, how)
    for folder in folders:
        found = _open(folder / key, len(files), (channels, *size))
        if found is not None:
            return found
    try:
        folder = _writable(folders, place)
        temporary = Path(tempfile.mkdtemp(prefix=f"{key}.part-", dir=folder))
        try:
            _build(temporary, root, files, (size, channels, skip_corrupt, max_pixels), place)
            return _publish(temporary, folder / key, len(files), (channels, *size))
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
    except MLCompareError:
        raise
    except OSError as error:
        reason = f"{error.strerror or error} in {folders[0]}"
        cure = "make room, or give another folder with cache: …"
        raise DataError("the decoded images must fit on disk", value=reason, cure=cure, place=place) from None


def _key(root: Path, files: ImageFiles, how: dict) -> str:
    digest = hashlib.sha256(json.dumps(how, sort_keys=True).encode())
    digest.update(os.fsencode(root.resolve()))  # archives give many files one date: another folder is another entry
    digest.update(files.content())
    return digest.hexdigest()[:32]


def _writable(folders: Sequence[Path], place: str) -> Path:
    """Return the first folder that a file can be made in, and clear away what crashed builds left there."""
    for folder in folders:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=folder):
                pass
        except OSError:
            continue
        for left in folder.glob("*.part-*"):
            try:
                if time.time() - left.stat().st_mtime > ABANDONED:
                    shutil.rmtree(left, ignore_errors=True)
            except OSError:
                continue  # another process was faster
        return folder
    tried = " and ".join(map(str, folders))
    cure = "give a folder that can be written with cache: …"
    raise DataError(
        "decoded images must be cached somewhere", value=f"no way to write in {tried}", cure=cure, place=place
    )


def _build(
    folder: Path, root: Path, files: ImageFiles, how: tuple[tuple[int, int], int, bool, int | None], place: str
) -> None:
    """Write ``pixels.npy`` and ``entry.json``: one image in memory at a time, hashed on the way."""
    size, channels, skip_corrupt, max_pixels = how
    rows: list[int] = []
    digest = hashlib.sha256()
    deep = partial(
        measured_bits, [root / path for path in files.paths], max_pixels
    )  # so that all keep their brightness
    reader = ImageReader(root, size, channels, bits=deep, max_pixels=max_pixels)
    with (folder / "pixels.npy").open("w+b") as out:
        start = _write_header(out, (len(files), channels, *size))
        for row, path in enumerate(_with_progress(files.paths, place)):
            pixels = reader.read(path)
            if pixels is None:
                continue
            encoded = np.ascontiguousarray(pixels).tobytes()
            digest.update(encoded)
            out.write(encoded)
            rows.append(row)
        reader.check(skip_corrupt=skip_corrupt, place=place)
        out.seek(0)
        if _write_header(out, (len(rows), channels, *size)) != start:
            raise DataError("the header must keep its length", place=place)
        out.flush()
        os.fsync(out.fileno())
    content = hashlib.sha256(f"{len(rows)} {channels} {size} {digest.hexdigest()}".encode()).hexdigest()
    skipped = sorted(set(range(len(files))) - set(rows))
    size_on_disk = (folder / "pixels.npy").stat().st_size
    entry = {
        "content": content, "skipped": skipped, "bytes": size_on_disk, "notes": reader.notes(), "bits": reader.bits,
    }  # fmt: skip
    (folder / "entry.json").write_text(json.dumps(entry), encoding="utf-8")


def _write_header(out: BinaryIO, shape: tuple[int, ...]) -> int:
    """Write the header (numpy leaves room for its first number to change) and return where the pixels start."""
    np.lib.format.write_array_header_1_0(out, {"descr": "|u1", "fortran_order": False, "shape": shape})
    return out.tell()


def _with_progress(paths: Sequence[str], place: str) -> Iterator[str]:
    if len(paths) <= PROGRESS_FROM:
        return iter(paths)
    from rich.console import Console
    from rich.progress import track

    return iter(track(paths, f"decoding {place}", console=Console(stderr=True), transient=True))


def _publish(temporary: Path, target: Path, count: int, shape: tuple[int, ...]) -> CachedImages:
    for _attempt in range(2):
        try:
            temporary.rename(target)
        except OSError:
            if not target.exists():
                raise
        found = _open(target, count, shape)
        if found is not None:
            return found
        damaged = Path(tempfile.mkdtemp(prefix=f"{target.name}.part-", dir=target.parent))
        try:
            target.rename(damaged / "damaged")  # out of the way in one step, then removed
        finally:
            shutil.rmtree(damaged, ignore_errors=True)
    raise OSError(f"{target} can't be replaced")


def _open(entry: Path, count: int, shape: tuple[int, ...]) -> CachedImages | None:
    """Return an entry, or None where there is none or it is damaged."""
    try:
        about = json.loads((entry / "entry.json").read_text(encoding="utf-8"))
        rows = np.delete(np.arange(count), np.array(about["skipped"], dtype=np.int64))
        pixels = entry / "pixels.npy"
        if pixels.stat().st_size != about["bytes"]:
            return None
        samples = np.load(pixels, mmap_mode="c" if about["bytes"] > IN_MEMORY else None, allow_pickle=False)
        content, notes = str(about["content"]), tuple(str(note) for note in about["notes"])
        bits = None if about["bits"] is None else int(about["bits"])
    except (OSError, ValueError, KeyError, TypeError, IndexError):
        return None
    whole = samples.dtype == np.uint8 and samples.shape == (len(rows), *shape) and len(content) == 64
    return CachedImages(samples, rows, content, notes, bits, entry) if whole else None
