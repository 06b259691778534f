"""Fetch and unpack official archives: resumed where they broke off, checked, and never outside their folder."""

from __future__ import annotations

import hashlib
import shutil
import stat
import tarfile
import tempfile
import urllib.error
import urllib.request
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path, PurePosixPath

from mlcompare.errors import DataError

__all__ = ["Archive", "ensure", "extract", "fetch"]

BLOCK = 1 << 20
SECONDS = 60  # without a byte


@dataclass(frozen=True)
class Archive:
    """Where an archive lies and what it must be: ``checksum`` is ``md5:…`` or ``sha256:…``."""

    url: str
    checksum: str

    @property
    def name(self) -> str:
        return PurePosixPath(self.url.partition("?")[0]).name


def ensure(root: Path, wanted: Sequence[str], archives: Sequence[Archive], *, download: bool, place: str) -> None:
    """Make sure that ``wanted`` lie in ``root``; fetch and unpack the archives where that is asked for.

    Raises:
        DataError: something is missing and may not, or can't, be fetched.
    """
    missing = [name for name in wanted if not (root / name).exists()]
    if not missing:
        return
    if not (download and archives):
        cure = f"unpack {' and '.join(a.url for a in archives)} there, or set download: true" if archives else None
        got = f"no {', '.join(missing)}" if root.is_dir() else "no such folder"
        raise DataError(f"the folder must hold {', '.join(wanted)}", value=got, cure=cure, place=place)
    root.mkdir(parents=True, exist_ok=True)
    for archive in archives:
        file = root / archive.name
        fetch(archive, file, place=place)
        extract(file, root, place=place)
        file.unlink()
    missing = [name for name in wanted if not (root / name).exists()]
    if missing:
        raise DataError("the archive must hold what it is known for", value=f"no {', '.join(missing)}", place=place)


def fetch(archive: Archive, target: Path, *, place: str) -> None:
    """Fetch an archive to ``target``, whole and checked or not at all; what came before a break stays for the next try.

    Raises:
        DataError: the server can't be reached, breaks off, or sends something else.
    """
    part = target.with_name(target.name + ".part")
    if not target.exists():
        try:
            _receive(archive.url, part)
        except (urllib.error.URLError, HTTPException, OSError) as error:
            reason = f"{getattr(error, 'reason', None) or error}: {archive.url}"
            cure = "try again: it goes on where it broke off"
            raise DataError("the archive must be fetched", value=reason, cure=cure, place=place) from None
    got = _checksum(part if not target.exists() else target, archive.checksum.partition(":")[0])
    if got != archive.checksum:
        (part if not target.exists() else target).unlink()
        cure = "try again; if it stays so, fetch it by hand"
        raise DataError(f"{archive.name} must be {archive.checksum}", value=got, cure=cure, place=place)
    if not target.exists():
        part.replace(target)


def _receive(url: str, part: Path) -> None:
    have = part.stat().st_size if part.exists() else 0
    request = urllib.request.Request(url, headers={"Range": f"bytes={have}-"} if have else {})
    try:
        response = urllib.request.urlopen(request, timeout=SECONDS)
    except urllib.error.HTTPError as error:
        if error.code == 416 and have:  # nothing is left to send
            return
        raise
    with response, part.open("ab" if have and response.status == 206 else "wb") as out:
        announced = response.headers.get("Content-Length")
        received = 0
        while block := response.read(BLOCK):
            out.write(block)
            received += len(block)
    if announced is not None and received < int(announced):
        raise OSError(f"the connection ended after {received} of {announced} bytes")


def _checksum(file: Path, algorithm: str) -> str:
    with file.open("rb") as stream:
        return f"{algorithm}:{hashlib.file_digest(stream, algorithm).hexdigest()}"


def extract(archive: Path, folder: Path, *, place: str) -> None:
    """Unpack a .zip or .tar(.gz) into ``folder``, all of it or nothing.

    Raises:
        DataError: the archive is broken, or holds a link, a device, or a path that leads out of the folder.
    """
    temporary = Path(tempfile.mkdtemp(prefix=f".{archive.name}.part-", dir=folder))
    try:
        (_unzip if zipfile.is_zipfile(archive) else _untar)(archive, temporary)
        for entry in sorted(temporary.iterdir()):
            if (folder / entry.name).exists():
                cure = "move it away"
                raise DataError("what is unpacked must not be there yet", value=str(folder / entry.name), cure=cure)
        for entry in sorted(temporary.iterdir()):
            entry.rename(folder / entry.name)
    except DataError as error:
        raise error.at(place) from None
    except (OSError, EOFError, zipfile.BadZipFile, tarfile.TarError, RuntimeError, ValueError) as error:
        cure = "fetch it again"
        raise DataError("the archive must be whole", value=f"{archive}: {error}", cure=cure, place=place) from None
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _check(name: str, ordinary: bool) -> None:
    path = PurePosixPath(name.replace("\\", "/"))
    drive = any(":" in part for part in path.parts[:1])
    if not ordinary or path.is_absolute() or ".." in path.parts or drive:
        rule = "an archive must hold files and folders below its own root, and nothing else"
        raise DataError(rule, value=repr(name), cure="don't use this archive")


def _unzip(file: Path, folder: Path) -> None:
    with zipfile.ZipFile(file) as archive:
        for member in archive.infolist():
            kind = stat.S_IFMT(member.external_attr >> 16)
            _check(member.filename, kind in (0, stat.S_IFREG, stat.S_IFDIR))
        archive.extractall(folder)


def _untar(file: Path, folder: Path) -> None:
    with tarfile.open(file) as archive:
        for member in archive:
            _check(member.name, member.isfile() or member.isdir())
        archive.extractall(folder, filter="data")
