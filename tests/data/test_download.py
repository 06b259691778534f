"""Downloads: resumed, checked, whole or not at all; archives that would write elsewhere are refused."""

from __future__ import annotations

import hashlib
import io
import re
import tarfile
import threading
import zipfile
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from mlcompare.data.download import Archive, ensure, extract, fetch
from mlcompare.errors import DataError

CONTENT = bytes(range(256)) * 40


class Server(BaseHTTPRequestHandler):
    """Serves CONTENT; breaks off after ``limit`` bytes of an answer, and honours ranges unless told otherwise."""

    limit: int | None = None
    ranges = True
    asked: list[str | None]

    def do_GET(self) -> None:
        cls = type(self)
        wanted = self.headers.get("Range")
        cls.asked.append(wanted)
        if self.path != "/data.bin":
            self.send_error(404)
            return
        start = int(re.fullmatch(r"bytes=(\d+)-", wanted)[1]) if wanted and cls.ranges else 0
        if start >= len(CONTENT):
            self.send_error(416)
            return
        body = CONTENT[start:]
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[: cls.limit])

    def log_message(self, *_args) -> None:
        pass


@pytest.fixture
def server():
    class Fresh(Server):
        pass

    Fresh.asked = []

    listening = HTTPServer(("127.0.0.1", 0), Fresh)
    thread = threading.Thread(target=listening.serve_forever, daemon=True)
    thread.start()
    Fresh.url = f"http://127.0.0.1:{listening.server_port}/data.bin"
    yield Fresh
    listening.shutdown()
    listening.server_close()


def archive(url: str, content: bytes = CONTENT) -> Archive:
    return Archive(url, f"sha256:{hashlib.sha256(content).hexdigest()}")


def test_a_broken_download_goes_on_where_it_broke(server, tmp_path: Path) -> None:
    server.limit = 3000
    with pytest.raises(DataError, match=r"ended after 3000 of 10240 bytes: .*; try again: it goes on"):
        fetch(archive(server.url), tmp_path / "data.bin", place="x")
    assert not (tmp_path / "data.bin").exists()
    server.limit = None
    fetch(archive(server.url), tmp_path / "data.bin", place="x")
    assert (tmp_path / "data.bin").read_bytes() == CONTENT
    assert server.asked == [None, "bytes=3000-"]
    assert [path.name for path in tmp_path.iterdir()] == ["data.bin"]


def test_a_server_without_ranges_and_a_part_that_is_whole(server, tmp_path: Path) -> None:
    (tmp_path / "data.bin.part").write_bytes(b"other")
    server.ranges = False
    fetch(archive(server.url), tmp_path / "data.bin", place="x")
    assert (tmp_path / "data.bin").read_bytes() == CONTENT
    (tmp_path / "data.bin").rename(tmp_path / "data.bin.part")
    server.ranges = True
    fetch(archive(server.url), tmp_path / "data.bin", place="x")
    assert (tmp_path / "data.bin").read_bytes() == CONTENT
    asked = len(server.asked)
    fetch(archive(server.url), tmp_path / "data.bin", place="x")
    assert len(server.asked) == asked, "what lies there whole is not fetched again"


def test_other_content_is_thrown_away(server, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"data.bin must be sha256:.*, got sha256:"):
        fetch(archive(server.url, b"what it should be"), tmp_path / "data.bin", place="x")
    assert list(tmp_path.iterdir()) == []


def test_no_server_and_no_file(server, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"x: the archive must be fetched, got Not Found"):
        fetch(archive(server.url.replace("data", "nothing")), tmp_path / "data.bin", place="x")
    with pytest.raises(DataError, match="must be fetched"):
        fetch(archive((tmp_path / "none.bin").as_uri()), tmp_path / "data.bin", place="x")


def zipped(path: Path, members: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w") as out:
        for name, content in members.items():
            out.writestr(name, content)
    return path


def tarred(path: Path, *members: tarfile.TarInfo) -> Path:
    with tarfile.open(path, "w:gz") as out:
        for member in members:
            out.addfile(member, io.BytesIO(b"x" * member.size))
    return path


def member(name: str, kind: bytes = tarfile.REGTYPE, target: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.size = kind, target, 1 if kind == tarfile.REGTYPE else 0
    return info


@pytest.mark.parametrize("name", ["../out", "a/../../out", "/out", "a/..\\..\\out", "C:/out"])
def test_paths_that_lead_out_are_refused(tmp_path: Path, name: str) -> None:
    inside = tmp_path / "inside"
    inside.mkdir()
    for file in (
        zipped(tmp_path / "a.zip", {"fine": b"1", name: b"2"}),
        tarred(tmp_path / "a.tgz", member("fine"), member(name)),
    ):
        with pytest.raises(DataError, match="below its own root"):
            extract(file, inside, place="x")
    assert list(inside.iterdir()) == []
    assert {path.name for path in tmp_path.iterdir()} == {"a.zip", "a.tgz", "inside"}


def test_links_and_devices_are_refused(tmp_path: Path) -> None:
    kinds = (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE)
    for number, kind in enumerate(kinds):
        with pytest.raises(DataError, match="files and folders"):
            extract(tarred(tmp_path / f"{number}.tgz", member("link", kind, "fine")), tmp_path, place="x")
    link = zipfile.ZipInfo("link")
    link.external_attr = 0o120777 << 16
    with zipfile.ZipFile(tmp_path / "l.zip", "w") as out:
        out.writestr(link, "/etc/passwd")
    with pytest.raises(DataError, match="files and folders"):
        extract(tmp_path / "l.zip", tmp_path, place="x")
    assert not (tmp_path / "link").exists()


def test_broken_archives_leave_nothing(tmp_path: Path) -> None:
    whole = tarred(tmp_path / "a.tgz", member("a/one"), member("a/two")).read_bytes()
    (tmp_path / "a.tgz").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "b.tgz").write_bytes(b"no archive")
    for name in ("a.tgz", "b.tgz"):
        with pytest.raises(DataError, match="x: the archive must be whole"):
            extract(tmp_path / name, tmp_path, place="x")
    assert {path.name for path in tmp_path.iterdir()} == {"a.tgz", "b.tgz"}
    zipped(tmp_path / "c.zip", {"a.tgz": b"1", "new": b"2"})
    with pytest.raises(DataError, match=r"must not be there yet, got .*a.tgz; move it away"):
        extract(tmp_path / "c.zip", tmp_path, place="x")
    assert not (tmp_path / "new").exists()


def test_ensure_fetches_only_when_told(tmp_path: Path) -> None:
    packed = zipped(tmp_path / "set.zip", {"set/list.txt": b"1"})
    known = [archive(packed.as_uri(), packed.read_bytes())]
    root = tmp_path / "data"
    with pytest.raises(DataError, match=r"must hold set/list.txt, got no such folder; unpack file.*download: true"):
        ensure(root, ["set/list.txt"], known, download=False, place="x")
    assert not root.exists()
    ensure(root, ["set/list.txt"], known, download=True, place="x")
    assert [path.name for path in root.iterdir()] == ["set"], "the archive is gone once it is unpacked"
    packed.unlink()
    ensure(root, ["set/list.txt"], known, download=True, place="x")
