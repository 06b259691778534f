"""A share of the classes for each step: the same loss over fewer of them, and no other row is touched."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from mlcompare.data import Dataset, draw_splits
from mlcompare.errors import InvalidValueError, StudyFileError
from mlcompare.losses.head import Head
from mlcompare.registry import get_spec, list_losses
from mlcompare.study.config import validated
from mlcompare.study.plan import make_plan
from mlcompare.training import EncoderConfig, TrainingData, restore, train
from mlcompare.training.class_sample import ClassSample, class_sample
from mlcompare.training.optimizers import OPTIMIZERS
from mlcompare.training.population import population_key
from tests.study.conftest import TINY
from tests.training.test_checkpoint import ENGINES, assert_same, at_every_step

C, D, B = 20, 6, 8


def is_sampled(name: str) -> bool:
    loss = get_spec(name).create(num_classes=C, embedding_dim=D)
    return class_sample(loss, 0.5, C, torch.Generator()) is not None


NAMES = [spec.name for spec in list_losses(provider="native") if not spec.term]
HEADS = [name for name in NAMES if is_sampled(name)]
STATE = {"sgd_momentum": 1, "adagrad": 1, "rmsprop": 1, "adam": 2, "adamw": 2, "sgd": 0}  # tensors for each weight


def built(name: str, seed: int = 0):
    counts = torch.full((C,), 3)
    counts[:3] = 1  # classes that the UP term cares for
    generator = torch.Generator().manual_seed(seed)
    loss = get_spec(name).create(num_classes=C, embedding_dim=D, class_counts=counts, generator=generator)
    loss.set_progress(0.5)
    return loss.double()


def batch(seed: int = 1, classes: int = 4):
    generator = torch.Generator().manual_seed(seed)
    embeddings = torch.randn(B, D, generator=generator, dtype=torch.float64)
    chosen = torch.randperm(C, generator=generator)[:classes]
    return embeddings, chosen.repeat(B)[:B]


def optimizer_of(sample: ClassSample, name: str = "adamw") -> torch.optim.Optimizer:
    groups = [{"params": sample.parameters(), "lr": 0.1, "weight_decay": 0.01, "momentum": 0.9}]
    return OPTIMIZERS[name].factory(groups, None)


def test_every_head_is_sampled_and_nothing_else() -> None:
    assert {"softmax", "arcface", "soft_triple", "subcenter_arcface", "center", "proxy_anchor"} <= set(HEADS)
    assert not {"contrastive", "triplet", "margin_based", "nt_xent"} & set(HEADS)
    owners = {name for name in NAMES if getattr(built(name), "class_weights", None) is not None}
    assert owners == set(HEADS)


@pytest.mark.parametrize("name", HEADS)
def test_the_loss_is_that_of_a_head_with_those_classes_alone(name: str) -> None:
    """Of a loss that was built for the sampled classes, with their rows, everything else being the same."""
    loss = built(name)
    sample = ClassSample(loss, 0.5, C, torch.Generator().manual_seed(3))
    embeddings, labels = batch()
    rows = sample.draw(labels)
    assert len(rows) == 10
    assert set(labels.tolist()) <= set(rows.tolist())
    sample._generator.manual_seed(3)
    small = get_spec(name).create(num_classes=10, embedding_dim=D).double()
    small.set_progress(0.5)
    have = dict(small.named_parameters()) | dict(small.named_buffers())
    for key, tensor in (dict(loss.named_parameters()) | dict(loss.named_buffers())).items():
        have[key].data.copy_(tensor[rows] if key in sample._all else tensor)
    noise = loss.draw_noise(B, generator=torch.Generator().manual_seed(4))
    expected = small(embeddings, torch.searchsorted(rows, labels), noise)
    with sample.step(optimizer_of(sample), labels):
        assert sample._rows.equal(rows)
        value = sample(embeddings, labels, noise)
        value.backward()
    torch.testing.assert_close(value, expected)
    assert loss.num_classes == C
    assert all(parameter.grad is None for parameter in loss.parameters() if parameter.shape[:1] == (C,))
    for key, tensor in (dict(loss.named_buffers())).items():
        torch.testing.assert_close(tensor[rows] if key in sample._all else tensor, have[key], msg=key)


@pytest.mark.parametrize("name", ["arcface", "softmax", "center", "soft_triple"])
@pytest.mark.parametrize("optimizer", STATE)
def test_no_row_that_was_not_drawn_is_touched(name: str, optimizer: str) -> None:
    loss = built(name)
    sample = ClassSample(loss, 0.3, C, torch.Generator().manual_seed(0))
    stepper = optimizer_of(sample, optimizer)
    for seed in range(5):
        embeddings, labels = batch(seed)
        before = {key: tensor.clone() for key, tensor in sample._all.items()}
        states = {(key, n): v.clone() for key, known in sample._states.items() for n, v in known.items()}
        with sample.step(stepper, labels):
            rows = sample._rows
            stepper.zero_grad()
            sample(embeddings, labels, None).backward()
            stepper.step()
        others = torch.ones(C, dtype=torch.bool)
        others[rows] = False
        for key, tensor in sample._all.items():
            assert tensor[others].equal(before[key][others]), key
        assert not sample._all[next(iter(sample._stand_ins))][rows].equal(before[next(iter(sample._stand_ins))][rows])
        for (key, n), values in states.items():
            assert sample._states[key][n][others].equal(values[others]), (key, n)
    for known in sample._states.values():
        assert len(known) == STATE[optimizer]
        assert all(values.shape[0] == C for values in known.values())


@pytest.mark.parametrize("optimizer", STATE)
@pytest.mark.parametrize("loss", ["arcface", "center", "up_softmax", "sphereface2", "adacos"])
def test_at_share_one_the_numbers_are_the_dense_heads(data, make_job, monkeypatch, loss, optimizer) -> None:
    job = make_job(loss, keep=True, training={"optimizer": optimizer, "clip_norm": 1.0})
    dense = train(job, data)
    made = []

    def forced(loss, share, num_classes, generator):
        made.append(ClassSample(loss, 1.0, num_classes, generator))
        return made[-1]

    monkeypatch.setattr("mlcompare.training.single_stage.class_sample", forced)
    assert_same(train(job, data), dense)
    assert dense.status == "ok"
    assert len(made) == 1


@pytest.fixture(scope="module")
def many() -> TrainingData:
    """Two hundred classes of four samples in eight dimensions."""
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(200), 4)
    samples = rng.normal(size=(200, 8))[labels] + 0.3 * rng.normal(size=(800, 8))
    dataset = Dataset("many", samples.astype(np.float32), labels, tuple(f"c{n}" for n in range(200)))
    return TrainingData(dataset, draw_splits(labels, test_classes=0.2, folds=2))


def sampled(make_job, share: float, loss: str = "cosface", **more):
    training = {"steps": 60, "class_sample": share, "optimizer": "adamw", "evaluations": 2, **more.pop("training", {})}
    return make_job(loss, training=training, keep=True, **more)


def test_a_training_with_a_tenth_of_the_classes_learns(many, make_job) -> None:
    job = sampled(make_job, 0.1, training={"steps": 300, "lr": 0.03}, metrics=("map_at_r",))
    result, start = train(job, many), train(replace(job, training=job.training.replaced(steps=1, evaluations=0)), many)
    assert result.status == "ok"
    assert result.metrics["map_at_r"] > start.metrics["map_at_r"] + 0.05
    weights = restore(job, many, result).loss.class_weights
    assert weights.shape == (80, 4), "all rows are kept: accuracy and exports see every class"
    assert np.isfinite(result.history["loss"]).all()
    assert_same(train(job, many), result)


@pytest.mark.parametrize("share", [0.001, 0.02])
def test_a_share_below_the_batchs_classes_sees_those_alone(many, make_job, share) -> None:
    """As in the paper: P = 3 classes of a batch, and a share that leaves room for 0 or 1."""
    assert train(sampled(make_job, share), many).status == "ok"
    sample = ClassSample(built("arcface"), share, C, torch.Generator())
    assert sample.draw(torch.tensor([7, 3, 7, 11])).tolist() == [3, 7, 11]


def test_every_other_class_is_drawn_as_often() -> None:
    sample = ClassSample(built("arcface"), 0.5, C, torch.Generator().manual_seed(0))
    labels = torch.tensor([4, 4, 9])
    counts = sum(torch.bincount(sample.draw(labels), minlength=C) for _ in range(900))
    assert counts[[4, 9]].tolist() == [900, 900]
    others = counts[[n for n in range(C) if n not in (4, 9)]]
    assert (others - 400).abs().max() < 75, "5 σ of a binomial with p = 8/18 of 900"


@pytest.mark.parametrize("loss", ["softmax", "center"])
def test_a_checkpoint_has_the_rows_of_every_class(many, make_job, monkeypatch, tmp_path: Path, loss) -> None:
    job = sampled(make_job, 0.2, loss, folder=str(tmp_path), training={"steps": 9, "microbatch": 4, "ema": 0.9})
    at_every_step(ENGINES["alone"], [job], many, monkeypatch, (1, 2, 5, 8, 9))


def test_work_and_memory_follow_the_sample(make_job) -> None:
    """No tensor of a step is (C, D) but for the keys that draw the classes, (C,)."""
    from torch.utils._python_dispatch import TorchDispatchMode

    class Largest(TorchDispatchMode):
        most = 0

        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            found = func(*args, **(kwargs or {}))
            mine = found if isinstance(found, tuple | list) else [found]
            if "_to_copy" not in str(func) and not func._schema.is_mutable and "aten.detach" not in str(func):
                self.most = max([self.most, *(t.numel() for t in mine if isinstance(t, torch.Tensor))])
            return found

    count = 5000
    loss = get_spec("cosface").create(num_classes=count, embedding_dim=32)
    sample = ClassSample(loss, 0.01, count, torch.Generator().manual_seed(0))
    stepper = optimizer_of(sample)
    labels, embeddings = torch.arange(8), torch.randn(8, 32, requires_grad=True)

    def step() -> None:
        with sample.step(stepper, labels):
            stepper.zero_grad()
            sample(embeddings, labels, None).backward()
            stepper.step()

    step()  # makes room for what the optimiser keeps
    with Largest() as watching:
        step()
    assert watching.most == count


@pytest.mark.slow
def test_a_million_classes_train() -> None:
    count, dim = 1_000_000, 256
    loss = get_spec("arcface").create(num_classes=count, embedding_dim=dim)
    sample = ClassSample(loss, 0.01, count, torch.Generator().manual_seed(0))
    stepper = optimizer_of(sample, "sgd_momentum")
    labels = torch.arange(0, count, count // 64)[:64]
    embeddings = torch.randn(64, dim)
    values = []
    for _ in range(5):
        with sample.step(stepper, labels):
            stepper.zero_grad()
            value = sample(embeddings, labels, None)
            value.backward()
            stepper.step()
        values.append(value.item())
    assert values[-1] < values[0]


def test_a_loss_of_ones_own_says_what_has_a_row_for_each_class() -> None:
    class Mine(Head):
        def setup(self, generator) -> None:
            super().setup(generator)
            self.register_buffer("seen", torch.zeros(self.num_classes))

        def compute(self, embeddings, labels, noise):
            return nn.functional.cross_entropy(self.cosines(embeddings), labels) + self.seen[labels].sum()

    made = Mine(num_classes=C, embedding_dim=D)
    with pytest.raises(InvalidValueError, match=r"row for each class, got seen; add 'seen' to `class_rows` of Mine"):
        class_sample(made, 0.5, C, torch.Generator())
    Mine.class_rows = ("class_weights", "seen")
    assert class_sample(made, 0.5, C, torch.Generator()) is not None
    assert class_sample(made, 1.0, C, torch.Generator()) is None


def test_a_sum_with_a_loss_from_elsewhere_that_has_classes_is_refused(many, make_job) -> None:
    result = train(sampled(make_job, 0.2, "both", terms=["cosface", "pml/ProxyNCALoss"], kind="sum"), many)
    assert result.status == "failed"
    assert "`class_sample` must know what has a row for each class" in str(result.reason)
    assert (
        train(sampled(make_job, 0.2, "both", terms=["cosface", "pml/TripletMarginLoss"], kind="sum"), many).reason
        is None
    )


def test_a_sum_takes_one_sample_for_all_its_terms(many, make_job) -> None:
    terms = {"terms": ["cosface", "margin_based"], "kind": "sum", "values": {"per_class": True}}
    result = train(sampled(make_job, 0.2, "both", **terms), many)
    assert result.status == "ok", result.reason
    pairs = train(sampled(make_job, 0.2, "contrastive"), many)
    assert_same(pairs, train(sampled(make_job, 1.0, "contrastive"), many))


def test_they_train_alone_and_the_share_has_bounds(make_job) -> None:
    assert population_key(sampled(make_job, 0.5)) is None
    plan = make_plan(validated({**TINY, "training": {**TINY["training"], "class_sample": 0.5}}, "x"))
    assert "class_sample" in str(plan.alone)
    for wrong in (0.0, 1.5, -0.1):
        with pytest.raises(StudyFileError, match="class_sample"):
            validated({**TINY, "training": {"class_sample": wrong}}, "x")


def test_an_encoder_with_a_neck_trains_with_it(images, make_job) -> None:
    job = replace(sampled(make_job, 0.5), encoder=EncoderConfig("conv", 6, {"channels": (4, 8)}))
    assert train(job, images).status == "ok"
