"""What each loss needs is searched: the rate and decay of its own weights, the composition of a batch, its scale."""

from __future__ import annotations

import copy
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlcompare.errors import StudyFileError
from mlcompare.losses.compose import LossEntry, Term
from mlcompare.registry import list_losses
from mlcompare.search.needs import compositions, fitted, lowest_scale, needs_pairs, owns_weights
from mlcompare.search.space import Choice, Range, loss_space
from mlcompare.study import make_plan, run_study
from mlcompare.study.config import validated
from mlcompare.training import EncoderConfig, TrainingConfig, TrainingJob, train
from mlcompare.training.searched import with_searched
from tests.study.conftest import TINY

NATIVE = [spec.name for spec in list_losses(provider="native") if not spec.term]


def entry(*losses: str, form: str = "single") -> LossEntry:
    return LossEntry("entry", form, tuple(Term(loss) for loss in losses))


def plan_of(**changes):
    return make_plan(validated(copy.deepcopy({**TINY, **changes}), "study"))


@pytest.mark.parametrize("loss", NATIVE)
def test_a_head_is_searched_exactly_where_there_is_one(loss: str) -> None:
    spec = next(spec for spec in list_losses() if spec.name == loss)
    has_head = "num_classes" in spec.needs or loss in ("margin_based", "sigmoid_pair")  # β, and t and b, are learned
    space = fitted(entry(loss), loss_space(entry(loss), {}), TrainingConfig(), 100, 1000)
    assert ("head_lr_ratio" in space) == ("head_weight_decay" in space) == has_head == owns_weights(entry(loss))


@pytest.mark.parametrize(("learn_beta", "learns"), [(True, True), (False, False), ([True, False], True)])
def test_a_beta_that_does_not_learn_has_no_rate(learn_beta: bool | list[bool], learns: bool) -> None:
    plan = plan_of(losses={"margin_based": {"learn_beta": learn_beta}})
    assert ("head_lr_ratio" in plan.losses["margin_based"].space) == learns
    given = {"learn_beta": learn_beta, "head_lr_ratio": 10}
    if learns:
        assert plan_of(losses={"margin_based": given}).losses["margin_based"].space["head_lr_ratio"] == 10
    else:
        with pytest.raises(StudyFileError, match="no weights of its own"):
            plan_of(losses={"margin_based": given})


@pytest.mark.parametrize("key", ["scale", "s"])
def test_a_range_that_the_file_gives_is_its_own_though_it_is_the_registered_one(key: str) -> None:
    data = {"name": "glyphs", "classes": 400}
    given, left = ({key: {"low": 4, "high": 64, "log": True}}, None)
    wide, fitted_one = (plan_of(dataset=data, losses={"normface": of}).losses["normface"] for of in (given, left))
    assert (wide.space["scale"].low, wide.space["scale"].high) == (4, 64)
    assert fitted_one.space["scale"].low > 4, "this many classes ask for more"


@pytest.mark.parametrize("loss", NATIVE)
def test_only_pairs_forbid_one_sample_a_class(loss: str) -> None:
    space = fitted(entry(loss), loss_space(entry(loss), {}), TrainingConfig(), 100, 1000)
    spec = next(spec for spec in list_losses() if spec.name == loss)
    wanted = (2, 4, 8) if spec.family == "metric" and spec.group != "proxy" else (1, 2, 4, 8)
    assert space["samples_per_class"] == Choice(wanted, 4)


def test_sums_and_stages_need_what_their_parts_need() -> None:
    for form in ("sum", "stages"):
        both = entry("softmax", "triplet", form=form)
        assert owns_weights(both)
        assert needs_pairs(both)
        assert not needs_pairs(entry("softmax", "ring_term", form=form))


@given(
    classes_per_batch=st.integers(2, 40), samples=st.sampled_from([1, 2, 3, 4, 8]), classes=st.integers(2, 300),
    rows=st.integers(2, 400), pairs=st.booleans(),
)  # fmt: skip
def test_every_composition_keeps_the_size_of_the_batch(classes_per_batch, samples, classes, rows, pairs) -> None:
    training = TrainingConfig(classes_per_batch=classes_per_batch, samples_per_class=samples)
    for choice in compositions(training, classes, rows, pairs=pairs):
        made = with_searched(training, {"samples_per_class": choice}, classes)
        assert made.classes_per_batch * made.samples_per_class == classes_per_batch * samples
        assert made.samples_per_class == choice
        if choice != samples:
            possible = (
                rows >= classes_per_batch * samples if made.sampler == "random" else made.classes_per_batch <= classes
            )
            assert possible, "a batch that a study would be refused for is never a default"
            assert choice > 1 or not pairs


def test_the_scale_knows_the_number_of_classes() -> None:
    def scale_of(classes: int) -> Range:
        space = fitted(entry("cosface"), loss_space(entry("cosface"), {}), TrainingConfig(), classes, 10 * classes)
        return space["scale"]

    space = {classes: scale_of(classes) for classes in (10, 100_000)}
    assert space[10].low == 4.0
    assert space[100_000].low == pytest.approx(lowest_scale(100_000), abs=0.5)
    assert all(dimension.default == 30.0 for dimension in space.values())
    own = loss_space(entry("cosface"), {"scale": {"low": 2, "high": 8}})
    assert fitted(entry("cosface"), own, TrainingConfig(), 1000, 9000)["scale"].low == 2.0, (
        "a study's own range is its own"
    )
    assert lowest_scale(2) == 0.0


def test_a_study_has_the_last_word() -> None:
    plan = plan_of(losses={"cosface": None, "softmax": {"head_lr_ratio": 10}},
                   training={**TINY["training"], "head_weight_decay": 0.1},
                   search={**TINY["search"], "space": {"samples_per_class": 4}})  # fmt: skip
    space = plan.losses["cosface"].space
    assert space["samples_per_class"] == 4
    assert "head_weight_decay" not in space
    assert isinstance(space["head_lr_ratio"], Range)
    assert plan.losses["softmax"].space["head_lr_ratio"] == 10.0
    for job in plan.trial_jobs("softmax", 0, {"head_lr_ratio": 10.0}):
        assert job.training.head_decay == 0.1


@pytest.mark.parametrize("given", [5, [4, 5], {"low": 1, "high": 8}])
def test_samples_per_class_must_keep_the_size_of_the_batch(given) -> None:
    with pytest.raises(StudyFileError, match="must divide the batch of 12") as error:
        plan_of(search={**TINY["search"], "space": {"samples_per_class": given}})
    assert "1, 2, 3, 4, 6, 12" in error.value.cure
    together = {"samples_per_class": [4, 5], "classes_per_batch": 2}
    assert plan_of(search={**TINY["search"], "space": together}).losses["cosface"].space["samples_per_class"]


def test_fewer_samples_than_places_leave_out_single_ones(tmp_path: Path) -> None:
    """A batch of P×K takes samples of small classes again; a random one of as many samples would not exist."""
    rows = np.random.default_rng(0).normal(size=(24, 3)).astype(np.float32)
    np.savez(tmp_path / "few.npz", features=rows, labels=np.repeat(np.arange(8), 3))
    plan = plan_of(
        dataset={"name": "features", "path": str(tmp_path / "few.npz")}, losses={"softmax": None},
        training={"steps": 2, "classes_per_batch": 2, "samples_per_class": 8},
    )  # fmt: skip
    assert "samples_per_class" not in plan.losses["softmax"].space


def test_a_misspelled_number_of_training_is_named() -> None:
    with pytest.raises(StudyFileError, match="head_lr_ratio"):
        plan_of(losses={"cosface": {"head_lr_rato": 3}})


def test_a_job_with_a_hyperparameter_that_no_one_has_fails() -> None:
    job = TrainingJob.of("cosface", margn=0.2)
    data = plan_of().data
    result = train(replace(job, encoder=EncoderConfig("linear", 4), training=TrainingConfig(**TINY["training"])), data)
    assert result.status == "failed"
    assert "margn" in result.reason


def test_a_head_can_be_searched_only_where_there_is_one() -> None:
    with pytest.raises(StudyFileError, match="no weights of its own") as error:
        plan_of(losses={"cosface": None, "triplet": {"head_lr_ratio": 10}})
    assert error.value.place == "study: losses.triplet.head_lr_ratio"
    plan = plan_of(losses={"cosface": None, "triplet": None},
                   search={**TINY["search"], "space": {"head_lr_ratio": {"low": 1, "high": 10}}})  # fmt: skip
    assert "head_lr_ratio" not in plan.losses["triplet"].space
    assert plan.losses["cosface"].space["head_lr_ratio"].high == 10.0


SEARCHED = {
    "steps": [2, 4], "embedding_dim": [4, 8], "optimizer": ["adamw", "sgd_momentum"],
    "schedule": ["constant", "cosine"], "weight_decay": {"low": 1e-6, "high": 1e-2, "log": True},
    "warmup": {"low": 0.0, "high": 0.5},
    "classes_per_batch": [2, 3], "samples_per_class": [1, 4], "momentum": {"low": 0.5, "high": 0.9},
}  # fmt: skip


SHAPING = ("steps", "embedding_dim", "optimizer")  # a population is another program for each of their values


@pytest.mark.parametrize(
    ("executor", "key"),
    [
        *(("in-process", key) for key in SEARCHED),
        *(pytest.param("population", k, marks=() if k in SHAPING else pytest.mark.slow) for k in SEARCHED),
    ],
)
def test_every_number_and_choice_of_training_can_be_searched(tmp_path: Path, executor: str, key: str) -> None:
    study = copy.deepcopy(TINY)
    study["search"] |= {"space": {key: SEARCHED[key]}, "trials": 5, "racing": False}
    run_study(study, tmp_path, executor=executor)
    table = pd.read_parquet(tmp_path / "results.parquet")
    assert (table["status"] == "ok").all(), table["reason"].dropna().unique()
    values = {json.loads(text)[key] for text in table.loc[table["kind"] == "trial", "hyperparameters"]}
    assert len(values) > 1
    if isinstance(SEARCHED[key], list):
        assert values <= set(SEARCHED[key])


def test_strengths_of_augmentations_can_be_searched() -> None:
    images = {"dataset": "orl_faces", "encoder": {"name": "conv", "embedding_dim": 8, "channels": [4]}}
    space = {"augment.shift": {"low": 0, "high": 3}, "augment.flip": [0.0, 0.5]}
    plan = plan_of(**images, search={**TINY["search"], "space": space})
    (job, *_) = plan.trial_jobs("cosface", 1, {"augment.shift": 2.0, "augment.flip": 0.5})
    assert with_searched(job.training, {"augment.shift": 2.0}, 10).augment == {"shift": 2.0}
    with pytest.raises(StudyFileError, match="flip <= 1"):
        plan_of(**images, search={**TINY["search"], "space": {"augment.flip": [0.0, 1.5]}})
    with pytest.raises(StudyFileError, match="embeds each image once"):
        plan_of(
            encoder={"name": "hog", "frozen": True}, search={**TINY["search"], "space": {"augment.flip": [0.0, 0.5]}}
        )


def test_class_weights_that_need_another_rate_get_it(tmp_path: Path) -> None:
    """At the encoder's rate the class weights hardly move in twenty steps; the search finds a rate at which they do."""
    study = copy.deepcopy(TINY)
    study["training"] |= {"steps": 20, "lr": 3e-4}
    study["search"] |= {"trials": 10, "space": {"samples_per_class": 4, "head_weight_decay": 0}}
    study["losses"] = {"normface": {"scale": 16}}
    run_study(study, tmp_path, executor="in-process")
    table = pd.read_parquet(tmp_path / "results.parquet").query("kind == 'trial' and metric == 'map_at_r'")
    ratios = table["hyperparameters"].map(lambda text: json.loads(text)["head_lr_ratio"])
    mean = table.groupby(ratios)["value"].mean()
    assert mean.idxmax() > 10
    assert mean.max() > mean.loc[1.0] + 0.01
