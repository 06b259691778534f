"""The card as a page for people who were not there: what the model is, on what, how sure, and what it can't say."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from mlcompare.data import Dataset, Splits
from mlcompare.export.threshold import told_threshold
from mlcompare.study.config import StudyConfig

__all__ = ["README", "model_readme"]

README = "README.md"
FEW_CLASSES = 50  # sealed classes below which scores move much with the classes drawn

PROTOCOLS = {
    "class_disjoint": "tested on {classes} classes ({samples} samples) that no training saw",
    "closed_set": "tested on {samples} new samples of the {classes} classes that it was trained on",
    "verification_pairs": "tested on listed pairs of {samples} samples of {classes} classes that no training saw",
}


def model_readme(card: Mapping[str, Any], config: StudyConfig, dataset: Dataset, splits: Splits) -> str:
    """Return a model card in Markdown: use, data, training, scores, threshold, limits, licence.

    Args:
        card: what ``card.json`` holds.
        config: the study's.
        dataset, splits: what was read for it; the splits are those that the model was trained with.
    """
    parts = {
        f"{card['study']}: an encoder trained with {_code(card['loss'])}": _opening(card),
        "Use": _use(card),
        "Data": _data(card, config, dataset, splits),
        "Training": _training(card, config),
        "Scores": _scores(card, splits, dataset),
        "Threshold": _threshold(card),
        "Limits": _limits(card, dataset, splits),
        "Licence": _licence(config, dataset),
    }
    sections = [("# " if number == 0 else "## ") + title for number, title in enumerate(parts)]
    return "\n\n".join(f"{title}\n\n" + "\n".join(lines) for title, lines in zip(sections, parts.values())) + "\n"


def _code(text: str) -> str:
    return "`" + " ".join(text.replace("`", "'").split()) + "`"


def _opening(card: Mapping[str, Any]) -> Iterator[str]:
    shape, dim = card["input"]["shape"], card["encoder"]["embedding_dim"]
    if len(shape) == 3:
        colours = "grey" if shape[0] == 1 else "colour"
        taken = f"images in {colours} of {shape[1]} × {shape[2]} pixels (height × width; others are resized)"
    else:
        taken = f"{shape[0]} features"
    yield f"It turns {taken} into embeddings of {dim} numbers, whose cosines say how alike two samples are."
    yield "Made with " + ", ".join(f"{name} {version}" for name, version in card["versions"].items()) + "."


def _use(card: Mapping[str, Any]) -> Iterator[str]:
    images = len(card["input"]["shape"]) == 3
    inputs = ("photos/", "photo.png", "other.png") if images else ("table.parquet", "one.npz", "other.npz")
    yield "```console"
    yield f"$ mlcompare embed . {inputs[0]} --out embeddings.npz"
    yield f"$ mlcompare neighbours . {inputs[0]} {inputs[1]}"
    yield f"$ mlcompare verify . {inputs[1]} {inputs[2]}"
    yield "```"
    files = [name for name in ("model.pt2", "model.onnx") if name in card["files"]]
    if files:
        stored = "pixels from 0 to 255" if images else "features as in the study's table"
        listed = " and ".join(f"`{name}`" for name in files)
        verb = "run" if len(files) > 1 else "runs"
        yield f"{listed} {verb} without mlcompare: float32 samples (N, {', '.join(map(str, card['input']['shape']))}),"
        yield f"{stored}, in; embeddings as the encoder makes them out. Divide each by its length for cosines."


def _data(card: Mapping[str, Any], config: StudyConfig, dataset: Dataset, splits: Splits) -> Iterator[str]:
    credit = f" Credit: {dataset.credit}." if dataset.credit else ""
    yield f"{_code(dataset.name)}: {len(dataset)} samples of {len(dataset.class_names)} classes.{credit}"
    if "refit" in card:
        yield f"Trained on {card['refit']['samples']} of them, all that are not sealed."
    else:
        trained = len(splits.folds[card["fold"]].train)
        yield f"Trained on {trained} of them, those of fold {card['fold']} of {config.protocol.folds}."
    if config.corruption.label_noise or config.corruption.imbalance > 1:
        yield "The study made the training samples of its folds worse on purpose (wrong labels, a long tail)."
    yield from (f"- {' '.join(note.split())}" for note in dataset.notes)


def _training(card: Mapping[str, Any], config: StudyConfig) -> Iterator[str]:
    values = ", ".join(f"{name} = {_number(value)}" for name, value in card["hyperparameters"].items())
    training, refit = config.training, card.get("refit", {})
    steps = refit.get("steps") or card["hyperparameters"].get("steps") or training.steps
    batch = training.classes_per_batch * training.samples_per_class
    yield f"The loss {_code(card['loss'])} ({card['family']}) with {values}: chosen by `{config.search.objective}` on"
    yield f"validation samples, among {config.search.trials} settings. {steps} steps of {batch} samples; the encoder is"
    yield f"{_code(card['encoder']['name'])}."


def _number(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value).lower() if isinstance(value, bool) else str(value)


def _scores(card: Mapping[str, Any], splits: Splits, dataset: Dataset) -> Iterator[str]:
    labels = dataset.labels[splits.test]
    yield f"It was {PROTOCOLS[splits.kind].format(classes=len(np.unique(labels)), samples=len(labels))}, and scored:"
    yield ""
    yield "| metric | value |"
    yield "|---|---|"
    yield from (f"| {name} | {value:.3f} |" for name, value in card["sealed_test_metrics"].items())
    yield ""
    yield "These are of this one encoder; the study's report has those of all folds and seeds, with intervals."


def _threshold(card: Mapping[str, Any]) -> Iterator[str]:
    told = told_threshold(card["threshold"])
    yield from (f"- {sentence[0].upper()}{sentence[1:]}." for sentence in told)
    if card["threshold"]["cosine"] is None:
        yield f"- None for a false accept rate of {card['threshold']['far']:g}: there are too few pairs to tell."


def _limits(card: Mapping[str, Any], dataset: Dataset, splits: Splits) -> Iterator[str]:
    sealed = len(np.unique(dataset.labels[splits.test]))
    yield "- The samples that it was tested on come from the same data: other cameras, places or times were not tried."
    if sealed < FEW_CLASSES and splits.kind != "closed_set":
        yield f"- {sealed} sealed classes are few: other classes may score differently."
    if splits.kind == "closed_set":
        yield "- It was tested on classes that it knows: nothing is said of new ones."
    yield "- Nothing was measured about groups within the data, of people say: a mean may hide who is served worse."
    measured_on = card["threshold"]["measured_on"]
    yield f"- The threshold is read off {measured_on}: where classes look more alike, it accepts more."


def _licence(config: StudyConfig, dataset: Dataset) -> Iterator[str]:
    pretrained = config.encoder.weights is not None or bool(config.encoder.options.get("pretrained"))
    yield "Not stated: it follows from the licence of the data" + (
        ", and from that of the weights that training started from." if pretrained else "."
    )
    if dataset.credit:
        yield f"The data are to be credited: {dataset.credit}."
