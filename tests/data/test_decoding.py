"""Images as they come: depths in 16-bit containers, what decoders warn of, sizes without a limit, paths with slips."""

from __future__ import annotations

import struct
import sys
import unicodedata
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mlcompare.data import Dataset, load_dataset
from mlcompare.data.hints import nearby
from mlcompare.data.images import measured_bits, read_image, readable_endings
from mlcompare.errors import DataError, InvalidValueError

RAMP = np.linspace(0, 255, 16).astype(np.uint8).reshape(4, 4)


def folder(root: Path, **options) -> Dataset:
    return load_dataset("image_folder", **{"path": str(root), "size": 4, "channels": 1, **options})


def deep(path: Path, bits: int, share: float = 1.0) -> None:
    """Write a ramp of a depth, up to a share of its range, in a container of 16 bits."""
    path.parent.mkdir(parents=True, exist_ok=True)
    values = (RAMP.astype(np.float64) / 255 * share * (2**bits - 1)).astype(np.uint16)
    if path.suffix == ".pgm":
        path.write_bytes(b"P5\n4 4\n65535\n" + values.astype(">u2").tobytes())
    else:
        Image.fromarray(values).save(path)


@pytest.mark.parametrize("bits", [8, 10, 12, 14, 16])
@pytest.mark.parametrize("ending", ["png", "tiff", "pgm", "jp2"])
def test_depths_in_containers_of_sixteen_bits_are_scaled_by_the_datas_range(tmp_path, bits: int, ending: str) -> None:
    deep(tmp_path / "x" / "a" / f"1.{ending}", bits, share=0.5)  # of the range of all images, not of its own
    deep(tmp_path / "x" / "b" / f"2.{ending}", bits)
    for _first_and_again in range(2):
        data = folder(tmp_path / "x")
        assert np.abs(data.samples[1, 0].astype(int) - RAMP).max() <= 1
        assert np.abs(data.samples[0, 0].astype(int) - RAMP // 2).max() <= 1
        told = [note for note in data.notes if "bits" in note]
        assert told == ([] if bits == 16 else [f"16-bit grey images hold values below {2**bits} only: they are read as "
                                               f"{bits} bits"])  # fmt: skip
        assert data.bits == bits


@pytest.mark.parametrize("highest", [1023, 4095, 50000, 65535])
@pytest.mark.parametrize("plain", [False, True])
def test_a_pgm_says_how_high_it_goes(tmp_path: Path, highest: int, plain: bool) -> None:
    values = (RAMP.astype(np.int64) * highest // 255).astype(">u2")
    header = f"{'P2' if plain else 'P5'}\n4 4\n{highest}\n".encode()
    (tmp_path / "x" / "a").mkdir(parents=True)
    body = " ".join(map(str, values.ravel())).encode() if plain else values.tobytes()
    (tmp_path / "x" / "a" / "1.pgm").write_bytes(header + body)
    assert np.abs(folder(tmp_path / "x").samples[0, 0].astype(int) - RAMP).max() <= 1
    assert np.abs(read_image(tmp_path / "x" / "a" / "1.pgm", (4, 4), channels=1)[0].astype(int) - RAMP).max() <= 1


def test_the_depth_is_measured_only_where_there_are_such_images(tmp_path: Path) -> None:
    (tmp_path / "x" / "a").mkdir(parents=True)
    Image.fromarray(RAMP).save(tmp_path / "x" / "a" / "1.png")
    assert (folder(tmp_path / "x").bits, folder(tmp_path / "x").notes) == (None, ())
    deep(tmp_path / "x" / "a" / "2.png", 12)
    (tmp_path / "x" / "a" / "3.png").write_bytes(b"broken")
    data = folder(tmp_path / "x", skip_corrupt=True)
    assert np.array_equal(data.samples[0, 0], RAMP), "images of eight bits stay as they are"
    assert (data.bits, measured_bits([])) == (12, 8)


def palette(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.new("P", (4, 4))
    image.putdata((RAMP % 3).ravel().tolist())
    image.putpalette([0, 0, 0, 100, 100, 100, 200, 200, 200])
    image.save(path, transparency=bytes([0, 128, 255]))


def test_what_decoders_warn_of_is_counted_with_a_file(tmp_path: Path, capfd: pytest.CaptureFixture, recwarn) -> None:
    for number in range(3):
        palette(tmp_path / "x" / "a" / f"{number}.png")
    for _first_and_again in range(2):
        (note,) = folder(tmp_path / "x").notes
        assert note.startswith("decoders warned of images that are read all the same: 3 × Palette images")
        assert "a/0.png, …" in note
    assert not recwarn.list
    assert capfd.readouterr().err == ""


def test_colours_of_sixteen_bits_are_told(tmp_path: Path) -> None:
    (tmp_path / "x" / "a").mkdir(parents=True)
    header = struct.pack(">IIBBBBB", 2, 1, 16, 2, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(b"\0" + np.full(6, 4095, ">u2").tobytes())), (b"IEND", b""))
    content = b"".join(struct.pack(">I", len(d)) + k + d + struct.pack(">I", zlib.crc32(k + d)) for k, d in chunks)
    (tmp_path / "x" / "a" / "1.png").write_bytes(b"\x89PNG\r\n\x1a\n" + content)
    (tmp_path / "x" / "a" / "2.ppm").write_bytes(b"P6\n2 1\n65535\n" + np.full(6, 4095, ">u2").tobytes())
    (tmp_path / "x" / "a" / "3.ppm").write_bytes(b"P6\n2 1\n4095\n" + np.full(6, 4095, ">u2").tobytes())
    data = folder(tmp_path / "x", channels=3)
    assert data.samples.max((1, 2, 3)).tolist() == [15, 16, 255], "Pillow gives no more of them"
    (note,) = data.notes
    assert "2 × colours of 16 bits are read by their upper 8: data of fewer bits come out dark: a/1.png, …" in note


def test_what_libtiff_says_is_caught(tmp_path: Path, capfd: pytest.CaptureFixture) -> None:
    drawn = np.random.default_rng(0).integers(0, 255, (64, 64), dtype=np.uint8)
    (tmp_path / "x" / "a").mkdir(parents=True)
    Image.fromarray(drawn).save(tmp_path / "x" / "a" / "1.tif", compression="tiff_lzw")
    whole = bytearray((tmp_path / "x" / "a" / "1.tif").read_bytes())
    whole[200:260] = bytes(value ^ 0x5A for value in whole[200:260])
    (tmp_path / "x" / "a" / "2.tif").write_bytes(whole)
    with pytest.raises(DataError, match=r"a/2.tif \(broken: decoder error "):
        folder(tmp_path / "x")
    assert capfd.readouterr().err == ""


def test_files_that_are_left_out_are_counted_by_reason(tmp_path: Path) -> None:
    (tmp_path / "x" / "a").mkdir(parents=True)
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (40, 40), dtype=np.uint8)).save(tmp_path / "1.png")
    whole = (tmp_path / "1.png").read_bytes()
    for number in range(2):
        (tmp_path / "x" / "a" / f"cut{number}.png").write_bytes(whole[:600])
    (tmp_path / "x" / "a" / "no.jpg").write_bytes(b"text")
    (tmp_path / "x" / "a" / "gone.png").symlink_to("nowhere.png")
    (tmp_path / "x" / "a" / "ok.png").write_bytes(whole)
    for _first_and_again in range(2):
        (note,) = folder(tmp_path / "x", skip_corrupt=True).notes
        assert note.startswith(
            "4 files that can't be decoded were left out (skip_corrupt): 2 × cut short: a/cut0.png, …;"
        )
        assert "1 × does not exist: a/gone.png" in note
        assert "1 × no image that Pillow knows: a/no.jpg" in note


def bomb(path: Path, side: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("1", (side, side)).save(path)


@pytest.mark.parametrize("reader", ["image_folder", "image_list"])
def test_pillows_limit_of_pixels_has_a_sentence_and_an_option(tmp_path: Path, monkeypatch, reader: str) -> None:
    bomb(tmp_path / "x" / "a" / "1.png", 30)
    bomb(tmp_path / "x" / "a" / "2.png", 40)
    (tmp_path / "x.csv").write_text("path,label\nx/a/1.png,a\nx/a/2.png,a\n")
    path = {"image_folder": tmp_path / "x", "image_list": tmp_path / "x.csv"}[reader]
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 600)
    with pytest.raises(DataError, match=r"got 1 of 2: (x/)?a/2.png \(more pixels than Pillow's limit.*max_pixels: …"):
        load_dataset(reader, path=str(path), size=4, channels=1)
    data = load_dataset(reader, path=str(path), size=4, channels=1, max_pixels=1600)
    assert (len(data), data.notes) == (2, ())
    with pytest.raises(DataError, match=r"a/2.png \(more pixels than max_pixels: 40 × 40"):
        load_dataset(reader, path=str(path), size=4, channels=1, max_pixels=1599)
    notes = load_dataset(reader, path=str(path), size=4, channels=1, skip_corrupt=True).notes
    assert "1 × more pixels than Pillow's limit: " in notes[0]
    assert "1 × Image size (900 pixels)" in notes[1], "Pillow warns from its limit on, and refuses from its double"
    for wrong in (0, 1.5, "many", True):
        with pytest.raises(InvalidValueError, match="`max_pixels` must be"):
            load_dataset(reader, path=str(path), max_pixels=wrong)
    assert Image.MAX_IMAGE_PIXELS == 600


@pytest.mark.parametrize("ending", [".wmf", ".emf"])
def test_what_only_windows_decodes_is_no_image(ending: str) -> None:
    assert (ending in readable_endings()) == hasattr(Image.core, "drawwmf")


def test_pixels_of_32_bits_are_still_refused(tmp_path: Path) -> None:
    Image.fromarray(np.arange(16, dtype=np.float32).reshape(4, 4)).save(tmp_path / "x.tif")
    with pytest.raises(DataError, match="32 bits have no agreed range"):
        read_image(tmp_path / "x.tif", (4, 4), channels=1)


def test_a_missing_file_does_not_exist(tmp_path: Path) -> None:
    Image.fromarray(RAMP).save(tmp_path / "1.png")
    (tmp_path / "x.csv").write_text("path,label\n1.png,a\n2.png,b\n")
    with pytest.raises(DataError, match=r"every image must exist, got 1 of 2: 2.png \(does not exist\)"):
        load_dataset("image_list", path=str(tmp_path / "x.csv"))
    with pytest.raises(DataError, match="the file must exist"):
        read_image(tmp_path / "2.png", (4, 4), channels=1)


APART = unicodedata.normalize("NFD", "größe")
SLIPS = [
    ("sub/1.png", "sub\\1.png"), ("sub/1.png", " sub/1.png"), ("sub/1.png", "sub/1.png "), ("sub/1.png", "Sub/1.PNG"),
    ("größe/1.png", f"{APART}/1.png"), (f"{APART}/1.png", "größe/1.png"), ("sub /1.png", "sub/1.png"),
    ("a/größe/1.png", f"a\\{APART}\\1.png"),
]  # fmt: skip


@pytest.mark.skipif(sys.platform == "darwin", reason="its file systems find names in another case or Unicode form")
@pytest.mark.parametrize(("there", "written"), SLIPS)
def test_a_path_with_a_slip_is_told_what_was_meant(tmp_path: Path, there: str, written: str) -> None:
    (tmp_path / there).parent.mkdir(parents=True)
    Image.fromarray(RAMP).save(tmp_path / there)
    (tmp_path / "x.csv").write_text(f'path,label\n"{written}",a\n', encoding="utf-8")
    with pytest.raises(DataError) as error:
        load_dataset("image_list", path=str(tmp_path / "x.csv"))
    assert f"did you mean {there!r}?" in str(error.value.cure)
    with pytest.raises(DataError, match="did you mean") as error:
        load_dataset("image_folder", path=str(tmp_path / Path(there).parent) + " ")
    assert str(tmp_path / Path(there).parent) in str(error.value.cure)
    assert nearby(tmp_path / "other" / there) is None


def test_every_reader_finds_the_home_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "x" / "a").mkdir(parents=True)
    Image.fromarray(RAMP).save(tmp_path / "x" / "a" / "1.png")
    (tmp_path / "x" / "list.csv").write_text("path,label\na/1.png,a\n")
    np.savez(tmp_path / "x.npz", features=RAMP.astype(float), labels=[0, 0, 1, 1])
    assert len(load_dataset("image_folder", path="~/x", size=4, cache="~/kept")) == 1
    assert len(load_dataset("image_list", path="~/x/list.csv", size=4)) == 1
    assert len(load_dataset("features", path="~/x.npz")) == 4
    assert (tmp_path / "kept").is_dir()
    assert not Path("~").exists()


def test_what_is_told_of_a_broken_file_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "x.bmp").write_bytes(b"BM" + struct.pack("<IHHIIiiHHII", 99, 0, 0, 54, 40, 9, 9, 1, 24, 9, 0))
    with pytest.raises(DataError) as error:
        read_image(tmp_path / "x.bmp", (4, 4), channels=1)
    assert "\n" not in str(error.value)
