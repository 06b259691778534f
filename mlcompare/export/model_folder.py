"""A winner as a folder: weights, a program that runs without this package, and a card that says what it is."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mlcompare.data import Dataset, Splits
from mlcompare.data.hints import hint
from mlcompare.encoders import create_encoder
from mlcompare.errors import DataError, InvalidValueError, StoreError
from mlcompare.export.onnx_file import ONNX, check_onnx, save_onnx
from mlcompare.export.readme import README, model_readme
from mlcompare.export.refit import development_splits
from mlcompare.export.refit import refit as retrained
from mlcompare.export.standardized import Standardized, on_frozen
from mlcompare.export.threshold import measure_threshold
from mlcompare.export.winner import Winner, find_winner
from mlcompare.files import check_folder, publish_folder
from mlcompare.study.config import StudyConfig, validated
from mlcompare.study.feature_scale import scaled
from mlcompare.study.study_data import study_dataset, study_splits
from mlcompare.training.frozen import frozen_encoder, frozen_features
from mlcompare.training.prepare import Standardizer
from mlcompare.training.pretrained import load_weights

__all__ = ["CARD", "PROGRAM", "WEIGHTS", "Exported", "export_model"]

CARD, WEIGHTS, PROGRAM = "card.json", "weights.pt", "model.pt2"
FORMAT = 1
READING = ("class_of", "skip_corrupt", "max_pixels")  # options of readers of images that `embed` reads by too
REFIT = (
    "trained on all development samples (--refit), so no validation samples are left: the threshold is read off the "
    "sealed ones, and may accept more on others"
)
RULE, CURE = "the folder must be writable", "name another with --out"
RESAMPLED = {"orl_faces": "box"}  # how a reader reduced its images, where not bilinear


@dataclass(frozen=True)
class Exported:
    """What :func:`export_model` wrote, and what a person should know about it."""

    path: Path
    card: dict[str, Any]
    notes: tuple[str, ...]


def export_model(
    store: str | Path, loss: str, out: str | Path, *, far: float = 1e-3, fold: int = 0,
    data: str | Path | None = None, refit: bool = False, onnx: bool = False,
) -> Exported:  # fmt: skip
    """Write the encoder that a loss's selected setting trained to the folder ``out``, whole or not at all.

    Args:
        far: the false accept rate that the card's threshold keeps. The threshold is read off the validation samples of
            the fold, which the encoder never saw; what it does on the sealed test samples is stated beside it.
        fold: whose encoder; each fold has one, of the first seed.
        data: where the study's data are now, if not where they were; their content is checked.
        refit: train the setting once more, on all development classes, instead of taking a fold's encoder. No sample is
            left then to read the threshold off but the sealed ones; the card says so.
        onnx: write ``model.onnx`` too (the extra ``[onnx]``).

    Raises:
        StoreError: the store is missing or unfinished, its dataset has moved or changed, or ``out`` exists or
            can't be written.
        UnknownNameError: the study has no such loss.
        InvalidValueError: ``far`` or ``fold`` is out of its range, or ``onnx`` can't be written.
    """
    if not 0 < far < 1:
        raise InvalidValueError("`0 < far < 1` must hold", value=f"far={far}", cure="1e-3 is usual")
    store, out = Path(store).expanduser(), Path(out).expanduser()
    if out.exists():
        raise StoreError("the folder must not exist yet", value="it does", cure="name another", place=str(out))
    check_folder(out.parent, RULE, cure=CURE, place=out, made=True)
    if onnx:
        check_onnx()
    winner = find_winner(store, loss, fold)
    winner = winner if data is None else replace(winner, config=_moved(winner.config, data))
    dataset, splits = _data(winner, store)
    if refit:
        splits = development_splits(splits)
        winner, state = retrained(winner, _trained_on(winner, dataset), splits, store)
        model = _model(winner, dataset, splits.folds[0].train, state)
        threshold, notes = measure_threshold(model, dataset, splits.test, far, of="sealed test samples")
        notes += [REFIT]
    else:
        model = _model(winner, dataset, splits.folds[fold].train, _state(winner))
        validation, of = splits.folds[fold].validation, f"validation samples of fold {fold}"
        threshold, notes = measure_threshold(model, dataset, validation, far, of=of, sealed=splits.test)
    card = _card(winner, dataset, model) | {"threshold": threshold}
    temporary = out.with_name(f".{out.name}.{os.getpid()}.tmp")
    try:
        temporary.mkdir(parents=True)
        torch.save({k: v.detach().clone() for k, v in model.encoder.state_dict().items()}, temporary / WEIGHTS)
        fault = _save_program(model, dataset.sample_shape, temporary / PROGRAM)
        card["files"] = [CARD, WEIGHTS] if fault else [CARD, WEIGHTS, PROGRAM]
        notes += [f"no {PROGRAM}: torch.export could not trace this encoder ({fault})"] if fault else []
        if onnx:
            save_onnx(model, dataset.sample_shape, temporary / ONNX)
            card["files"].append(ONNX)
        card["files"].append(README)
        page = model_readme(card, winner.config, dataset, splits)
        (temporary / README).write_text(page, encoding="utf-8")
        text = json.dumps(card, indent=1, ensure_ascii=False, allow_nan=False)
        (temporary / CARD).write_text(text + "\n", encoding="utf-8")
        publish_folder(temporary, out)
    except OSError as error:
        raise StoreError(RULE, value=error.strerror, cure=CURE, place=str(out)) from None
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return Exported(out, card, tuple(notes))


def _data(winner: Winner, store: Path) -> tuple[Dataset, Splits]:
    """Read the study's dataset again: the standardisation and the threshold are measured on it."""
    _check_present(winner.config, store)
    dataset = study_dataset(winner.config)
    if _trained_on(winner, dataset).fingerprint != winner.known["dataset"]:
        cure = "say with --data PATH where the data are now, or bring them (and the weights of a frozen encoder) back"
        place = f"{store}: {winner.config.dataset.name}"
        raise StoreError("the dataset must be the study's", value="other contents", cure=cure, place=place)
    splits = study_splits(winner.config, dataset)
    if splits.hash != winner.known["splits"]:
        cure = "export with the version that ran the study"
        raise StoreError("the splits must be the study's", value="another draw", cure=cure, place=str(store))
    return dataset, splits


def _moved(config: StudyConfig, data: str | Path) -> StudyConfig:
    """Return the study with its data at another path."""
    if "path" not in config.dataset.options:
        cure = f"leave out --data: {config.dataset.name} brings its data"
        raise InvalidValueError("--data needs a dataset with a path", value=str(data), cure=cure)
    dump = config.model_dump()
    dump["dataset"]["path"] = str(data)
    return validated(dump, "--data")


def _check_present(config: StudyConfig, store: Path) -> None:
    """Say which of the files that a study names has moved, before a reader says what it thinks of nothing."""
    named = {"protocol.pairs": config.protocol.pairs, "encoder.weights": config.encoder.weights}
    for key, path in {"dataset.path": config.dataset.options.get("path"), **named}.items():
        if isinstance(path, str) and not Path(path).expanduser().exists():
            cure = "say where the data are now with --data PATH" if key == "dataset.path" else "bring the file back"
            rule = f"{key} must be where it was when the study was run"
            raise StoreError(
                rule, value=f"nothing at {path}", cure="; ".join(filter(None, (hint(path), cure))), place=str(store)
            )


def _frozen(winner: Winner, dataset: Dataset) -> dict[str, Any]:
    """The arguments that the study's frozen encoder was made with."""
    section, rows = winner.config.encoder, study_splits(winner.config, dataset).development
    weights = {"weights": section.weights, "statistics": section.statistics}
    return {"name": section.name, "options": section.options, "rows": rows, **weights}


def _trained_on(winner: Winner, dataset: Dataset) -> Dataset:
    """The dataset, or its features where the study's encoder is frozen."""
    section = winner.config.encoder
    return scaled(frozen_features(dataset, **_frozen(winner, dataset)) if section.frozen else dataset, section)


def _state(winner: Winner) -> dict[str, Tensor]:
    """The weights that the final training left."""
    try:
        return torch.load(winner.weights, weights_only=True, map_location="cpu")
    except Exception as error:  # torch, pickle and zipfile each have errors of their own
        value = f"{type(error).__name__}: {error}".splitlines()[0]
        raise StoreError("the weights must be readable", value=value, place=str(winner.weights)) from None


def _model(winner: Winner, dataset: Dataset, trained: np.ndarray, state: dict[str, Tensor]) -> Standardized:
    """The encoder with its weights, and what it was fed with: measured on the rows that it was ``trained`` on."""
    section, data = winner.config.encoder.trained, _trained_on(winner, dataset)
    encoder = create_encoder(
        section.name, input_shape=data.sample_shape, embedding_dim=section.embedding_dim, **section.options
    )
    load_weights(encoder, section.weights, section.statistics)
    try:
        encoder.load_state_dict(state)
    except Exception as error:  # torch has several errors of its own
        value = f"{type(error).__name__}: {error}".splitlines()[0]
        raise StoreError("the weights must fit the encoder", value=value, place=str(winner.weights)) from None
    measured = Standardizer.of(encoder, data, trained, "cpu")
    model = Standardized(encoder, measured.mean, measured.inverse)
    if winner.config.encoder.frozen:
        body, standardize = frozen_encoder(dataset, **_frozen(winner, dataset))
        model = Standardized(on_frozen(body, model), standardize.mean, standardize.inverse)
    return model.eval()


def _card(winner: Winner, dataset: Dataset, model: Standardized) -> dict[str, Any]:
    section, record = winner.config.encoder, winner.record
    head = {"head": {"name": section.trained.name, "options": section.trained.options}} if section.frozen else {}
    if dataset.is_images and dataset.sample_shape[0] not in (1, 3):
        raise DataError("images must have one channel or three", value=str(dataset.sample_shape), place=dataset.name)
    return {
        "format": FORMAT,
        "study": winner.config.name,
        "loss": record["loss"],
        "family": record["family"],
        "hyperparameters": record["hyperparameters"],
        "trial": record["trial"],
        "fold": record["fold"],
        "seed": record["seed"],
        **({"refit": record["refit"]} if "refit" in record else {}),
        "encoder": {"name": section.name, "embedding_dim": section.embedding_dim, "options": section.options, **head},
        "input": {
            "kind": "images" if dataset.is_images else "features",
            "shape": list(dataset.sample_shape),
            "resample": RESAMPLED.get(dataset.name, "bilinear"),
            "range": "pixels from 0 to 255" if dataset.is_images else "as in the study's table",
            **_reading(winner.config, dataset),
            "mean": model.mean.flatten().tolist(),
            "std": (1 / model.inverse).flatten().tolist(),
        },
        "similarity": "cosine",
        "output": "embeddings as the encoder makes them: cosines are dot products of embeddings at length 1",
        "sealed_test_metrics": record["metrics"],
        "dataset": {"name": dataset.name, "fingerprint": dataset.fingerprint},
        "splits": winner.known["splits"],
        "versions": winner.known["versions"],
    }


def _reading(config: StudyConfig, dataset: Dataset) -> dict[str, Any]:
    """What else decides how `embed` reads samples: names and order of columns, depth, options of the reader."""
    options = {key: config.dataset.options[key] for key in READING if key in config.dataset.options}
    told: dict[str, Any] = {"columns": None if dataset.columns is None else list(dataset.columns), "bits": dataset.bits}
    return {key: value for key, value in (told | {"reading": options or None}).items() if value is not None}


def _save_program(model: Standardized, shape: tuple[int, ...], path: Path) -> str | None:
    """Save ``model`` as a torch.export program for any batch; return why that failed, or None."""
    try:
        batch = torch.export.Dim("batch")
        program = torch.export.export(model, (torch.zeros(2, *shape),), dynamic_shapes=({0: batch},))
        torch.export.save(program, path)
    except Exception as error:  # whatever an encoder does that can't be traced
        path.unlink(missing_ok=True)
        return f"{type(error).__name__}: {error}".splitlines()[0]
    return None
