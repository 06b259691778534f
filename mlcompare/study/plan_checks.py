"""What a study file names: that it exists, suits the data, and fits together."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from mlcompare.data import Dataset, check_augmentation, resolve_augmentation
from mlcompare.errors import DataError, InvalidValueError, UnknownNameError, did_you_mean
from mlcompare.losses.label_forms import CLASS, LEVELS, SETS
from mlcompare.search.training_space import NAMED
from mlcompare.study.config import StudyConfig
from mlcompare.study.places import section
from mlcompare.study.spaces import LossPlan
from mlcompare.training import BASELINES, baselines_of
from mlcompare.training.trainers import TRAINERS

__all__ = [
    "check_augment",
    "check_baselines",
    "check_label_forms",
    "check_names",
    "check_ranks",
    "check_teachers",
    "check_trainer",
]


def check_names(config: StudyConfig, place: str) -> None:
    """Check that the sampler, optimiser and schedule of the training are registered."""
    for key, known in NAMED.items():
        name = getattr(config.training, key)
        if name not in known:
            with section(place, f"training.{key}"):
                raise known.unknown(name)


def check_trainer(config: StudyConfig, place: str) -> None:
    """Check the name and the options of a training loop of one's own."""
    if config.trainer is None:
        return
    if config.training.select == "best":
        with section(place, "training.select"):
            cure = "let the trainer return the weights that it chose, and leave out training.select"
            raise InvalidValueError("a trainer of your own chooses its weights itself", value="best", cure=cure)
    with section(place, "trainer"):
        spec = TRAINERS.usable(config.trainer.name)
        for key in config.trainer.options:
            if key not in spec.options:
                raise UnknownNameError(f"unknown option {key!r}", cure=did_you_mean(key, spec.options), place=key)


def check_ranks(config: StudyConfig, place: str) -> None:
    """Check that every rank of a training has something to embed, and is trained by a loop that knows of ranks."""
    training = config.training
    batch = training.classes_per_batch * training.samples_per_class
    with section(place, "training.ranks"):
        if training.ranks > 1 and config.trainer is not None:
            cure = "leave out training.ranks, or trainer"
            raise InvalidValueError("a trainer of your own trains in one process", value=str(training.ranks), cure=cure)
        if training.ranks > batch:
            rule = "each rank must have a sample of a batch"
            raise InvalidValueError(
                rule, value=f"{training.ranks} ranks for {batch}", cure="use fewer, or a larger batch"
            )


def check_augment(config: StudyConfig, dataset: Dataset, place: str) -> None:
    """Check the strengths of augmentations, and that there are images to augment in training."""
    with section(place, "training.augment"):
        augmentation = resolve_augmentation(config.training.augment)
        if augmentation and config.encoder.frozen:
            cure = "leave out training.augment"
            raise DataError("a frozen encoder embeds each image once", value="augmentation", cure=cure)
        if augmentation and not dataset.is_images:
            raise DataError("augmentation needs images", value="features", cure="leave out training.augment")
        check_augmentation(augmentation, channels=dataset.sample_shape[0])


def check_baselines(config: StudyConfig, dataset: Dataset, place: str) -> None:
    """Check that the baselines that a study names exist and suit the dataset: the features, of a frozen encoder."""
    if config.encoder.frozen:
        dataset = replace(dataset, samples=np.zeros((len(dataset), 1), dtype=np.float32))
    with section(place, "baselines"):
        for name in config.baselines or ():
            spec = BASELINES.usable(name)
            if not spec.suits(dataset):
                cure = f"leave it out; {', '.join(baselines_of(dataset))} suit"
                raise InvalidValueError("a baseline must suit the dataset", value=name, cure=cure)


def check_label_forms(losses: Mapping[str, LossPlan], dataset: Dataset, class_sample: float, place: str) -> None:
    """Check that the dataset has the labels which each loss takes.

    A sample has one class, and groups that it lies in where the dataset has levels; it has no sets of labels.
    """
    for name, loss in losses.items():
        for spec in loss.entry.specs:
            with section(place, f"losses.{name}"):
                if spec.label_form == SETS:
                    rule = f"{spec.name} is for samples with several labels, and a study gives each one class"
                    cure = "choose supcon; for sets of labels call the loss in a loop of your own"
                    raise InvalidValueError(rule, value=dataset.name, cure=cure)
                if spec.label_form == LEVELS and not dataset.levels:
                    rule = f"{spec.name} needs the groups that classes lie in"
                    cure = "name them, `dataset: {…, levels: [kind]}` (image_folder, image_list, features)"
                    raise InvalidValueError(rule, value=f"{dataset.name} without levels", cure=cure)
                if spec.label_form != CLASS and class_sample != 1:
                    rule, cure = f"{spec.name} must see all classes", "leave out training.class_sample"
                    raise InvalidValueError(rule, value=f"class_sample: {class_sample}", cure=cure)


def check_teachers(losses: Mapping[str, LossPlan], config: StudyConfig, place: str) -> None:
    """Check that losses which distil are trained by a loop that tells them what their teachers say."""
    for name, loss in losses.items():
        if loss.teachers and config.trainer is not None:
            with section(place, f"losses.{name}"):
                rule = "a trainer of your own is told no teacher's embeddings"
                raise InvalidValueError(rule, value=config.trainer.name, cure="leave out trainer, or the distillation")
