"""Read arrays from an ``.npz`` file that nobody vouches for: no pickle, no size taken on trust."""

from __future__ import annotations

import math
import zipfile
from pathlib import Path
from typing import IO

import numpy as np
from numpy.lib import format as npy

from mlcompare.errors import DataError

__all__ = ["read_npz"]

DEFLATE_RATIO = 1100  # deflate never shrinks below 1/1032 of the content
METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)  # what numpy writes


def read_npz(path: Path, names: tuple[str, ...], *, place: str) -> dict[str, np.ndarray]:
    """Return those of the arrays ``names`` that the file holds.

    Args:
        path: an existing file.
        names: the keys that are read; others are left alone.
        place: where it is, for the message.

    Raises:
        DataError: the file is broken, holds pickled objects, or declares more than it can hold.
    """
    arrays = {}
    try:
        with zipfile.ZipFile(path) as archive:
            for member in archive.infolist():
                name = member.filename.removesuffix(".npy")
                if name in names:
                    arrays[name] = _read_member(archive, member, path.stat().st_size)
    except DataError as error:
        raise error.at(place) from None
    except Exception as error:  # whatever numpy and zipfile raise on such bytes, the file is broken
        reason = f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"
        raise DataError("the file must be a whole .npz", value=reason, cure="write it again", place=place) from None
    return arrays


def _read_member(archive: zipfile.ZipFile, member: zipfile.ZipInfo, file_size: int) -> np.ndarray:
    if member.compress_type not in METHODS or member.file_size > file_size * DEFLATE_RATIO:
        got = f"{member.file_size} bytes declared in a file of {file_size}"
        raise DataError(f"`{member.filename}` must be stored or deflated, and fit in its file", value=got)
    with archive.open(member) as stream:
        shape, fortran, dtype = _read_header(stream)
        header = stream.tell()
        if dtype.hasobject:
            cure = "store numbers or fixed-length text (array.astype(str))"
            raise DataError(f"`{member.filename}` must not hold pickled objects", value=str(dtype), cure=cure)
        declared = math.prod(shape) * dtype.itemsize
        if min(shape, default=0) < 0 or declared != member.file_size - header:
            got = f"shape {shape} of {dtype} for {member.file_size - header} bytes"
            raise DataError(f"`{member.filename}` must hold what its header says", value=got)
        content = stream.read()
    array = np.frombuffer(bytearray(content), dtype=dtype)  # of its own: PyTorch wants arrays that can be written
    return array.reshape(shape[::-1]).T if fortran else array.reshape(shape)


def _read_header(stream: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype]:
    version = npy.read_magic(stream)
    if version == (1, 0):
        return npy.read_array_header_1_0(stream)
    if version == (2, 0):
        return npy.read_array_header_2_0(stream)
    raise DataError("the array format must be 1.0 or 2.0", value=".".join(map(str, version)))
