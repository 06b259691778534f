"""The losses of a study and what is searched for each: what the file says, then what each loss needs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from mlcompare.data import AUGMENTATIONS, Dataset, Splits, check_augmentation, check_sampler, resolve_augmentation
from mlcompare.errors import InvalidValueError
from mlcompare.losses.base import Loss
from mlcompare.losses.compose import LossEntry
from mlcompare.losses.matryoshka import nested_sizes
from mlcompare.search.earlier import Earlier
from mlcompare.search.first_settings import first_settings
from mlcompare.search.needs import K, fitted
from mlcompare.search.priors import MEASURED, earlier_tables
from mlcompare.search.proposals import Start
from mlcompare.search.space import Choice, Range, Space
from mlcompare.search.training_space import PRETRAINED_LR, training_space
from mlcompare.study.config import StudyConfig
from mlcompare.study.entries import named_in, parse_entry
from mlcompare.study.places import section
from mlcompare.training import TrainingConfig, TrainingData
from mlcompare.training.class_sample import class_sample
from mlcompare.training.class_shards import check_sharded
from mlcompare.training.searched import AUGMENT, EMBEDDING_DIM, with_searched
from mlcompare.training.teachers import distilling

__all__ = [
    "LossPlan", "batches_asked_for", "check_batch", "fit_losses", "own_weights", "plan_losses", "samples_classes",
    "search_start",
]  # fmt: skip

Batch = tuple[int, str, int, int]  # fold, sampler, P, K


@dataclass(frozen=True)
class LossPlan:
    """One loss of the study and its search space.

    ``said`` names the dimensions that the file itself speaks of.
    """

    entry: LossEntry
    space: Space
    said: frozenset[str] = frozenset()
    ranged: frozenset[str] = frozenset()  # likewise, of the loss's own
    earlier: tuple[Earlier, ...] = ()  # situations that the search learns from
    first: tuple[Start, ...] = ()  # settings to try before any sampling, after the paper's
    prefixes: tuple[int, ...] = ()  # of the embedding, the largest first, that a nested loss trains
    teachers: tuple[str, ...] = ()  # the files that a loss which distils may be taught by

    @property
    def name(self) -> str:
        return self.entry.name

    @property
    def dimensions(self) -> tuple[str, ...]:
        """The names of what is searched."""
        return tuple(name for name, dimension in self.space.items() if isinstance(dimension, Range | Choice))


def plan_losses(config: StudyConfig, place: str) -> dict[str, LossPlan]:
    """Return the losses with what the study file says of their spaces.

    Raises:
        StudyFileError: with file and key, rule, value and cure.
    """
    base: dict[str, Any] = {key: value for key, value in config.training if value is not None}
    base["embedding_dim"] = config.encoder.embedding_dim
    with section(place, "training.augment"):
        strengths = resolve_augmentation(config.training.augment)
    base |= {f"{AUGMENT}{name}": strengths.get(name, 0.0) for name in AUGMENTATIONS}
    with section(place, "search.space"):
        shared = training_space(config.search.space, base)
        if "lr" not in shared and config.training.lr is None:
            shared = {**shared, **training_space({"lr": {}}, base)}
        if config.encoder.frozen and any(key.startswith(AUGMENT) for key in shared):
            key = next(key for key in shared if key.startswith(AUGMENT))
            raise InvalidValueError("a frozen encoder embeds each image once", value=key, cure="leave it out")
    losses = {}
    for name, value in config.losses.items():
        with section(place, ""):
            entry, space = parse_entry(name, value, training=shared, base=base)
            for spec in entry.specs:
                if spec.broken is not None:
                    spec.create()  # raises, with the reason
        with section(place, f"losses.{name}"):
            prefixes, teachers = _wrapped(entry, space, config)
            _check_shares(entry, space, config)
        own = {**entry.hyperparameters, **entry.options}
        said = frozenset({*config.search.space, *named_in(name, value)})
        ranged, said = said & own.keys(), said - own.keys()
        losses[name] = LossPlan(entry, space, said, ranged, prefixes=prefixes, teachers=teachers)
    return losses


def fit_losses(
    losses: Mapping[str, LossPlan], config: StudyConfig, data: TrainingData, place: str, *, pretrained: bool
) -> dict[str, LossPlan]:
    """Return the losses with what they need searched on these data, each of it checked.

    ``pretrained`` says that the encoder has learned before and goes on learning.

    Raises:
        StudyFileError: a batch that can't be drawn, an augmentation that the images can't have.
    """
    labels = trained_labels(data.dataset, data.splits)
    fewest, rows = min(int(targets.max()) + 1 for targets in labels), min(len(targets) for targets in labels)
    drawn: set[Batch] = set()  # batches that were tried: most losses ask for the same
    found, start = {}, search_start(config)
    for name, loss in losses.items():
        space = dict(loss.space)
        if pretrained and "lr" in space and "lr" not in loss.said:
            space["lr"] = training_space({"lr": PRETRAINED_LR}, {})["lr"]
        space = fitted(loss.entry, space, config.training, fewest, rows, said=loss.said, ranged=loss.ranged)
        encoder = config.encoder.trained.name
        earlier = earlier_tables(loss.entry, config.dataset.name, encoder) if start == "priors" else ()
        first = first_settings(loss.entry, space, "published" if start == "priors" and not earlier else start)
        found[name] = replace(loss, space=space, first=first, earlier=earlier)
        with section(place, f"losses.{name}"):
            _check_batches(space, config.training, labels, drawn)
            _check_strengths(space, data)
    return found


def _wrapped(entry: LossEntry, space: Space, config: StudyConfig) -> tuple[tuple[int, ...], tuple[str, ...]]:
    """Build a wrapped loss with every choice of an option, at every size of the embedding: all of them must fit.

    Returns the sizes of the prefixes that it is nested in, where it is, and the teachers that it distils from.

    Raises:
        InvalidValueError: what a wrapper can't go around or stand beside, or sizes that don't fit.
    """
    if not entry.wrapped:
        return (), ()
    share, stream = config.training.class_sample, torch.Generator()
    fixed, found = {name: _ends(space[name])[0] for name in entry.options}, set()
    teachers: dict[str, None] = {}
    tried = [fixed, *({**fixed, name: value} for name in entry.options for value in _ends(space[name])[1:])]
    for size in _ends(space.get(EMBEDDING_DIM, config.encoder.embedding_dim)):
        for options in tried:
            for _, loss in entry.build(options, num_classes=2, embedding_dim=size, class_counts=np.full(2, 2)):
                found |= nested_sizes(loss)
                teachers |= dict.fromkeys(part.teacher for part in distilling(loss).values())
                class_sample(loss, share, 2, stream)
    return tuple(sorted(found, reverse=True)), tuple(teachers)


def samples_classes(entry: LossEntry, space: Space, config: StudyConfig) -> bool:
    """Whether `training.class_sample` changes a loss: whether it has class weights."""
    return any(class_sample(loss, 0.5, 2, torch.Generator()) is not None for loss in _smallest(entry, space, config))


def own_weights(entry: LossEntry, space: Space, config: StudyConfig, classes: int) -> int:
    """Return how many numbers a loss of so many classes learns beside the encoder, at its smallest; none is made."""
    two, three = (
        sum(weights.numel() for loss in _smallest(entry, space, config, few) for weights in loss.parameters())
        for few in (2, 3)
    )
    return two + (three - two) * (classes - 2)


def _smallest(entry: LossEntry, space: Space, config: StudyConfig, classes: int = 2) -> list[Loss]:
    """Build a loss of few classes, with the first of each option's values and the least size of the embedding."""
    options = {name: _ends(space[name])[0] for name in entry.options}
    size = _ends(space.get(EMBEDDING_DIM, config.encoder.embedding_dim))[0]
    built = entry.build(options, num_classes=classes, embedding_dim=size, class_counts=np.full(classes, 2))
    return [loss for _, loss in built]


def _check_shares(entry: LossEntry, space: Space, config: StudyConfig) -> None:
    """Check that the class weights of a loss can lie apart, where ranks are to hold shares of them.

    Raises:
        InvalidValueError: the loss must see all of them.
    """
    if config.training.class_weights == "replicated":
        return
    for loss in _smallest(entry, space, config):
        check_sharded(loss)


def search_start(config: StudyConfig) -> str:
    """Return what searches go by: what the study says, else priors for encoders like those that they were measured on.

    >>> search_start(StudyConfig(name="x", dataset="digits", encoder={"name": "linear"}, losses={"softmax": None}))
    'priors'
    >>> search_start(StudyConfig(name="x", dataset="digits", encoder={"name": "conv4"}, losses={"softmax": None}))
    'published'
    """
    return config.search.start or ("priors" if config.encoder.trained.name in MEASURED else "published")


def trained_labels(dataset: Dataset, splits: Splits) -> list[np.ndarray]:
    """Return the labels that each fold trains on, counted from zero."""
    return [np.unique(fold.labels(dataset.labels), return_inverse=True)[1] for fold in splits.folds]


def check_batch(training: TrainingConfig, dataset: Dataset, splits: Splits) -> None:
    """Check that the study's own batch can be drawn in each fold.

    Raises:
        DataError: too few classes or samples.
    """
    for targets in trained_labels(dataset, splits):
        if training.class_weights == "sharded" and training.ranks > targets.max() + 1:
            rule, cure = "each rank must hold a class", "use fewer ranks, or leave out class_weights"
            raise InvalidValueError(rule, value=f"{training.ranks} ranks for {targets.max() + 1}", cure=cure)
        counts = {"classes_per_batch": training.classes_per_batch, "samples_per_class": training.samples_per_class}
        check_sampler(training.sampler, torch.as_tensor(targets), **counts)


def _check_batches(space: Space, training: TrainingConfig, labels: list[np.ndarray], drawn: set[Batch]) -> None:
    """Draw a batch of every composition that a trial may ask for, where it wasn't ``drawn`` before."""
    if K in space and "classes_per_batch" not in space:
        _check_division(_counts(space[K]), training.classes_per_batch * training.samples_per_class)
    for fold, targets in enumerate(labels):
        for made in batches_asked_for(space, training, int(targets.max()) + 1):
            batch = fold, made.sampler, made.classes_per_batch, made.samples_per_class
            if batch not in drawn:
                counts = {"classes_per_batch": made.classes_per_batch, "samples_per_class": made.samples_per_class}
                check_sampler(made.sampler, torch.as_tensor(targets), **counts)
                drawn.add(batch)


def batches_asked_for(space: Space, training: TrainingConfig, classes: int) -> list[TrainingConfig]:
    """Return the training with every composition of a batch at the ends of what a trial may ask for."""
    corners: list[dict[str, Any]] = [{}]
    for key in ("sampler", "classes_per_batch", K):
        if key in space:
            corners = [{**corner, key: value} for corner in corners for value in _ends(space[key])]
    return [with_searched(training, corner, classes) for corner in corners]


def _check_division(counts: Iterable[int], batch: int) -> None:
    """A batch keeps its size whatever K is: populations and fair comparisons need that."""
    for samples in counts:
        if batch % samples:
            fits = [str(k) for k in range(1, min(batch, 64) + 1) if batch % k == 0]
            cure = f"choose among {', '.join(fits)}, or search classes_per_batch too"
            rule = f"samples_per_class must divide the batch of {batch}"
            raise InvalidValueError(rule, value=str(samples), cure=cure, place=K)


def _counts(dimension: Any) -> tuple[int, ...]:
    if isinstance(dimension, Range):
        return tuple(range(int(dimension.low), int(dimension.high) + 1))
    return _ends(dimension)


def _ends(dimension: Any) -> tuple[Any, ...]:
    """Both ends of a range, all values of a choice, or the fixed value."""
    if isinstance(dimension, Range):
        ends = dimension.low, dimension.high
        return tuple(int(end) for end in ends) if dimension.integer else ends
    return dimension.values if isinstance(dimension, Choice) else (dimension,)


def _check_strengths(space: Space, data: TrainingData) -> None:
    searched = {key.removeprefix(AUGMENT): value for key, value in space.items() if key.startswith(AUGMENT)}
    if not searched:
        return
    if not data.dataset.is_images:
        raise InvalidValueError("augmentation needs images", value="features", cure=f"leave out {AUGMENT}…")
    strongest = {name: max(_ends(value)) for name, value in searched.items()}
    check_augmentation(strongest, channels=data.dataset.sample_shape[0])
