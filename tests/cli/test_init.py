"""``mlcompare init`` on data of every shape: a study that the check accepts, or a refusal that says what to do."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from contextlib import suppress
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from PIL import Image

from mlcompare.comparison import load_results
from mlcompare.data.survey import survey
from mlcompare.errors import DataError, MLCompareError
from mlcompare.study import StudyConfig, make_plan, read_study, run_study
from mlcompare.study.estimate import Costs
from mlcompare.study.proposal import budget
from tests.cli.test_cli import call
from tests.data.test_idx import write_set

MINUTES = 0.01  # the least study, whatever the machine is doing


@pytest.fixture(autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """The schema for editors goes into the user's cache: of the test, not of who runs it."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))


def draw(root: Path, classes: int, samples: int, *, size: tuple[int, int] = (9, 8), colour: bool = False) -> Path:
    """Images of noise in class folders; ``size`` is (width, height) as Pillow has it."""
    rng = np.random.default_rng(len(str(root)))
    for label in range(classes):
        (root / f"c{label:02}").mkdir(parents=True, exist_ok=True)
        for number in range(samples):
            shape = (*size[::-1], 3) if colour else size[::-1]
            Image.fromarray(rng.integers(0, 255, shape, dtype=np.uint8)).save(root / f"c{label:02}" / f"{number}.png")
    return root


def list_of(root: Path, ending: str) -> Path:
    """A list of images in colour, with a file that is none and one that is there twice."""
    draw(root, 18, 3, colour=True)
    (root / "c00" / "0.png").write_bytes(b"no image")
    shutil.copy(root / "c01" / "0.png", root / "c02" / "0.png")
    files = sorted(root.rglob("*.png"))
    table = pd.DataFrame({"path": [str(f.relative_to(root)) for f in files], "label": [f.parent.name for f in files]})
    path = root / f"list.{ending}"
    table.to_csv(path, index=False) if ending == "csv" else table.to_parquet(path, index=False)
    return path


def folder(root: Path) -> Path:
    return draw(root / "things", 20, 4)


def train_and_test(root: Path) -> Path:
    for part, samples in (("train", 6), ("val", 2), ("test", 2)):
        draw(root / "things" / part, 5, samples)
    return root / "things"


def train_and_new_classes(root: Path) -> Path:
    draw(root / "things" / "train", 12, 4)
    for label, path in enumerate(sorted(draw(root / "new", 6, 4).iterdir())):
        shutil.move(path, root / "things" / "test" / f"n{label}")
    return root / "things"


def three_classes(root: Path) -> Path:
    return draw(root / "things", 3, 12, size=(40, 30))


def uneven(root: Path) -> Path:
    """As an archive leaves it: folder in folder, an empty class, a long tail."""
    inner = draw(root / "things" / "things-v1", 20, 2)
    draw(inner / "many", 1, 60)
    (inner / "nothing").mkdir()
    return root / "things"


def csv_list(root: Path) -> Path:
    return list_of(root / "things", "csv")


def parquet_list(root: Path) -> Path:
    return list_of(root / "things", "parquet")


def features(root: Path) -> Path:
    rng, labels = np.random.default_rng(0), np.repeat(np.arange(20), 6)
    columns = {f"f{i}": rng.normal(size=120) for i in range(5)}
    more = {"id": np.arange(120), "note": ["text"] * 120, "label": [f"kind {label}" for label in labels]}
    pd.DataFrame({**columns, **more}).to_parquet(root / "things.parquet", index=False)
    return root / "things.parquet"


def many_classes(root: Path) -> Path:
    rng = np.random.default_rng(0)
    np.savez(root / "things.npz", embeddings=rng.normal(size=(200_000, 4)), labels=np.repeat(np.arange(100_000), 2))
    return root / "things.npz"


def idx_files(root: Path) -> Path:
    (root / "things").mkdir()
    write_set(root / "things", ending=".gz")
    return root / "things"


SHAPES: dict[Callable[[Path], Path], dict] = {  # what the study must say
    folder: {
        "dataset": {"name": "image_folder", "path": "things", "size": [8, 9], "channels": 1},
        "protocol": {"kind": "class_disjoint", "test_classes": 0.4, "folds": 2},
        "training": {"classes_per_batch": 6, "samples_per_class": 4},
    },
    train_and_test: {"protocol": {"kind": "closed_set", "folds": 4}, "search": {"objective": "accuracy"}},
    train_and_new_classes: {"protocol": {"kind": "class_disjoint", "test_classes": "official", "folds": 2}},
    three_classes: {"protocol": {"kind": "closed_set", "test_share": 0.2, "folds": 4}, "dataset": {"size": [24, 32]}},
    uneven: {"dataset": {"path": "things/things-v1", "allow_empty": True}, "protocol": {"kind": "class_disjoint"}},
    csv_list: {"dataset": {"name": "image_list", "channels": 3, "skip_corrupt": True}},
    parquet_list: {"dataset": {"name": "image_list", "path": "things/list.parquet", "channels": 3}},
    features: {
        "dataset": {"name": "features", "path": "things.parquet", "ignore": ["note", "id"]},
        "encoder": {"name": "linear", "embedding_dim": 8},
    },
    many_classes: {"protocol": {"kind": "class_disjoint", "test_classes": 0.05, "folds": 4}},
    idx_files: {"dataset": {"name": "idx", "path": "things"}, "protocol": {"kind": "closed_set", "folds": 2}},
}


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape.__name__)
def test_data_of_every_shape_get_a_study_that_the_check_accepts(
    shape: Callable[[Path], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    monkeypatch.chdir(tmp_path)
    path, out = shape(tmp_path), Path("study.yaml")
    files = sorted(tmp_path.rglob("*"))
    code, printed, err = call(capsys, "init", path, "--minutes", MINUTES, "--out", out)
    assert (code, err) == (0, "")
    assert f"next: mlcompare check {out}, then mlcompare run {out}" in printed
    config = read_study(out)
    for section, expected in SHAPES[shape].items():
        given = config.model_dump()[section]
        assert {key: given[key] for key in expected} == expected
    made = [file for file in tmp_path.rglob("*") if file not in files]
    assert made == [tmp_path / out], "nothing else is written beside the data: images are looked at, not decoded"
    plan = make_plan(config)
    assert {loss.entry.family for loss in plan.losses.values()} == {"metric", "margin"}
    first, *lines = out.read_text(encoding="utf-8").splitlines()
    assert first.startswith("# yaml-language-server: $schema=file://")
    schema = json.loads(Path(first.partition("=file://")[2]).read_text(encoding="utf-8"))
    assert Draft202012Validator(schema).is_valid(json.loads(config.model_dump_json()))
    assert max(map(len, [first, *lines][1:])) <= 120
    keys = [(above, line) for above, line in pairwise(lines) if line.startswith("  ") and not line.endswith(":")]
    assert all("#" in line or above.startswith("  #") for above, line in keys), "every key has its reason"


def test_a_proposed_study_runs(tmp_path: Path, capsys) -> None:
    path, out = folder(tmp_path), tmp_path / "study.yaml"
    assert call(capsys, "init", path, "--minutes", MINUTES, "--out", out)[0] == 0
    run_study(out, tmp_path / "store", executor="in-process")
    table = load_results(tmp_path / "store")
    assert set(table.loc[table["kind"] == "final", "loss"]) == {"softmax", "trihard"}
    assert set(table.loc[table["kind"] == "final", "status"]) == {"ok"}


def test_what_is_odd_is_said(tmp_path: Path) -> None:
    from mlcompare.study.proposal import seen

    told = "\n".join(seen(survey(csv_list(tmp_path / "a"))))
    assert "in colour (all opened)" in told
    assert "1 of the 54 files that were opened can't be read: c00/0.png (no image that Pillow knows)" in told
    assert "1 file is a copy of another, in 1 case of another class: c01/0.png = c02/0.png" in told
    told = "\n".join(seen(survey(uneven(tmp_path / "b"))))
    assert "2 to 60 samples a class, 2 in the median; a long tail" in told
    assert "1 folder holds no image" in told
    told = "\n".join(seen(survey(train_and_test(tmp_path / "c"))))
    assert "an official split: 10 test, 30 train, 10 validation; test has the classes of training" in told
    (tmp_path / "d").mkdir()
    told = "\n".join(seen(survey(features(tmp_path / "d"))))
    assert "no features: `note` holds no numbers; `id` counts the rows" in told


def empty(root: Path) -> Path:
    (root / "things").mkdir()
    return root / "things"


def text(root: Path) -> Path:
    (root / "things.txt").write_text("no data")
    return root / "things.txt"


def archive(root: Path) -> Path:
    (root / "things.zip").write_bytes(b"PK")
    return root / "things.zip"


def csv_of_features(root: Path) -> Path:
    pd.DataFrame({"a": [1.0], "label": ["x"]}).to_csv(root / "things.csv", index=False)
    return root / "things.csv"


def broken(root: Path) -> Path:
    (root / "things.npz").write_bytes(b"no zip")
    return root / "things.npz"


def all_broken(root: Path) -> Path:
    for file in draw(root / "things", 8, 3).rglob("*.png"):
        file.write_bytes(b"")
    return root / "things"


def half_a_split(root: Path) -> Path:
    draw(root / "things" / "train", 8, 3)
    draw(root / "things" / "val", 8, 3)
    return root / "things"


def unlabelled_test(root: Path) -> Path:
    draw(root / "things" / "train", 8, 3)
    shutil.move(draw(root / "new", 1, 3) / "c00", root / "things" / "test")
    return root / "things"


def beside_a_table(root: Path) -> Path:
    draw(root, 1, 3)
    (root / "c00" / "labels.csv").write_text("path,label\n0.png,a\n")
    return root / "c00"


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda root: root / "nothing", "there must be a folder or a file, got nothing there"),
        (empty, "must hold class folders with images, got an empty folder"),
        (text, "data that a study can read, got things.txt; give a folder of images"),
        (archive, "got an archive; unpack it"),
        (lambda root: draw(root / "things", 1, 2) / "c00" / "0.png", "got one image; give the folder above"),
        (lambda root: draw(root / "things", 30, 1), "two samples or more, got one sample in each of 30 classes"),
        (lambda root: draw(root / "things", 1, 30), "by telling classes apart, got 1 class"),
        (lambda root: draw(root / "things", 4, 2), "fewer than 6 classes need 3 samples each"),
        (csv_of_features, "must list images: `path` and `label`, got a, label; save it as .parquet"),
        (broken, "must be a whole .npz"),
        (all_broken, "images must be readable, got none of 24"),
        (half_a_split, "an official split has folders train and test, got train and val alone"),
        (unlabelled_test, "as those of training, got none of test; give"),
        (beside_a_table, "images must lie in class folders, got labels.csv; give the table"),
    ],
)
def test_what_gives_no_study_is_refused_in_one_line(make, reason: str, tmp_path: Path, capsys) -> None:
    code, _, err = call(capsys, "init", make(tmp_path), "--minutes", MINUTES, "--out", tmp_path / "study.yaml")
    assert (code, err.count("\n")) == (2, 1)
    assert reason in err
    assert not (tmp_path / "study.yaml").exists()


def test_a_study_file_that_is_there_stays(tmp_path: Path, capsys) -> None:
    path, out = folder(tmp_path), tmp_path / "study.yaml"
    out.write_text("mine")
    code, _, err = call(capsys, "init", path, "--out", out)
    assert (code, out.read_text()) == (2, "mine")
    assert "choose another --out, or write over it with --overwrite" in err
    assert call(capsys, "init", path, "--out", out, "--minutes", MINUTES, "--overwrite")[0] == 0
    assert read_study(out).name == "things"
    assert "no folder" in call(capsys, "init", path, "--out", tmp_path / "none" / "study.yaml")[2]
    assert "must be above 0" in call(capsys, "init", path, "--out", tmp_path / "b.yaml", "--minutes", "-1")[2]


@pytest.mark.parametrize("name", ["1e3", "a: b", "null", "#x", "Füße 蛙", "tab\tand\nline", '"q"', "-x"])
def test_a_folder_of_any_name_is_found_again(name: str, tmp_path: Path) -> None:
    from mlcompare.study.proposal import Proposal, study_text

    plain = StudyConfig(name="n", dataset="digits", losses={"softmax": None})
    empty: dict[str, dict] = {key: {} for key in ("protocol", "encoder", "training", "search", "final")}
    study = {"name": "n", "question": "", "decision_rule": "", "dataset": {"name": "image_folder", "path": name}}
    study |= {**empty, "losses": {"softmax": None}}
    lines = study_text(Proposal(study, {}, 1, 1), [f"seen {name}"], "study.yaml").splitlines()
    kept = [line for line in lines if line.removesuffix(":") not in empty]
    (tmp_path / "study.yaml").write_text("\n".join(kept), encoding="utf-8")
    config = read_study(tmp_path / "study.yaml")
    assert config.dataset.options["path"] == name
    assert config.losses == plain.losses


def test_more_minutes_buy_more_and_never_too_much() -> None:
    timed = budget.Timed(Costs(0.1, 0.01, 0.2, 0), along=1.0, test=2.0, folds=4, baselines=10, workers=2)
    found = [budget.fit_budget(timed, minutes, samples=1000, batch=32) for minutes in (0.1, 1, 5, 15, 60, 600)]
    for before, after in pairwise(found):
        assert before.tier <= after.tier
        assert before.minutes <= after.minutes
    for minutes, chosen in zip((1, 5, 15, 60, 600), found[1:]):
        assert chosen.minutes <= minutes
        assert chosen.minutes == pytest.approx(timed.seconds(
            len(chosen.losses), chosen.trials, chosen.seeds, chosen.steps) / 60)  # fmt: skip
    assert found[0].tier == 0
    assert found[0].minutes > 0.1


def test_the_sealed_share_shrinks_with_the_data() -> None:
    from mlcompare.data.survey import Survey
    from mlcompare.study.proposal.protocol import choose_protocol

    def share(classes: int, samples: int) -> float:
        labels = np.repeat(np.arange(classes), samples)
        found = Survey("features", Path("x"), labels, tuple(map(str, range(classes))))
        return choose_protocol(found).section["test_classes"]

    assert [share(*size) for size in ((40, 10), (1000, 10), (1000, 100), (20, 100_000))] == [0.5, 0.5, 0.1, 0.4]


def test_a_folder_that_contains_itself_is_refused(tmp_path: Path) -> None:
    (draw(tmp_path / "things", 2, 2) / "c00" / "again").symlink_to(tmp_path / "things")
    with pytest.raises(DataError, match="must not contain itself"):
        survey(tmp_path / "things")


def test_the_study_is_found_from_any_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    data = folder(tmp_path)
    (tmp_path / "elsewhere").mkdir()
    for out in (tmp_path / "beside.yaml", data / "inside.yaml", tmp_path / "elsewhere" / "far.yaml"):
        monkeypatch.chdir(data)
        assert call(capsys, "init", ".", "--minutes", MINUTES, "--out", out)[0] == 0
        monkeypatch.chdir(tmp_path / "elsewhere")
        assert len(make_plan(read_study(out)).data.dataset) == 80


def test_without_a_cache_there_is_a_study_all_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert call(capsys, "init", folder(tmp_path), "--minutes", MINUTES, "--out", tmp_path / "study.yaml")[0] == 0
    assert "$schema" not in (tmp_path / "study.yaml").read_text(encoding="utf-8")
    assert read_study(tmp_path / "study.yaml").name == "things"


def test_images_lie_as_their_tag_says(tmp_path: Path, capfd) -> None:
    """Turned by a quarter, and with a tag that is broken: sizes are those of the pictures as shown, without a word."""
    turned = Image.Exif()
    turned[0x0112] = 6
    for label in "ab":
        (tmp_path / label).mkdir()
        for number in range(3):
            image = Image.fromarray(np.full((20, 40, 3), 40 * number, np.uint8))
            image.save(tmp_path / label / f"{number}.jpg", exif=turned)
        image.save(tmp_path / label / "broken.jpg", exif=b"Exif\0\0MM\0*\xff\xff\xff\xff nonsense")
    sizes = survey(tmp_path).images.sizes.tolist()
    assert sorted(map(tuple, sizes)) == [(20, 40)] * 2 + [(40, 20)] * 6
    assert capfd.readouterr() == ("", "")


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    name=st.sampled_from(["x.csv", "x.parquet", "x.npz", "train-images-idx3-ubyte", "x.zip", "x", "x.png", "x.bin"]),
    start=st.sampled_from([b"", b"path,label\n", b"PAR1", b"PK\x03\x04", b"\0\0\x08\x03", b"\x1f\x8b"]),
    rest=st.binary(max_size=60),
)
def test_bytes_of_any_kind_raise_only_our_errors(tmp_path: Path, name: str, start: bytes, rest: bytes) -> None:
    for folder in (tmp_path / "a", tmp_path / "b" / "class"):
        folder.mkdir(parents=True, exist_ok=True)
        for file in folder.iterdir():
            file.unlink()
        (folder / name).write_bytes(start + rest)
    for path in (tmp_path / "a" / name, tmp_path / "a", tmp_path / "b"):
        with suppress(MLCompareError):
            survey(path)
