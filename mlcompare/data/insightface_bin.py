"""Insightface's .bin: a pickle that nobody vouches for, of encoded images and of what is a pair.

The file is gone through twice, and its images stay in it: first a lean copy of the pickle is made that has a reference
where the file has the bytes of an image; then the lean copy is unpickled, with nothing allowed that could run code.
"""

from __future__ import annotations

import io
import mmap
import pickle
import pickletools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mlcompare.errors import DataError

__all__ = ["EncodedImages", "read_bin"]

LONG = 256  # bytes that stay in the file
HEADERS = {  # opcodes before long contents, and the bytes that opcode and length take
    "BINBYTES": 5, "BINBYTES8": 9, "BYTEARRAY8": 9, "BINSTRING": 5, "BINUNICODE": 5, "BINUNICODE8": 9,
}  # fmt: skip


@dataclass(frozen=True)
class _InFile:
    """Bytes ``start`` to ``stop`` of the file; ``text`` where they are UTF-8 of what was latin-1."""

    start: int
    stop: int
    text: bool = False


class EncodedImages(Sequence[bytes]):
    """The files of the images, each read from the .bin when it is asked for."""

    def __init__(self, file: Path, contents: Sequence[bytes | _InFile]) -> None:
        self._file, self._contents = file, contents

    def __len__(self) -> int:
        return len(self._contents)

    def __getitem__(self, row: Any) -> Any:
        with self._file.open("rb") as stream:
            return _content(self._contents[row], stream)

    def __iter__(self) -> Iterator[bytes]:
        with self._file.open("rb") as stream:
            for content in self._contents:
                yield _content(content, stream)


def read_bin(file: Path, place: str) -> tuple[EncodedImages, np.ndarray]:
    """Return the encoded images ``2P``, which stay in the file, and ``same (P,)``.

    Raises:
        DataError: other content than a list of images and a list of bools.
    """
    try:
        with file.open("rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
            images, same = _Unpickler(io.BytesIO(_lean(mapped)), encoding="bytes").load()
            contents = [image.content if isinstance(image, _Array) else image for image in images]
            decisions = same.read(stream) if isinstance(same, _Array) else np.asarray(same)
    except Exception as error:  # broken or hostile bytes raise anything
        reason = f"{type(error).__name__}: {error}".splitlines()[0]
        rule = "the file must be a pickle of images and bools, and of nothing else"
        raise DataError(rule, value=reason, place=place) from None
    whole = all(isinstance(content, bytes | _InFile) for content in contents)
    if not whole or decisions.dtype.kind not in "bu" or decisions.ndim != 1:
        raise DataError("the file must hold (a list of images, a list of bools)", value="other types", place=place)
    if len(decisions) == 0 or len(contents) != 2 * len(decisions):
        got = f"{len(contents)} images for {len(decisions)} pairs"
        raise DataError("there must be two images for each pair", value=got, place=place)
    return EncodedImages(file, contents), decisions.astype(bool)


def _lean(mapped: mmap.mmap) -> bytes:
    """Return the pickle with a reference in the place of each long content."""
    lean = bytearray()
    before: tuple[str, int] | None = None
    for opcode, _, position in pickletools.genops(mapped):  # type: ignore[arg-type]  # it reads as a file does
        assert position is not None
        if before is not None:
            lean += _leaner(mapped, *before, position)
        if opcode.name in ("PERSID", "BINPERSID"):
            raise pickle.UnpicklingError("a reference to something outside the file")
        before = opcode.name, position
    return bytes(lean + b".")


def _leaner(mapped: mmap.mmap, opcode: str, start: int, stop: int) -> bytes:
    if opcode == "FRAME":  # says how long the following is, which it no longer is
        return b""
    if opcode not in HEADERS or stop - start < LONG:
        return mapped[start:stop]
    where = f"{start + HEADERS[opcode]} {stop} {opcode}".encode()
    return b"X" + len(where).to_bytes(4, "little") + where + b"Q"  # a text, made a reference


def _content(content: bytes | _InFile, stream: Any) -> bytes:
    if isinstance(content, bytes):
        return content
    stream.seek(content.start)
    found: bytes = stream.read(content.stop - content.start)
    return found.decode().encode("latin1") if content.text else found


class _Array:
    """What stands for a numpy array of bools or bytes: its content may be in the file."""

    def __init__(self, content: Any = b"", dtype: Any = "u1") -> None:
        self.content, self.dtype = content, dtype

    def __setstate__(self, state: Any) -> None:
        _, _, self.dtype, _, self.content = state

    def read(self, stream: Any) -> np.ndarray:
        return np.frombuffer(_content(self.content, stream), self.dtype)


def _encode(text: Any, encoding: str = "latin1") -> Any:
    """What pickles before protocol 3 make bytes with."""
    if encoding != "latin1":
        raise pickle.UnpicklingError("only latin1 text")
    return _InFile(text.start, text.stop, text=True) if isinstance(text, _InFile) else text.encode("latin1")


def _dtype(name: Any, *_more: Any) -> np.dtype:
    if name not in ("b1", "u1", b"b1", b"u1", "bool", "uint8"):
        raise pickle.UnpicklingError(f"an array of {name!r}")
    return np.dtype(name if isinstance(name, str) else name.decode())


def _reconstruct(*_: Any) -> _Array:
    return _Array()


def _scalar(dtype: np.dtype, content: Any = b"\0") -> np.generic:
    return np.frombuffer(content if isinstance(content, bytes) else _encode(content), dtype)[0]


def _frombuffer(content: Any, dtype: np.dtype, *_: Any) -> _Array:
    return _Array(content if isinstance(content, _InFile) else bytes(content), dtype)


_REBUILDERS: tuple[tuple[str, str, Callable], ...] = (
    ("multiarray", "_reconstruct", _reconstruct),
    ("multiarray", "scalar", _scalar),
    ("numeric", "_frombuffer", _frombuffer),
)
_ALLOWED: dict[tuple[str, str], Callable] = {
    ("_codecs", "encode"): _encode,
    ("numpy", "dtype"): _dtype,
    ("numpy", "ndarray"): _Array,
    **{(f"numpy.{core}.{module}", name): make for core in ("core", "_core") for module, name, make in _REBUILDERS},
}


class _Unpickler(pickle.Unpickler):
    """Lists, tuples, bytes, numbers, bools, and numpy arrays of bools or bytes; nothing that could run code."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _ALLOWED:
            raise pickle.UnpicklingError(f"{module}.{name}")
        return _ALLOWED[module, name]

    def persistent_load(self, reference: Any) -> _InFile:
        start, stop, _ = reference.split()
        return _InFile(int(start), int(stop))
