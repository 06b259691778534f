"""Augmentation in a study: presets reach both engines, and what doesn't fit the images is refused."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from mlcompare.data import Dataset, draw_splits
from mlcompare.errors import StudyFileError
from mlcompare.study import make_plan
from mlcompare.study.config import validated
from mlcompare.training import TrainingData, train
from mlcompare.training.population import train_population
from tests.study.conftest import TINY


@pytest.mark.parametrize("augment", [{"rotate": 10, "brightness": 0.3, "noise": 0.02}, {"blur": 1.0, "crop": 0.2}])
def test_both_engines_augment_alike(make_job, augment: dict) -> None:
    labels = np.repeat(np.arange(12), 6)
    samples = np.random.default_rng(0).integers(0, 256, (72, 1, 8, 8)).astype(np.uint8)
    splits = draw_splits(labels, test_classes=0.34, folds=2)
    data = TrainingData(Dataset("patterns", samples, labels, tuple("abcdefghijkl")), splits)
    jobs = [make_job(seed=seed, fold=seed, training={"augment": augment, "steps": 3}) for seed in (0, 1)]
    plain = replace(jobs[0], training=jobs[0].training.replaced(augment={}))
    for job, result in zip(jobs, train_population(jobs, data)):
        alone = train(job, data)
        assert alone.status == "ok"
        assert result.history["loss"] == pytest.approx(alone.history["loss"], rel=2e-3)
    assert train(plain, data).history["loss"] != train(jobs[0], data).history["loss"]


def planned(augment) -> dict:
    study = {**TINY, "training": {**TINY["training"], "augment": augment}}
    return dict(make_plan(validated(study, "study")).training.augment)


def test_presets_are_resolved_in_the_plan() -> None:
    assert planned("digits") == planned({"preset": "digits"})
    assert planned({"preset": "digits", "rotate": 3})["rotate"] == 3
    assert planned({"flip": 0.5}) == {"flip": 0.5}


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(StudyFileError, match=r"training.augment.saturation: needs images of 3 channels, got 1"):
        planned("fine_grained")
    with pytest.raises(StudyFileError, match=r"training.augment.preset: unknown preset 'digit'; did you mean digits"):
        planned("digit")
    with pytest.raises(StudyFileError, match=r"training.augment.rotate: must be a number from 0 to 180"):
        planned({"preset": "digits", "rotate": "ten"})
