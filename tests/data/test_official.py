"""Published image sets: read from tiny files of exactly their layout, with clear words for what is missing."""

from __future__ import annotations

import hashlib
import tarfile
import zipfile
from pathlib import Path

import joblib
import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat

from mlcompare.data import cub200, draw_splits, load_dataset
from mlcompare.data.download import Archive
from mlcompare.errors import DataError, InvalidValueError


def draw(path: Path, value: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (9, 7), (value,) * 3).save(path)


def make_cub(folder: Path, classes: int = 6, each: int = 3) -> Path:
    root = folder / "CUB_200_2011"
    images, labels, train, number = [], [], [], 0
    for bird in range(1, classes + 1):
        for photo in range(each):
            number += 1
            name = f"{bird:03d}.Bird_{bird}/Bird_{photo:04d}.png"
            draw(root / "images" / name, 10 * bird + photo)
            images.append(f"{number} {name}")
            labels.append(f"{number} {bird}")
            train.append(f"{number} {int(photo < 2)}")
    for name, lines in (("images", images), ("image_class_labels", labels), ("train_test_split", train)):
        (root / f"{name}.txt").write_text("\n".join(lines) + "\n")
    return root


def make_sop(folder: Path) -> Path:
    root = folder / "Stanford_Online_Products"
    number = 0
    for part, products in (("train", range(1, 5)), ("test", range(5, 9))):
        lines = ["image_id class_id super_class_id path"]
        for product in products:
            for photo in range(2):
                number += 1
                name = f"chair_final/{product}_{photo}.png"
                draw(root / name, 10 * product + photo)
                lines.append(f"{number} {product} 1 {name}")
        (root / f"Ebay_{part}.txt").write_text("\n".join(lines) + "\n")
    return root


def make_omniglot(folder: Path) -> Path:
    for part, alphabets in (("background", ("Latin", "Greek")), ("evaluation", ("Tibetan",))):
        for alphabet in alphabets:
            for character in (1, 2):
                for person in range(2):
                    name = f"images_{part}/{alphabet}/character{character:02d}/{character:04d}_{person:02d}.png"
                    draw(folder / name, 40 * person)
    return folder


def annotations(fields: dict[str, list]) -> np.ndarray:
    kinds = [(name, object) for name in fields]
    entries = np.empty((1, len(next(iter(fields.values())))), kinds)
    for name, values in fields.items():
        entries[name][0, :] = values
    return entries


CARS = [(f"{number:05d}.png", 1 + number % 4, number % 3 == 0) for number in range(12)]


def make_cars(folder: Path, devkit: bool) -> Path:
    if not devkit:
        names = [f"car_ims/{name}" for name, _, _ in CARS]
        fields = {"relative_im_path": names, "bbox_x1": [1] * 12, "class": [c for _, c, _ in CARS]}
        fields["test"] = [int(test) for _, _, test in CARS]
        savemat(folder / "cars_annos.mat", {"annotations": annotations(fields), "class_names": ["a", "b", "c", "d"]})
    else:
        (folder / "devkit").mkdir()
        names = [f"cars_{'test' if test else 'train'}/{name}" for name, _, test in CARS]
        for part, file in (("train", "cars_train_annos"), ("test", "cars_test_annos_withlabels")):
            chosen = [(name, number) for name, number, test in CARS if test == (part == "test")]
            fields = {"bbox_x1": [1] * len(chosen), "class": [c for _, c in chosen], "fname": [n for n, _ in chosen]}
            savemat(folder / "devkit" / f"{file}.mat", {"annotations": annotations(fields)})
    for row, name in enumerate(names):
        draw(folder / name, 10 * row)
    return folder


def test_cub200(tmp_path: Path) -> None:
    root = make_cub(tmp_path)
    data = load_dataset("cub200", path=str(root), size=4)
    assert data.samples.shape == (18, 3, 4, 4)
    assert data.class_names[0] == "001.Bird_1"
    assert data.labels.tolist() == np.repeat(np.arange(6), 3).tolist()
    assert data.samples[:, 0, 0, 0].tolist() == [10 * (1 + row // 3) + row % 3 for row in range(18)]
    assert data.split.tolist() == ["train"] * 9 + ["test"] * 9
    again = load_dataset("cub200", path=str(tmp_path), size=4, split="images")
    assert again.split.tolist() == ["train", "train", "test"] * 6
    assert again.fingerprint == data.fingerprint


def test_sop(tmp_path: Path) -> None:
    make_sop(tmp_path)
    data = load_dataset("sop", path=str(tmp_path), size=4, channels=1)
    assert data.samples.shape == (16, 1, 4, 4)
    assert data.class_names == tuple(map(str, range(1, 9)))
    assert data.split.tolist() == ["train"] * 8 + ["test"] * 8


def test_omniglot(tmp_path: Path) -> None:
    data = load_dataset("omniglot", path=str(make_omniglot(tmp_path)))
    assert data.samples.shape == (12, 1, 28, 28)
    assert "Greek/character01" in data.class_names
    assert set(data.labels[data.split == "test"]) == {data.class_names.index(f"Tibetan/character0{n}") for n in (1, 2)}


@pytest.mark.parametrize("devkit", [False, True])
def test_cars196(tmp_path: Path, devkit: bool) -> None:
    root = make_cars(tmp_path, devkit)
    data = load_dataset("cars196", path=str(root), size=4)
    rows = {int(value) // 10: row for row, value in enumerate(data.samples[:, 0, 0, 0])}
    assert data.class_names == ("1", "2", "3", "4")
    for number, (_, label, _) in enumerate(CARS):
        assert data.labels[rows[number]] == label - 1
        assert data.split[rows[number]] == ("train" if label <= 2 else "test")
    images = load_dataset("cars196", path=str(root), size=4, split="images")
    assert [images.split[rows[number]] == "test" for number in range(12)] == [test for _, _, test in CARS]


def test_olivetti_comes_from_scikit_learns_folder(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"photographs must be there.*download: true"):
        load_dataset("olivetti_faces", path=str(tmp_path))
    faces = np.random.default_rng(0).random((400, 4096)).astype(np.float32)
    joblib.dump(faces, tmp_path / "olivetti_py3.pkz")
    data = load_dataset("olivetti_faces", path=str(tmp_path))
    assert data.samples.shape == (400, 1, 64, 64)
    assert np.abs(data.samples[7, 0] - 255 * faces[7].reshape(64, 64).T).max() <= 0.51, (
        "columns first, as MATLAB has it"
    )
    assert np.bincount(data.labels).tolist() == [10] * 40
    assert load_dataset("olivetti_faces", path=str(tmp_path), size=16).samples.shape == (400, 1, 16, 16)
    (tmp_path / "olivetti_py3.pkz").write_bytes(b"broken")
    with pytest.raises(DataError, match="must be scikit-learn's"):
        load_dataset("olivetti_faces", path=str(tmp_path))


def test_official_test_classes_are_sealed(tmp_path: Path) -> None:
    make_cub(tmp_path, classes=12)
    data = load_dataset("cub200", path=str(tmp_path), size=4)
    splits = draw_splits(data.labels, test_classes="official", folds=2, official=data.split)
    assert set(data.labels[splits.test]) == set(range(6, 12))
    for fold in splits.folds:
        assert set(data.labels[fold.train]) | set(data.labels[fold.validation]) == set(range(6))
    images = load_dataset("cub200", path=str(tmp_path), size=4, split="images")
    with pytest.raises(DataError, match="must part classes, not samples, got 12 of 12 classes in both"):
        draw_splits(images.labels, test_classes="official", folds=2, official=images.split)
    with pytest.raises(DataError, match="need a dataset with an official split"):
        draw_splits(data.labels, test_classes="official")
    with pytest.raises(InvalidValueError, match="a share between 0 and 1, or official"):
        draw_splits(data.labels, test_classes="oficial")


def test_what_is_missing_or_broken_is_named(tmp_path: Path) -> None:
    def refused(name: str, rule: str, **options) -> None:
        with pytest.raises(DataError, match=rule):
            load_dataset(name, **{"path": str(tmp_path), **options})

    refused("cub200", r"must hold CUB_200_2011/images.txt.*unpack https.*CUB_200_2011.tgz there, or set download: true")
    refused("sop", "must hold Stanford_Online_Products/Ebay_train.txt")
    refused("omniglot", "must hold images_background, images_evaluation, got no images_background, images_evaluation")
    refused("cars196", "must hold cars_annos.mat, or devkit/cars_train_annos.mat.*got no cars_train_annos.mat")
    (tmp_path / "cars_annos.mat").write_bytes(b"no MATLAB file")
    refused("cars196", "cars_annos.mat: it must hold `annotations` with relative_im_path, class, test")
    root = make_cub(tmp_path)
    whole = (root / "images.txt").read_text()
    (root / "images.txt").write_text(whole.replace("2 001", "two 001", 1))
    refused("cub200", r"images.txt:2: each line must hold 2 values \(int, str\), got 'two 001")
    (root / "images.txt").write_text(whole.replace("1 001.Bird_1/", "1 ../", 1))
    refused("cub200", "stay in it, got '../Bird_0000.png'")
    (root / "images.txt").write_text("\n".join(whole.splitlines()[:-1]))
    refused("cub200", "must name the same images, got 17, 18 and 18")
    (root / "images.txt").write_text(whole)
    (root / "images" / "002.Bird_2" / "Bird_0001.png").unlink()
    refused("cub200", r"every listed image must be in .*, got 1 of 18 missing: 002.Bird_2/Bird_0001.png")
    for name in ("cub200", "cars196"):
        with pytest.raises(InvalidValueError, match="classes or images"):
            load_dataset(name, path=str(tmp_path), split="birds")
    make_omniglot(tmp_path)
    draw(tmp_path / "images_background" / "stray.png", 1)
    refused("omniglot", "must lie in images_background/alphabet/character, got images_background/stray.png")


def test_a_broken_image_is_unpacked_again(tmp_path: Path) -> None:
    make_cub(tmp_path, classes=4)
    broken = next(path for path in (tmp_path / "CUB_200_2011" / "images").rglob("*") if path.is_file())
    broken.write_bytes(b"cut")
    with pytest.raises(DataError, match=r"no image that Pillow knows.*unpack it again") as error:
        load_dataset("cub200", path=str(tmp_path), size=4)
    assert "skip_corrupt" not in str(error.value), "this reader has no such option"


def test_a_download_is_unpacked_and_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_cub(tmp_path / "there")
    with tarfile.open(tmp_path / "CUB_200_2011.tgz", "w:gz") as out:
        out.add(tmp_path / "there" / "CUB_200_2011", "CUB_200_2011")
    digest = hashlib.md5((tmp_path / "CUB_200_2011.tgz").read_bytes()).hexdigest()
    monkeypatch.setattr(cub200, "ARCHIVE", Archive((tmp_path / "CUB_200_2011.tgz").as_uri(), f"md5:{digest}"))
    data = load_dataset("cub200", path=str(tmp_path / "new"), size=4, download=True)
    assert len(data) == 18
    assert [path.name for path in (tmp_path / "new").glob("CUB*")] == ["CUB_200_2011"]


def test_omniglot_fetches_only_the_part_that_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from mlcompare.data import omniglot

    make_omniglot(tmp_path / "there")
    known = {}
    for part in omniglot.ARCHIVES:
        file = tmp_path / f"{part}.zip"
        with zipfile.ZipFile(file, "w") as out:
            for image in sorted((tmp_path / "there" / part).rglob("*.png")):
                out.write(image, image.relative_to(tmp_path / "there"))
        known[part] = Archive(file.as_uri(), f"sha256:{hashlib.sha256(file.read_bytes()).hexdigest()}")
    monkeypatch.setattr(omniglot, "ARCHIVES", known)
    root = tmp_path / "new"
    (tmp_path / "there" / "images_background").rename(root.with_name("kept"))
    root.mkdir()
    root.with_name("kept").rename(root / "images_background")
    (tmp_path / "images_background.zip").unlink()
    assert len(load_dataset("omniglot", path=str(root), download=True)) == 12
