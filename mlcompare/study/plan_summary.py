"""The plan of a study in words: its data, what is searched, and how many trainings that makes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table
from rich.text import Text

from mlcompare.encoders import create_encoder
from mlcompare.search.proposals import published_trials
from mlcompare.study.data_notes import data_notes
from mlcompare.study.feature_scale import scale_note
from mlcompare.study.nested import is_nested
from mlcompare.study.plan import LossPlan, StudyPlan
from mlcompare.study.spaces import batches_asked_for, samples_classes, search_start
from mlcompare.training import TrainingConfig
from mlcompare.training.freeze import freeze
from mlcompare.training.pretrained import used_weights

__all__ = ["print_outline"]

SAID = frozenset({  # of the training's keys, those that the plan always says
    "steps", "classes_per_batch", "samples_per_class", "sampler", "optimizer", "schedule", "augment", "evaluations",
    "select", "lr", "weight_decay", "head_lr_ratio", "head_weight_decay",
})  # fmt: skip


def print_outline(plan: StudyPlan, console: Console) -> None:
    """Print the plan of a study."""
    counts, dataset, splits = plan.count(), plan.data.dataset, plan.data.splits
    console.print(f"{plan.config.name}: {plan.config.question}".rstrip(": "), soft_wrap=True, markup=False)
    console.print(
        f"{dataset.name}: {len(dataset)} samples of {len(dataset.class_names)} classes, {dataset.sample_shape}; "
        f"{len(splits.test)} samples sealed, {len(splits.folds)} folds (splits {splits.hash[:12]})",
        soft_wrap=True,
        markup=False,
    )
    for note in [*data_notes(plan.data), *scale_note(plan.config, plan.data)]:
        console.print(f"note: {note}", soft_wrap=True, markup=False)
    if plan.corrupted():
        console.print(f"training samples are corrupted: {plan.corrupted()} (fold 0)", soft_wrap=True, markup=False)
    for line in _resolved(plan):
        console.print(line, soft_wrap=True, markup=False)
    if dataset.cached is not None:
        size = sum(file.stat().st_size for file in dataset.cached.iterdir()) / 2**20
        told = f"decoded images are kept for the next time in {dataset.cached.parent} ({size:.1f} MB; `dataset.cache`)"
        console.print(told, soft_wrap=True, markup=False)
    table = Table("loss", "family", "dimensions", "searched")
    for name, loss in plan.losses.items():
        table.add_row(Text(name), loss.entry.family, str(len(loss.dimensions)), Text(_searched(loss)))
    console.print(table)
    for name, loss in plan.losses.items():
        left_out = published_trials(loss.space, loss.entry.published)[1]
        if left_out:
            setting, reason = left_out[0]
            told = ", ".join(f"{key}={value:.4g}" for key, value in setting.items())
            which = f"{len(left_out)} published settings are not tried, {told} for one" if left_out[1:] else ""
            which = which or f"the published {told} is not tried"
            console.print(f"{name}: {which}: {reason}", soft_wrap=True, markup=False)
    console.print(
        f"{counts['trial']} trainings in the search, at most {counts['final']} at the end, "
        f"{counts['baseline']} baselines"
    )
    if is_nested(plan.config):
        parts = plan.config.protocol.outer_folds
        console.print(f"nested: all of this {parts} times, with another part of the classes sealed each time")


def _resolved(plan: StudyPlan) -> Iterator[str]:
    """Say what every training is, defaults too: what the file doesn't say stands here."""
    config, training, encoder = plan.config, plan.training, plan.encoder
    built = create_encoder(
        encoder.name, input_shape=plan.data.dataset.sample_shape, embedding_dim=encoder.embedding_dim, **encoder.options
    )
    freeze(built, encoder.freeze)
    weights = sum(parameter.numel() for parameter in built.parameters())
    learning = sum(parameter.numel() for parameter in built.parameters() if parameter.requires_grad)
    learn = "" if learning == weights else f", {learning:,} of which learn" if learning else ", none of which learn"
    options = "".join(f", {key} {value}" for key, value in encoder.options.items())
    frozen = f" on a frozen {config.encoder.name}" if config.encoder.frozen else ""
    yield f"encoder: {encoder.name}{frozen}{options}, {encoder.embedding_dim} dimensions, {weights:,} weights{learn}"
    if encoder.weights is not None:
        yield f"weights: {used_weights(built, encoder.weights)}"
    if encoder.batch_norm != "train":
        yield f"batch norm: {encoder.batch_norm}"
    places, samples = training.classes_per_batch, training.samples_per_class
    augment = ", ".join(f"{name} {value:g}" for name, value in training.augment.items()) or "none"
    yield (
        f"training: {training.steps} steps of {places} classes × {samples} samples ({training.sampler}), "
        f"{training.optimizer}, schedule {training.schedule}, augmentation {augment}; curve at {training.evaluations} "
        f"points, weights of the {training.select} step"
    )
    usual = TrainingConfig()
    own = [name for name in TrainingConfig.model_fields if name not in SAID and _differs(training, usual, name)]
    if own:
        yield "also: " + ", ".join(f"{name} {getattr(training, name)}" for name in own)
    yield from _of_no_use(plan, learning)
    search, final = config.search, config.final
    over = {False: "no racing", "early": "racing over folds, early", "steps": "racing over steps"}
    racing = over.get(search.racing, "racing over folds")
    learns = any(loss.earlier for loss in plan.losses.values())  # else published settings stand in for priors
    start = "published" if search_start(config) == "priors" and not learns else search_start(config)
    starts = {"priors": "what situations of other data tell", "published": "published settings"}
    told = starts.get(start, "its own trials alone")
    yield (
        f"search: {search.trials} trials a loss, {search.parallel} at a time, by {search.objective}, after the paper's "
        f"setting by {told}, {racing}; "
        f"then {len(plan.folds)} folds × {final.seeds} seeds of the best and the default setting"
    )


def _differs(training: TrainingConfig, usual: TrainingConfig, name: str) -> bool:
    return bool(getattr(training, name) != getattr(usual, name))


def _of_no_use(plan: StudyPlan, learning: int) -> Iterator[str]:
    """Say what is allowed and does nothing, or not what it says."""
    training = plan.training
    if not learning:
        yield "note: `freeze` matches all weights: the encoder learns nothing, and only class weights and proxies do"
    if training.class_sample == 1:
        return
    classes = min(len(np.unique(plan.data.dataset.labels[fold.train])) for fold in plan.data.splits.folds)
    sampled = [name for name, loss in plan.losses.items() if samples_classes(loss.entry, loss.space, plan.config)]
    asked = [made for name in sampled for made in batches_asked_for(plan.losses[name].space, training, classes)]
    most = min(max((made.classes_per_batch for made in asked), default=0), classes)
    if training.class_sample * classes < most:
        searched = (
            "" if most <= training.classes_per_batch else " (of the one with the most classes that a trial may ask for)"
        )
        yield (
            f"note: `class_sample: {training.class_sample:g}` of {classes} training classes is fewer than the {most} "
            f"of a batch{searched}: such a step sees those of its batch, and no others"
        )
    without = [name for name in plan.losses if name not in sampled]
    if without:
        yield f"note: `class_sample` changes nothing for losses without class weights: {', '.join(without)}"


def _searched(loss: LossPlan) -> str:
    """What is searched, a line each: name, symbol, range and unit."""
    lines = []
    for name, dimension in loss.space.items():
        if hasattr(dimension, "contains"):
            declared = loss.entry.hyperparameters.get(name)
            symbol = f" {declared.symbol}" if declared is not None and declared.symbol else ""
            unit = f" {declared.unit}" if declared is not None and declared.unit else ""
            lines.append(f"{name}{symbol} {_values(dimension)}{unit}")
    return "\n".join(lines)


def _values(dimension: Any) -> str:
    if hasattr(dimension, "low"):
        return f"[{dimension.low:g}, {dimension.high:g}]{' log' if dimension.log else ''}"
    return str(list(dimension.values))
