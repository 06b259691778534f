"""What Arrow lists against what Python does, whatever lies in a folder; few files are listed without it."""

import os
import socket
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mlcompare.data import listing
from mlcompare.data.listing import Listing, listings

linux = pytest.mark.skipif(sys.platform != "linux", reason="names as bytes, sockets and links")


@pytest.fixture(autouse=True, params=["with Arrow", "without"])
def way(request, monkeypatch):
    monkeypatch.setattr(listing, "AT_ONCE", 2 if request.param == "with Arrow" else 5000)


def plain(folder):
    """An independent listing, a file at a time."""
    found = Listing()
    for path in sorted(Path(folder).iterdir(), key=lambda path: path.name):
        there, is_folder = path.exists(), path.is_dir()
        found.names.append(path.name)
        found.sizes.append(0 if is_folder else path.stat().st_size if there else -1)
        found.modified.append(path.stat().st_mtime_ns if there else 0)
        found.folders.append(is_folder)
    return found


def test_files_folders_and_links_are_told_apart(tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "file.png").write_bytes(b"123")
    (tmp_path / "nothing.png").write_bytes(b"")
    (tmp_path / "link").symlink_to("empty")
    (tmp_path / "linked.png").symlink_to("file.png")
    os.utime(tmp_path / "file.png", ns=(0, -1_234_567_891))
    (found,) = listings([str(tmp_path)])
    assert found == plain(tmp_path)
    assert found.names == ["empty", "file.png", "link", "linked.png", "nothing.png"]
    assert found.folders == [True, False, True, False, False]
    assert [found.sizes[row] for row in (1, 3, 4)] == [3, 3, 0]
    assert found.modified[1] == -1_234_567_891


def test_a_link_to_nothing_is_listed(tmp_path):
    (tmp_path / "gone.png").symlink_to("nowhere.png")
    (tmp_path / "here.png").write_bytes(b"1")
    (found,) = listings([str(tmp_path)])
    assert (found.names, found.sizes, found.folders) == (["gone.png", "here.png"], [-1, 1], [False, False])


@linux
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(names=st.sets(st.binary(min_size=1, max_size=12).filter(lambda n: b"/" not in n and b"\0" not in n), max_size=6))
def test_names_are_what_the_system_has(tmp_path_factory, names):
    folder = tmp_path_factory.mktemp("names")
    made = names - {b".", b".."}
    for name in made:
        with open(os.path.join(os.fsencode(folder), name), "wb") as out:
            out.write(name)
    (found,) = listings([str(folder)])
    assert found == plain(folder)
    assert sorted(map(os.fsencode, found.names)) == sorted(made)


@linux
def test_a_socket_is_no_folder(tmp_path):
    with socket.socket(socket.AF_UNIX) as opened:
        opened.bind(str(tmp_path / "s.png"))
        (found,) = listings([str(tmp_path)])
    assert found.folders == [False]


def test_a_path_that_looks_like_an_address_is_a_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "rel:x").mkdir()
    (tmp_path / "rel:x" / "a.png").write_bytes(b"1")
    (found,) = listings(["rel:x"])
    assert found.names == ["a.png"]


def test_what_cannot_be_listed_is_an_error_of_the_system(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    for name, error in (("nowhere", FileNotFoundError), ("file", NotADirectoryError)):
        with pytest.raises(error) as caught:
            listings([str(tmp_path / name)])
        assert caught.value.filename == str(tmp_path / name)


def test_folders_come_in_the_order_asked_for_however_files_were_written(tmp_path):
    folders = [tmp_path / str(number) for number in range(20)]
    for folder in folders:
        folder.mkdir()
    for turn in range(3):  # the files of a folder don't lie together on the disk
        for number, folder in enumerate(folders[::-1] if turn % 2 else folders):
            (folder / f"{turn}.png").write_bytes(b"1" * (number + turn))
    found = listings([str(folder) for folder in folders])
    assert found == [plain(folder) for folder in folders]
    assert [len(one.names) for one in found] == [3] * 20


def test_a_link_that_leads_nowhere_is_one_to_nothing(tmp_path):
    (tmp_path / "file").write_bytes(b"1")
    for name, to in (("a.png", "a.png"), ("b.png", "file/below"), ("c.png", "c.png")):  # itself; below a file
        (tmp_path / name).symlink_to(to)
    (found,) = listings([str(tmp_path)])
    assert (found.names, found.sizes) == (["a.png", "b.png", "c.png", "file"], [-1, -1, -1, 1])


def test_a_file_that_goes_while_listed_counts_as_gone(tmp_path, monkeypatch):
    for number in range(3):
        (tmp_path / f"{number}.png").write_bytes(b"1")
    asked = listing._about

    def late(paths):
        (tmp_path / "1.png").unlink()
        return asked(paths)

    monkeypatch.setattr(listing, "_about", late)
    (found,) = listings([str(tmp_path)])
    assert (found.names, found.sizes) == (["0.png", "1.png", "2.png"], [1, -1, 1])
