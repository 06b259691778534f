"""Levels in trainings: what losses are told in both engines, killed and resumed, in pieces, in loops of one's own."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from mlcompare.data import corrupt_splits
from mlcompare.losses import LossEntry, Term
from mlcompare.training import EncoderConfig, TrainingData, train
from mlcompare.training.baselines import run_baseline
from mlcompare.training.population import population_key
from mlcompare.training.prepare import prepare
from mlcompare.training.trainers import TRAINERS, register_trainer
from tests.training.test_checkpoint import ENGINES, at_every_step, two
from tests.training.test_population import assert_alike

KIND, REALM = tuple("uuuvvvwwwxxx"), tuple("mmmmmmnnnnnn")
NESTED = LossEntry("matryoshka_hierarchical_supcon", "matryoshka", (Term("hierarchical_supcon"),))
CASES = {
    "supcon": (LossEntry("x", "single", (Term("hierarchical_supcon"),)), {}),
    "triplet": (LossEntry("x", "single", (Term("hierarchical_triplet"),)), {}),
    "in a sum": (LossEntry("x", "sum", (Term("softmax"), Term("hierarchical_triplet"))), {}),
    "nested": (NESTED, {"prefixes": "2"}),
    "stages": (LossEntry("x", "stages", (Term("softmax"), Term("hierarchical_supcon"))), {}),
}


@pytest.fixture(scope="module")
def tree(data) -> TrainingData:
    return replace(data, dataset=replace(data.dataset, levels={"kind": KIND, "realm": REALM}, fingerprint=""))


@pytest.fixture(params=CASES)
def jobs(request, make_members):
    return make_members(*CASES[request.param])


def test_both_engines_agree(tree, jobs) -> None:
    assert population_key(jobs[0]) is not None
    assert_alike(jobs, tree)


def test_the_groups_count(data, tree, jobs) -> None:
    with_levels, without = train(jobs[0], tree), train(jobs[0], data)
    assert with_levels.history["loss"] != without.history["loss"]


def test_a_plain_loss_is_told_the_class_alone(data, tree, make_job) -> None:
    job = make_job("contrastive")
    assert train(job, tree).history == train(job, data).history


def test_in_pieces_it_is_the_training(tree, jobs) -> None:
    job = replace(jobs[0], encoder=EncoderConfig("mlp", 4, {"width": 16}))
    whole, pieces = (train(replace(job, training=job.training.replaced(microbatch=n)), tree) for n in (None, 2))
    assert whole.status == pieces.status == "ok"
    np.testing.assert_allclose(pieces.history["loss"], whole.history["loss"], rtol=1e-4)


@pytest.mark.parametrize("engine", ENGINES)
def test_killed_it_ends_with_the_same_numbers(tree, make_job, tmp_path: Path, monkeypatch, engine) -> None:
    entry, values = CASES["in a sum"]
    jobs = [replace(job, loss=entry, hyperparameters=values) for job in two(make_job, tmp_path)]
    at_every_step(ENGINES[engine], jobs, tree, monkeypatch, (3, 7))


def test_levels_are_of_the_label_that_a_sample_is_trained_with(tree, make_job) -> None:
    """A wrong label brings the wrong group: nobody who gets a class wrong knows its kind."""
    splits = corrupt_splits(tree.splits, tree.dataset.labels, label_noise=0.5, imbalance=1.0, seed=0)
    prepared = prepare(make_job("hierarchical_triplet"), replace(tree, splits=splits))
    fold = splits.folds[0]
    told = fold.labels(tree.dataset.labels)
    assert (told != tree.dataset.labels[fold.train]).any()
    levels = prepared.labels_for(prepared.stages[0].loss).numpy()
    assert levels.shape == (len(told), 3)
    assert (levels[:, 0] == np.unique(told, return_inverse=True)[1]).all()
    for column, groups in ((1, KIND), (2, REALM)):
        of_sample = np.array(groups)[told]
        assert len({(code, group) for code, group in zip(levels[:, column], of_sample)}) == len(set(of_sample))


def test_scores_of_levels(tree, make_job) -> None:
    names = ("map_at_r_level_kind", "map_at_r", "recall_at_1_level_realm", "map_at_r_level_kind_in_2")
    job = make_job("hierarchical_triplet", split="test", metrics=names, keep=True)
    result = train(job, tree)
    assert result.status == "ok", result.reason
    assert set(result.metrics) == set(names)
    rows = result.artifacts["rows"]
    classes = {tree.dataset.class_names[c] for c in tree.dataset.labels[rows]}
    assert set(result.per_class["map_at_r_level_kind"]) == classes
    assert np.mean(list(result.per_class["map_at_r_level_kind"].values())) == pytest.approx(
        result.metrics["map_at_r_level_kind"]
    )
    baseline = replace(job, kind="baseline", loss=None, baseline="pca", hyperparameters={})
    assert set(run_baseline(baseline, tree).metrics) == set(names)


def test_a_loop_of_ones_own_is_given_levels(tree, make_job) -> None:
    seen = []

    @register_trainer("looks_at_levels")
    def looks(assignment):
        seen.append(assignment)
        x = assignment.encoder(assignment.standardize(torch.as_tensor(assignment.samples)))
        assert torch.isfinite(assignment.loss(x, torch.as_tensor(assignment.labels)))
        return assignment.encoder

    try:
        for loss in ("hierarchical_triplet", "triplet"):
            result = train(replace(make_job(loss), trainer="looks_at_levels"), tree)
            assert result.status == "ok", result.reason
    finally:
        TRAINERS._records.pop("looks_at_levels")
    assert [one.labels.ndim for one in seen] == [2, 1]
    assert seen[0].num_classes == seen[1].num_classes


def test_a_sample_of_classes_knows_no_groups(tree, make_job) -> None:
    entry, _ = CASES["in a sum"]
    result = train(replace(make_job(training={"class_sample": 0.5}), loss=entry), tree)
    assert result.status == "failed"
    assert "must see all classes" in result.reason
