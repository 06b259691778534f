"""Ten thousand malformed inputs each for the study reader, the dataset readers and the command line.

Each ends in an error of ours, or is read: never another exception, never a store, never a file left behind. A few
hundred run with the suite; the ten thousand are marked slow.
"""

from __future__ import annotations

import gzip
import io
import pickle
import shutil
import struct
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import scipy.io
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from PIL import Image

from mlcompare.cli import main
from mlcompare.data import load_dataset, read_pairs
from mlcompare.errors import MLCompareError
from mlcompare.study import make_plan, read_study
from tests.fuzz.mutations import HURTFUL, broken_bytes, broken_text

STUDIES = Path(__file__).parents[2] / "studies"
NUMBERS = pytest.mark.parametrize("number", [150, pytest.param(10_000, marks=pytest.mark.slow)])


def fuzz(number: int, strategy, check: Callable) -> int:
    """Check so many examples, the same ones each time; return how many there were."""
    seen = 0

    @settings(
        max_examples=number, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck),
        phases=[Phase.generate, Phase.shrink],
    )  # fmt: skip
    @given(strategy)
    def run(example) -> None:
        nonlocal seen
        seen += 1
        check(example)

    run()
    return seen


def refused(action: Callable) -> bool:
    """Whether it ends in an error of ours, with a rule; any other exception fails the test."""
    try:
        action()
    except MLCompareError as error:
        return bool(str(error).strip())
    return False


# ------------------------------------------------------------------------------------------------- study files

TEXTS = [path.read_text(encoding="utf-8") for path in sorted(STUDIES.glob("*.yaml"))]
SMALL = """name: small
dataset: digits
protocol: {kind: class_disjoint, test_classes: 0.4, folds: 2}
encoder: {name: linear, embedding_dim: 8}
training: {steps: 4, classes_per_batch: 3, samples_per_class: 4}
search: {trials: 3, parallel: 2, space: {lr: {low: 1e-4, high: 1e-2, log: true}}}
losses:
  contrastive:
  cosface: {margin: {low: 0.0, high: 0.5}, scale: 16}
  both: {sum: [{loss: arcface}, {loss: center_term, weight: {low: 1e-4, high: 1.0, log: true}}]}
  then: {stages: [{loss: softmax, share: 0.5}, {loss: triplet, share: 0.5}]}
"""


def with_a_character_less(whole: str) -> st.SearchStrategy[str]:
    """A slip of the finger, which often leaves a study that can be read."""
    return st.integers(0, len(whole) - 1).map(lambda place: whole[:place] + whole[place + 1 :])


@NUMBERS
def test_the_study_reader(number: int, tmp_path: Path) -> None:
    path, counts = tmp_path / "study.yaml", {"refused": 0, "read": 0, "planned": 0}

    def check(text: str) -> None:
        path.write_text(text, encoding="utf-8", errors="replace")
        study = None

        def read() -> None:
            nonlocal study
            study = read_study(path)

        counts["refused"] += refused(read)
        counts["read"] += study is not None
        if study is not None and study.dataset.name == "digits" and study.encoder.embedding_dim <= 1000:
            counts["planned"] += 1
            refused(lambda: make_plan(study, place=str(path)))

    check(SMALL)
    assert counts == {"refused": 0, "read": 1, "planned": 1}, (
        "the whole one is read: what is refused is so for its breaks"
    )
    texts = [*map(broken_text, [SMALL, SMALL, *TEXTS]), *map(with_a_character_less, [SMALL, *TEXTS])]
    assert fuzz(number, st.one_of(*texts), check) >= number
    assert counts["refused"] > number / 4
    assert counts["read"] > number / 40
    assert [file.name for file in tmp_path.iterdir()] == ["study.yaml"]


# ----------------------------------------------------------------------------------------------- dataset readers


def npz_file() -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, embeddings=np.arange(40, dtype=np.float32).reshape(8, 5), labels=np.arange(8) // 2)
    return buffer.getvalue()


def parquet_file(**columns) -> bytes:
    buffer = io.BytesIO()
    pd.DataFrame(columns).to_parquet(buffer, index=False)
    return buffer.getvalue()


def idx_file(array: np.ndarray) -> bytes:
    return bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()


def png_file(shade: int = 0) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.full((6, 6), shade, dtype=np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


def mat_file() -> bytes:
    kinds = [("relative_im_path", "O"), ("class", "O"), ("test", "O")]
    rows = np.array([[(f"car_ims/{n}.jpg", n % 2 + 1, n % 2) for n in range(4)]], dtype=kinds)
    buffer = io.BytesIO()
    scipy.io.savemat(buffer, {"annotations": rows, "class_names": np.array([["a", "b"]], dtype=object)})
    return buffer.getvalue()


def read_features(folder: Path, data: bytes, suffix: str) -> None:
    (folder / f"f{suffix}").write_bytes(data)
    load_dataset("features", path=str(folder / f"f{suffix}"))


def read_idx_set(folder: Path, data: bytes, broken: str) -> None:
    """Read train and t10k; ``broken`` names the file that holds ``data``."""
    images, labels = idx_file(IMAGES), idx_file(LABELS)
    for part in ("train", "t10k"):
        for name, whole in ((f"{part}-images-idx3-ubyte", images), (f"{part}-labels-idx1-ubyte", labels)):
            (folder / name).unlink(missing_ok=True)
            given = broken.removesuffix(".gz") == name
            (folder / (broken if given else name)).write_bytes(data if given else whole)
    load_dataset("idx", path=str(folder))


def read_folder(folder: Path, data: bytes, suffix: str) -> None:
    for name in ("a", "b"):
        (folder / "images" / name).mkdir(parents=True, exist_ok=True)
        (folder / "images" / name / "whole.png").write_bytes(png_file())
    (folder / "images" / "a" / f"broken{suffix}").write_bytes(data)
    load_dataset("image_folder", path=str(folder / "images"), size=4, cache=str(folder / "cache"))


def read_list(folder: Path, data: bytes, suffix: str) -> None:
    for name in ("a.png", "b.png"):
        (folder / name).write_bytes(png_file())
    (folder / f"list{suffix}").write_bytes(data)
    load_dataset("image_list", path=str(folder / f"list{suffix}"), size=4, cache=str(folder / "cache"))


def read_triplets(folder: Path, data: bytes, suffix: str) -> None:
    for name in ("a.png", "b.png", "c.png"):
        (folder / name).write_bytes(png_file())
    (folder / f"list{suffix}").write_bytes(data)
    load_dataset("triplet_list", path=str(folder / f"list{suffix}"), size=4, cache=str(folder / "cache"))


def read_cars(folder: Path, data: bytes) -> None:
    (folder / "car_ims").mkdir(exist_ok=True)
    for number in range(4):
        (folder / "car_ims" / f"{number}.jpg").write_bytes(png_file())
    (folder / "cars_annos.mat").write_bytes(data)
    load_dataset("cars196", path=str(folder), size=4, cache=str(folder / "cache"))


def read_tables(folder: Path, data: bytes, name: str) -> None:
    root = folder / "CUB_200_2011"
    (root / "images" / "1.a").mkdir(parents=True, exist_ok=True)
    (root / "images" / "1.a" / "x.jpg").write_bytes(png_file())
    (root / "images" / "1.a" / "y.jpg").write_bytes(png_file())
    tables = {"images.txt": b"1 1.a/x.jpg\n2 1.a/y.jpg\n", "image_class_labels.txt": b"1 1\n2 2\n",
              "train_test_split.txt": b"1 1\n2 0\n", "classes.txt": b"1 1.a\n2 2.b\n"}  # fmt: skip
    for file, text in (tables | {name: data}).items():
        (root / file).write_bytes(text)
    load_dataset("cub200", path=str(folder), size=4, cache=str(folder / "cache"))


def read_pair_list(folder: Path, data: bytes, suffix: str) -> None:
    for person in ("a", "b"):
        for photo in (1, 2):
            path = folder / "people" / person / f"{person}_{photo:04d}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            if not path.exists():
                path.write_bytes(png_file(photo))
    (folder / f"pairs{suffix}").write_bytes(data)
    people = load_dataset("image_folder", path=str(folder / "people"), size=4, cache=str(folder / "cache"))
    read_pairs(str(folder / f"pairs{suffix}"), people)


IMAGES = np.arange(3 * 16, dtype=np.uint8).reshape(3, 4, 4)
LABELS = np.array([0, 1, 0], dtype=np.uint8)
COLUMNS = {"x": [1.0, 2.0, 3.0, 4.0], "y": [0.5, 1.5, 2.5, 3.5], "label": ["a", "a", "b", "b"]}
READERS: dict[str, tuple[bytes, Callable[[Path, bytes], None]]] = {
    "features.npz": (npz_file(), lambda f, d: read_features(f, d, ".npz")),
    "features.parquet": (parquet_file(**COLUMNS), lambda f, d: read_features(f, d, ".parquet")),
    "idx images": (idx_file(IMAGES), lambda f, d: read_idx_set(f, d, "train-images-idx3-ubyte")),
    "idx labels": (idx_file(LABELS), lambda f, d: read_idx_set(f, d, "t10k-labels-idx1-ubyte")),
    "idx.gz": (
        gzip.compress(idx_file(IMAGES), mtime=0), lambda f, d: read_idx_set(f, d, "train-images-idx3-ubyte.gz"),
    ),
    "folder.png": (png_file(7), lambda f, d: read_folder(f, d, ".png")),
    "triplets.csv": (
        b"anchor,positive,negative\na.png,b.png,c.png\n", lambda f, d: read_triplets(f, d, ".csv"),
    ),
    "triplets.parquet": (
        parquet_file(anchor=["a.png"], positive=["b.png"], negative=["c.png"]),
        lambda f, d: read_triplets(f, d, ".parquet"),
    ),
    "list.csv": (b"path,label,split\na.png,x,train\nb.png,y,test\n", lambda f, d: read_list(f, d, ".csv")),
    "list.parquet": (
        parquet_file(path=["a.png", "b.png"], label=["x", "y"]), lambda f, d: read_list(f, d, ".parquet"),
    ),
    "cars.mat": (mat_file(), read_cars),
    "cub images": (b"1 1.a/x.jpg\n2 1.a/y.jpg\n", lambda f, d: read_tables(f, d, "images.txt")),
    "pairs.txt": (b"1\t1\na\t1\t2\na\t1\tb\t2\n", lambda f, d: read_pair_list(f, d, ".txt")),
    "pairs.bin": (
        pickle.dumps(([png_file(), png_file(9)] * 2, [True, False])), lambda f, d: read_pair_list(f, d, ".bin"),
    ),
}  # fmt: skip


@NUMBERS
def test_the_dataset_readers(number: int, tmp_path: Path) -> None:
    """All readers together see ``number`` broken files; each folder stands alone."""
    each = -(-number // (len(READERS) - 1))
    total = 0
    for name, (whole, read) in READERS.items():
        folder = tmp_path / name.replace(" ", "_")
        folder.mkdir()
        read(folder, whole)  # the whole file is read: what is refused below is refused for its breaks
        count = 0

        def check(data: bytes, read: Callable = read, folder: Path = folder) -> None:
            nonlocal count
            count += refused(lambda: read(folder, data))
            shutil.rmtree(folder / "cache", ignore_errors=True)

        share = each if name != "cars.mat" else max(12, each // 20)  # each of these is read in a process of its own
        total += fuzz(share, broken_bytes(whole), check)
        assert count > share / 10, name
    assert total >= number


# ------------------------------------------------------------------------------------------------ command line

COMMANDS = [
    "run", "check", "schema", "results", "report", "dashboard", "export", "embed", "losses", "cite", "datasets",
    "doctor", "list", "show",
]  # fmt: skip
OPTIONS = """--store --trials --steps --seeds --executor --workers --device --tracking-uri --extend --ray-address
--gpus-per-job --timeout --populations --format -f --out --far --fold --host --port --family --provider --rebuild --help
--version json csv table cosface arcface metric in-process processes cuda -1 0 1 0.5 none.yaml broken.yaml .
/dev/null -- - 🙂"""
WORDS = [*COMMANDS, *OPTIONS.split(), *HURTFUL[:12], "a store", "a" * 300]


@NUMBERS
def test_the_command_line(number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a store").mkdir()
    codes: dict[int, int] = {}

    def check(example: tuple[list[str], str]) -> None:
        arguments, text = example
        arguments = [word for word in arguments if word != "--debug"]
        (tmp_path / "broken.yaml").write_text(text, encoding="utf-8", errors="replace")
        before = sorted(path.name for path in tmp_path.rglob("*"))
        errors = io.StringIO()
        with redirect_stdout(io.StringIO()), redirect_stderr(errors):
            try:
                main(arguments)
                code = 0
            except SystemExit as end:
                code = end.code or 0
        codes[code] = codes.get(code, 0) + 1
        assert code in (0, 1, 2), (arguments, code)
        assert "Traceback" not in errors.getvalue()
        if code:
            assert sorted(path.name for path in tmp_path.rglob("*")) == before, arguments

    # a study that can't run: whatever its other lines say, its dataset is a file that isn't there
    text = broken_text(SMALL).map(lambda t: t.replace("digits", "no_such_dataset").replace("orl_faces", "nor_this"))
    commands = st.tuples(st.sampled_from(COMMANDS), st.lists(st.sampled_from(WORDS), max_size=5))
    arguments = commands.map(lambda pair: [pair[0], *pair[1]]) | st.lists(st.sampled_from(WORDS), max_size=6)
    assert fuzz(number, st.tuples(arguments, text), check) >= number
    assert codes.get(2, 0) > number / 3
