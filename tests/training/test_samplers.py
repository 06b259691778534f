"""`training.sampler` reaches both engines, and a plan refuses what a sampler can't draw."""

from __future__ import annotations

import pytest

from mlcompare.data import SAMPLERS
from mlcompare.errors import StudyFileError
from mlcompare.study import make_plan
from mlcompare.study.config import validated
from mlcompare.training import train
from mlcompare.training.population import train_population
from tests.study.conftest import TINY


def test_both_engines_draw_the_same_batches(data, make_job) -> None:
    histories = set()
    for sampler in SAMPLERS:
        jobs = [make_job(seed=seed, training={"sampler": sampler, "steps": 4}) for seed in (1, 2)]
        for job, result in zip(jobs, train_population(jobs, data)):
            alone = train(job, data)
            assert alone.status == "ok"
            assert result.history["loss"] == pytest.approx(alone.history["loss"], rel=2e-3)
        histories.add(tuple(alone.history["loss"]))
    assert len(histories) == len(SAMPLERS)


@pytest.mark.parametrize(
    ("training", "rule"),
    [
        ({"classes_per_batch": 9}, "training: a batch needs 9 classes, got 3 classes"),
        ({"sampler": "random", "samples_per_class": 500}, "training: a batch needs 1500 samples"),
        ({"sampler": "pq"}, "training.sampler: unknown sampler 'pq'; known: class_balanced, epoch, pk, random"),
    ],
)
def test_what_cannot_be_drawn_is_refused(training: dict, rule: str) -> None:
    study = {**TINY, "training": {**TINY["training"], **training}}
    with pytest.raises(StudyFileError, match=rule):
        make_plan(validated(study, "study"))
