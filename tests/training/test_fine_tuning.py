"""What fine-tuning asks for: parts that stay, rates by layer, bounded gradients, averaged weights."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from mlcompare.encoders import create_encoder
from mlcompare.errors import StudyFileError
from mlcompare.study.config import validated
from mlcompare.study.plan import make_plan
from mlcompare.training import EncoderConfig, TrainingConfig, train
from mlcompare.training.average import Average
from mlcompare.training.clipping import clip
from mlcompare.training.freeze import freeze, training_mode
from mlcompare.training.optimizers import create_optimizer
from mlcompare.training.population import population_key, train_population
from mlcompare.training.prepare import build_encoder
from mlcompare.training.rates import layers_of, rate_groups
from tests.study.conftest import TINY

ENGINES = {"alone": lambda jobs, data: [train(job, data) for job in jobs], "together": train_population}
CONV = EncoderConfig("conv", 6, {"channels": (4, 8)})  # 0 conv, 1 norm, 4 conv, 5 norm, …, 9 linear


@pytest.fixture(params=ENGINES)
def engine(request):
    return ENGINES[request.param]


def two(make_job, encoder: EncoderConfig, loss: str = "cosface", **training):
    return [replace(make_job(loss, seed=seed, training=training, keep=True), encoder=encoder) for seed in (1, 2)]


def moved(job, result, data) -> set[str]:
    """Return the names of what is no longer as it was at first."""
    before = build_encoder(job, data.dataset).state_dict()
    now = result.artifacts["weights"]
    return {name for name, tensor in before.items() if not np.array_equal(tensor.numpy(), now[name])}


def names_of(job, data) -> set[str]:
    return set(build_encoder(job, data.dataset).state_dict())


@pytest.mark.parametrize(
    ("patterns", "still"), [(("0", "1"), ("0.", "1.")), (("?.bias",), ()), (("[01].*", "4"), None)]
)
def test_what_is_frozen_does_not_move(images, make_job, engine, patterns, still) -> None:
    jobs = two(make_job, replace(CONV, freeze=patterns))
    for job, result in zip(jobs, engine(jobs, images)):
        assert result.status == "ok", result.reason
        free = dict(build_encoder(job, images.dataset).named_parameters())
        fixed = {name for name, weight in free.items() if not weight.requires_grad}
        assert fixed
        now = moved(job, result, images)
        assert not fixed & now
        assert {name for name, weight in free.items() if weight.requires_grad} <= now
        if still is not None:
            unmoved = names_of(job, images) - now
            statistics = {"1.running_mean", "1.running_var", "1.num_batches_tracked"}
            assert (statistics <= unmoved) is ("1." in still), "a frozen batch norm keeps its statistics"


@pytest.mark.parametrize("batch_norm", ["train", "eval"])
def test_batch_norm_in_evaluation_mode(images, make_job, engine, batch_norm) -> None:
    jobs = two(make_job, replace(CONV, batch_norm=batch_norm))
    for job, result in zip(jobs, engine(jobs, images)):
        assert result.status == "ok", result.reason
        running = {name for name in names_of(job, images) if "running" in name or "tracked" in name}
        assert running
        assert (running <= moved(job, result, images)) is (batch_norm == "train")
        assert not (batch_norm == "eval" and running & moved(job, result, images))
        assert "1.weight" in moved(job, result, images), "its weights learn"


@pytest.mark.parametrize("encoder", [{"freeze": ("0", "1")}, {"batch_norm": "eval"}, {}], ids=str)
@pytest.mark.parametrize("clip_norm", [None, 0.05])
def test_both_engines_agree(images, make_job, encoder, clip_norm) -> None:
    jobs = two(make_job, replace(CONV, **encoder), clip_norm=clip_norm, steps=5, optimizer="sgd_momentum")
    for alone, together in zip(*(engine(jobs, images) for engine in ENGINES.values())):
        np.testing.assert_allclose(alone.history["loss"], together.history["loss"], rtol=1e-5)
        for name, weights in alone.artifacts["weights"].items():
            np.testing.assert_allclose(together.artifacts["weights"][name], weights, rtol=1e-3, atol=1e-5)


def test_what_differs_in_it_does_not_train_together(make_job) -> None:
    plain, frozen = (replace(make_job(), encoder=replace(CONV, freeze=names)) for names in ((), ("0",)))
    assert population_key(plain) != population_key(frozen)
    assert population_key(plain) != population_key(replace(plain, encoder=replace(CONV, batch_norm="eval")))


@pytest.mark.parametrize("section", [{"freeze": ["conv9"]}, {"freeze": ["1", "*.wieght"]}])
def test_a_pattern_that_matches_nothing_is_an_error(section) -> None:
    study = {**TINY, "encoder": {**TINY["encoder"], **section}}
    with pytest.raises(StudyFileError, match=re.escape(repr(section["freeze"][-1]))) as caught:
        make_plan(validated(study, "study.yaml"), place="study.yaml")
    assert "study.yaml: encoder" in str(caught.value)
    assert "its parts with weights are" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("section", [{"freeze": ["0"]}, {"batch_norm": "eval"}])
def test_a_frozen_encoder_has_nothing_more_to_freeze(section) -> None:
    with pytest.raises(StudyFileError, match="leave out `freeze` and `batch_norm`"):
        validated({**TINY, "encoder": {"name": "linear", "frozen": True, **section}}, "x")


def test_freezing_everything_leaves_nothing_to_train(images, make_job) -> None:
    result = train(replace(make_job("contrastive"), encoder=replace(CONV, freeze=("*",))), images)
    assert result.status == "failed"
    assert "something must be trainable" in str(result.reason)
    assert train(replace(make_job("cosface"), encoder=replace(CONV, freeze=("*",))), images).status == "ok"


def test_modes_of_parts_that_are_no_batch_norm_are_training() -> None:
    encoder = nn.Sequential(nn.Dropout(), nn.BatchNorm1d(2, affine=False), nn.Linear(2, 2)).eval()
    assert [p.training for p in training_mode(encoder, ["1"], "train")] == [True, False, True]
    assert [p.training for p in training_mode(encoder, [], "eval")] == [True, False, True]
    assert [p.training for p in training_mode(encoder, [], "train")] == [True, True, True]
    freeze(encoder, ["2.w*"])
    assert [p.requires_grad for p in encoder.parameters()] == [False, True]


def test_gradients_are_clipped_to_a_norm_of_all_weights_together(data, make_job, engine, monkeypatch) -> None:
    """Plain SGD moves by lr times the gradient: the way of a step is bounded by lr × norm, of each member's own."""
    jobs = two(make_job, EncoderConfig("linear", 4), optimizer="sgd", weight_decay=0.0, steps=1, clip_norm=0.01)
    for job, result in zip(jobs, engine(jobs, data)):
        before = build_encoder(job, data.dataset).state_dict()
        squares = sum(((result.artifacts["weights"][n] - b.numpy()) ** 2).sum() for n, b in before.items())
        loose = replace(job, training=job.training.replaced(clip_norm=None))
        wild = train(loose, data).artifacts["weights"]
        all_squares = sum(((wild[n] - b.numpy()) ** 2).sum() for n, b in before.items())
        assert all_squares > 2 * squares
        assert squares**0.5 <= 0.01 * 0.01 * 1.001
    wide = two(make_job, EncoderConfig("linear", 4), clip_norm=1e9)
    plain = two(make_job, EncoderConfig("linear", 4))
    for one, other in zip(engine(wide, data), engine(plain, data)):
        assert one.history == other.history, "a bound that is not met changes nothing"


def test_clipping_scales_all_gradients_alike() -> None:
    weights = [torch.zeros(1, requires_grad=True) for _ in range(3)]
    weights[0].grad, weights[1].grad = torch.tensor([3.0]), torch.tensor([4.0])
    clip(weights, 1.0)
    torch.testing.assert_close(torch.cat([weights[0].grad, weights[1].grad]), torch.tensor([0.6, 0.8]))
    assert weights[2].grad is None


def test_the_average_is_what_is_measured_and_kept(data, make_job) -> None:
    """By hand, over the weights that shorter trainings end with."""
    steps, decay = 6, 0.5
    job = two(make_job, EncoderConfig("linear", 4), steps=steps, ema=decay, evaluations=3, sampler="random")[0]
    raw = [build_encoder(job, data.dataset).state_dict()["1.weight"].numpy()]
    for count in range(1, steps + 1):
        short = job.training.replaced(steps=count, ema=None, evaluations=0)
        raw.append(train(replace(job, training=short), data).artifacts["weights"]["1.weight"])
    mean = raw[0].astype(float)
    for count, weights in enumerate(raw[1:]):
        d = min(decay, (1 + count) / (10 + count))
        mean = d * mean + (1 - d) * weights
    found = train(job, data)
    np.testing.assert_allclose(found.artifacts["weights"]["1.weight"], mean, atol=1e-6)
    assert not np.allclose(raw[-1], mean, atol=1e-4)
    half = train(replace(job, training=job.training.replaced(steps=4, evaluations=2)), data)
    assert half.curve["map_at_r"][-1] == found.curve["map_at_r"][found.curve["step"].index(4)]
    best = train(replace(job, training=job.training.replaced(select="best")), data)
    assert best.metrics["map_at_r"] == max(best.curve["map_at_r"])


def test_an_average_leaves_the_training_as_it_is(images, make_job) -> None:
    job = two(make_job, CONV, evaluations=4)[0]
    one, other = (train(replace(job, training=job.training.replaced(ema=ema)), images) for ema in (None, 0.9))
    assert one.history == other.history
    assert one.curve != other.curve
    layer = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
    layer[0].bias.requires_grad_(False)
    average = Average(layer, nn.Identity(), 0.5)
    layer(torch.randn(5, 2)).sum()
    now = {name: tensor.clone() for name, tensor in layer.state_dict().items()}
    with average.applied():
        assert not layer[1].running_mean.equal(now["1.running_mean"])
        assert layer[1].num_batches_tracked == 1, "a count is no average"
    with pytest.raises(ZeroDivisionError), average.applied():
        layer[1].train(1 / 0)  # whatever fails, the weights come back
    for name, tensor in layer.state_dict().items():
        assert tensor.equal(now[name])


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(2, 2), nn.LayerNorm(2), nn.Linear(2, 2))


class Transformer(nn.Module):
    """Named as vision transformers and BERT name their parts."""

    def __init__(self, depth: int) -> None:
        super().__init__()
        self.cls_token = nn.Parameter(torch.zeros(1, 1, 2))
        self.embeddings = nn.Linear(2, 2)
        self.encoder = nn.Module()
        self.encoder.layer = nn.ModuleList([Block() for _ in range(depth)])
        self.norm = nn.LayerNorm(2)


def test_layers_are_blocks_where_they_repeat() -> None:
    layers = layers_of(nn.Sequential(Transformer(3), nn.Linear(2, 2)))
    firsts = [names[0] for names in layers]
    assert firsts == [
        "0.cls_token", "0.encoder.layer.0.layers.0.weight", "0.encoder.layer.1.layers.0.weight",
        "0.encoder.layer.2.layers.0.weight", "1.weight",
    ]  # fmt: skip
    assert layers[0] == ["0.cls_token", "0.embeddings.weight", "0.embeddings.bias"]
    assert layers[3][-2:] == ["0.norm.weight", "0.norm.bias"], "a norm belongs to the layer before it"


@pytest.mark.parametrize(
    ("name", "options", "count"),
    [("conv4", {}, 5), ("mlp", {}, None), ("resnet", {"depth": 10}, 6), ("resnet", {"depth": 18}, 10),
     ("linear", {}, 1), ("resnet", {"depth": 18, "attention": "cbam"}, 10), ("lenetpp", {}, None)],
)  # fmt: skip
def test_every_weight_is_in_one_layer(name, options, count) -> None:
    shape = (8,) if name in ("mlp",) else (1, 32, 32)
    encoder = create_encoder(name, input_shape=shape, embedding_dim=4, **options)
    layers = layers_of(encoder)
    names = [name for layer in layers for name in layer]
    assert sorted(names) == sorted(dict(encoder.named_parameters()))
    assert count is None or len(layers) == count, [layer[0] for layer in layers]


def test_each_layer_learns_at_its_rate(data, make_job) -> None:
    """With plain SGD and one step, the way of a layer's weights is its rate."""
    mlp = EncoderConfig("mlp", 4)
    training = {"optimizer": "sgd", "steps": 1, "weight_decay": 0.0}
    plain = two(make_job, mlp, **training)[0]
    decayed = two(make_job, mlp, layer_decay=0.5, neck_lr_ratio=3.0, **training)[0]
    before = build_encoder(plain, data.dataset).state_dict()
    one, other = (train(job, data).artifacts["weights"] for job in (plain, decayed))
    encoder = build_encoder(plain, data.dataset)
    layers = layers_of(encoder)
    assert len(layers) == 2
    for number, names in enumerate(layers):
        ratio = 3.0 if number == len(layers) - 1 else 0.5
        for name in names:
            way, full = other[name] - before[name].numpy(), one[name] - before[name].numpy()
            np.testing.assert_allclose(way, ratio * full, atol=1e-7)


def test_frozen_layers_count_and_take_no_part() -> None:
    encoder = create_encoder("mlp", input_shape=(8,), embedding_dim=4)
    names = layers_of(encoder)[0]
    freeze(encoder, [names[0].split(".")[0]])
    groups = rate_groups(encoder, TrainingConfig(layer_decay=0.5))
    assert [ratio for _, ratio in groups] == [1.0]
    optimizer = create_optimizer(encoder, [], TrainingConfig(layer_decay=0.5, lr=0.1))
    assert [group["lr"] for group in optimizer.param_groups] == [0.1]


@pytest.mark.parametrize("changes", [{"ema": 0.9}, {"layer_decay": 0.9}, {"neck_lr_ratio": 10.0}])
def test_what_is_of_one_training_trains_alone_with_the_reason(make_job, changes) -> None:
    assert population_key(make_job(training=changes)) is None
    plan = make_plan(validated({**TINY, "training": {**TINY["training"], **changes}}, "x"))
    assert next(iter(changes)) in str(plan.alone)


@pytest.mark.parametrize(
    "changes",
    [{"clip_norm": 0}, {"ema": 1.0}, {"ema": 0}, {"layer_decay": 0}, {"layer_decay": 1.1}, {"neck_lr_ratio": 0}],
)
def test_numbers_have_bounds(changes) -> None:
    with pytest.raises(StudyFileError, match=f"training.{next(iter(changes))}"):
        validated({**TINY, "training": changes}, "x")
