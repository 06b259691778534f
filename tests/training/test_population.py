"""A population's members train as they would alone."""

from __future__ import annotations

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch

from mlcompare.errors import InvalidValueError
from mlcompare.losses.head import MarginHead
from mlcompare.registry import list_losses
from mlcompare.training import EncoderConfig, TrainingConfig, stacked_optimizers, train
from mlcompare.training.optimizers import OPTIMIZERS, create_optimizer, learning_rate_factor
from mlcompare.training.population import population_key, train_population
from mlcompare.training.searched import with_searched
from mlcompare.training.stacked_optimizers import VECTORIZED, StackedOptimizer, StackedWeights

NATIVE = [spec.name for spec in list_losses(provider="native") if spec.batched and not spec.term]


def members(make_job, loss: str, encoder: EncoderConfig, **training):
    """Four members that differ in seed, fold, learning rate and a hyperparameter."""
    jobs = []
    for number, lr in enumerate((0.003, 0.01, 0.03, 0.01)):
        base = make_job(loss, seed=number, fold=number % 2, values={"lr": lr}, training={"steps": 4, **training})
        searched = {n: h for n, h in base.loss.hyperparameters.items() if h.searched and not h.integer}
        values = dict(base.hyperparameters)
        if searched:
            name, h = next(iter(searched.items()))
            values[name] = h.low + (0.4 + 0.05 * number) * (h.high - h.low)
        jobs.append(replace(base, trial=number, hyperparameters=values, encoder=encoder))
    return jobs


def assert_alike(jobs, data) -> None:
    together = train_population(jobs, data)
    for job, result in zip(jobs, together):
        alone = train(job, data)
        assert (result.key, result.status, result.reason) == (job.key, alone.status, alone.reason)
        assert result.history["loss"] == pytest.approx(alone.history["loss"], rel=2e-3, abs=1e-5)
        assert result.metrics["map_at_r"] == pytest.approx(alone.metrics["map_at_r"], abs=0.03)


@pytest.mark.parametrize("loss", NATIVE)
def test_every_native_loss_with_a_linear_encoder(data, make_job, loss: str) -> None:
    assert_alike(members(make_job, loss, EncoderConfig("linear", 6)), data)


@pytest.mark.slow
@pytest.mark.parametrize("loss", NATIVE)
@pytest.mark.parametrize("encoder", ["mlp", "conv"])
def test_every_native_loss_with_deeper_encoders(images, make_job, loss: str, encoder: str) -> None:
    options = {"mlp": {"width": 16}, "conv": {"channels": [4, 8]}}[encoder]
    assert_alike(members(make_job, loss, EncoderConfig(encoder, 6, options), augment={"flip": 0.5, "shift": 1}), images)


@pytest.mark.parametrize("loss", ["cosface", "margin_based", "center"])
def test_batch_norm_and_augmentation(images, make_job, loss: str) -> None:
    encoder = EncoderConfig("conv", 6, {"channels": [4, 8]})
    assert_alike(members(make_job, loss, encoder, augment={"flip": 0.5, "shift": 1}), images)


def test_in_bfloat16_both_engines_agree_and_losses_stay_in_float32(images, make_job, monkeypatch) -> None:
    seen = []
    compute = MarginHead.compute

    def spy(self, embeddings, labels, noise):
        seen.append((embeddings.dtype, torch.equal(embeddings.bfloat16().float(), embeddings)))
        return compute(self, embeddings, labels, noise)

    encoder = EncoderConfig("conv", 6, {"channels": [4, 8]})
    halves = members(make_job, "cosface", encoder, precision="bfloat16")
    wholes = members(make_job, "cosface", encoder)
    together = train_population(halves, images)
    monkeypatch.setattr(MarginHead, "compute", spy)
    for half, whole, result in zip(halves, wholes, together):
        alone, full = train(half, images), train(whole, images)
        assert result.history["loss"] == pytest.approx(alone.history["loss"], rel=0.02)
        assert full.history["loss"] == pytest.approx(alone.history["loss"], rel=0.05)
        assert full.history["loss"] != alone.history["loss"]
    assert {kind for kind, _ in seen} == {torch.float32}
    assert [rounded for _, rounded in seen] == ([True] * 4 + [False] * 4) * 4, "bfloat16 where asked for, else not"


IMAGE_ENCODERS = {
    "lenetpp": {"width": 4},
    "l_softmax_net": {"width": 4},
    "hog": {},
    **{f"resnet-{n}": {"depth": 10, "width": 4, "norm": n} for n in ("bn", "ln", "in", "gn")},
    **{f"resnet-{a}": {"depth": 10, "width": 4, "attention": a} for a in ("se", "spatial", "cbam")},
    **{f"resnet-{p}": {"depth": 10, "width": 4, "pooling": p} for p in ("max", "gem", "spp")},
}


@pytest.mark.slow
@pytest.mark.parametrize("loss", ["cosface", "triplet"])
@pytest.mark.parametrize("encoder", IMAGE_ENCODERS)
def test_every_image_encoder(images, make_job, encoder: str, loss: str) -> None:
    config = EncoderConfig(encoder.split("-")[0], 6, IMAGE_ENCODERS[encoder])
    jobs = [
        replace(job, hyperparameters={**job.hyperparameters, "lr": 1e-4}) for job in members(make_job, loss, config)
    ]
    assert_alike(jobs, images)


def test_models_of_other_libraries_train_alone(make_job) -> None:
    job = make_job()
    assert population_key(job) is not None
    assert population_key(replace(job, encoder=EncoderConfig("transformers:vit", 6))) is None


def test_stages_and_sums(data, make_job) -> None:
    for kind, terms in (("stages", ["softmax", "triplet"]), ("sum", ["arcface", "center_term"])):
        training = {"steps": 6, "schedule": "cosine", "warmup": 0.5}
        jobs = [make_job(kind, terms, kind, seed=seed, training=training) for seed in range(3)]
        assert_alike(jobs, data)


def test_kept_weights_are_the_members_own(images, make_job) -> None:
    jobs = [
        replace(make_job(seed=seed, training={"steps": 3}), keep=True, encoder=EncoderConfig("conv", 4))
        for seed in (0, 1)
    ]
    for job, result in zip(jobs, train_population(jobs, images)):
        alone = train(job, images)
        assert result.artifacts["weights"].keys() == alone.artifacts["weights"].keys()
        for name, weights in alone.artifacts["weights"].items():
            np.testing.assert_allclose(result.artifacts["weights"][name], weights, rtol=1e-3, atol=1e-4)


def test_a_member_that_diverges_fails_alone(data, make_job) -> None:
    jobs = [
        make_job("softmax", seed=1, values={"lr": lr}, training={"optimizer": "sgd", "steps": 30})
        for lr in (0.01, 1e30)
    ]
    good, bad = train_population(jobs, data)
    assert bad.status == "failed"
    assert "diverged" in bad.reason
    assert good.status == "ok"
    alone = train(jobs[0], data)
    assert good.history["loss"] == pytest.approx(alone.history["loss"], rel=1e-3)


def test_only_jobs_of_one_program_fit_together(data, make_job) -> None:
    with pytest.raises(InvalidValueError, match="2 kinds"):
        train_population([make_job("cosface"), make_job("arcface")], data)
    with pytest.raises(InvalidValueError, match="shares"):
        train_population([make_job("pml/TripletMarginLoss")], data)
    one, other = make_job("margin_based"), make_job("margin_based", values={"sampling": "hard"})
    assert population_key(one) != population_key(other), "options shape the program"


@pytest.mark.parametrize("schedule", ["constant", "cosine", "step"])
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_every_optimiser_and_schedule_in_both_engines(data, make_job, optimizer: str, schedule: str) -> None:
    rates = {"sgd": 0.05, "sgd_momentum": 0.01}
    training = {"optimizer": optimizer, "schedule": schedule, "warmup": 0.3, "steps": 10, "milestones": (0.5,)}
    jobs = [
        make_job("softmax", seed=seed, training=training, values={"lr": rates.get(optimizer, 0.003) * (1 + seed)})
        for seed in range(2)
    ]
    jobs = [replace(job, hyperparameters={**job.hyperparameters, "head_lr_ratio": 3.0}) for job in jobs]
    assert_alike(jobs, data)
    plain = [replace(job, training=job.training.replaced(warmup=0.0, schedule="constant")) for job in jobs]
    changed = [
        a.history["loss"] != b.history["loss"] for a, b in zip(*(train_population(j, data) for j in (jobs, plain)))
    ]
    assert all(changed), "schedule and warm-up reach the population"


@pytest.mark.parametrize("fused", [True, False], ids=["fused", "vectorized"])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_stacked_optimisers_are_torchs(monkeypatch, name: str, fused: bool) -> None:
    if not fused:  # as on a GPU
        monkeypatch.setattr(stacked_optimizers, "FUSED", frozenset())
    torch.manual_seed(0)
    configs = [
        TrainingConfig(optimizer=name, lr=lr, weight_decay=decay, momentum=momentum, head_lr_ratio=ratio)
        for lr, decay, momentum, ratio in ((0.1, 0.0, 0.9, 1.0), (0.02, 0.1, 0.5, 10.0), (0.003, 0.3, 0.0, 0.1))
    ]
    encoders = [torch.nn.Linear(4, 3).double() for _ in configs]
    heads = [torch.nn.Linear(3, 2).double() for _ in configs]
    stacks = [StackedWeights(torch.func.stack_module_state(copy.deepcopy(modules))[0]) for modules in (encoders, heads)]
    stacked = StackedOptimizer(*stacks, configs)
    alone = [create_optimizer(e, [h], c) for e, h, c in zip(encoders, heads, configs)]
    inputs = torch.randn(6, len(configs), 5, 4, dtype=torch.float64)
    schedule = TrainingConfig(schedule="cosine", warmup=0.4, steps=len(inputs))
    for step, batch in enumerate(inputs):
        factor = learning_rate_factor(schedule, step / len(inputs))
        for view in (view for stack in stacks for view in stack.views.values()):
            view.grad = None
        for number, optimizer in enumerate(alone):
            optimizer.zero_grad()
            for group in optimizer.param_groups:
                group["lr"] = group["initial_lr"] * factor
            heads[number](encoders[number](batch[number])).square().mean().backward()
            optimizer.step()
            e, h = ({n: v[number] for n, v in stack.views.items()} for stack in stacks)
            hidden = batch[number] @ e["weight"].T + e["bias"]
            (hidden @ h["weight"].T + h["bias"]).square().mean().backward()
        stacked.step(factor)
    for number, modules in enumerate(zip(encoders, heads)):
        for module, stack in zip(modules, stacks):
            for key, parameter in module.named_parameters():
                torch.testing.assert_close(stack.views[key][number], parameter, rtol=1e-7, atol=1e-9)
    assert set(VECTORIZED) == {spec.name for spec in OPTIMIZERS.records(provider="native")}


@pytest.mark.parametrize("loss", ["cosface", "margin_based", "proxy_anchor"])
@pytest.mark.parametrize("optimizer", ["adamw", "sgd_momentum", "adagrad"])
def test_every_member_has_its_own_batches_and_head(data, make_job, loss: str, optimizer: str) -> None:
    own = [(6, 0.1, 0.0), (3, 1.0, 0.1), (2, 30.0, 0.3), (1, 100.0, 1e-3)]  # K, head_lr_ratio, head_weight_decay
    size = {"classes_per_batch": 2, "samples_per_class": 3, "optimizer": optimizer}
    jobs = [
        replace(job, hyperparameters={**job.hyperparameters, "samples_per_class": k, "head_lr_ratio": ratio,
                                      "head_weight_decay": decay})
        for job, (k, ratio, decay) in zip(members(make_job, loss, EncoderConfig("linear", 6), **size), own)
    ]  # fmt: skip
    assert_alike(jobs, data)
    assert len({population_key(job) for job in jobs}) == 1
    other = replace(jobs[0], hyperparameters={**jobs[0].hyperparameters, "classes_per_batch": 4})
    assert population_key(other) != population_key(jobs[0]), "another size of batch is another program"


@pytest.mark.parametrize("name", ["sgd_momentum", "adamw"])
def test_the_heads_decay_is_its_own(data, make_job, name: str) -> None:
    """Without a learning rate of the encoder's, the class weights shrink by their own decay alone."""
    job = make_job("softmax", values={"head_weight_decay": 0.5}, training={"optimizer": name, "weight_decay": 0.0})
    config = with_searched(job.training, job.hyperparameters, 4)
    encoder, head = torch.nn.Linear(3, 2), torch.nn.Linear(2, 4)
    before = [parameter.detach().clone() for parameter in (*encoder.parameters(), *head.parameters())]
    optimizer = create_optimizer(encoder, [head], config)
    for parameter in (*encoder.parameters(), *head.parameters()):
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    shrunk = 1 - config.head_rate * 0.5
    for number, (old, new) in enumerate(zip(before, (*encoder.parameters(), *head.parameters()))):
        torch.testing.assert_close(new.detach(), old * (1.0 if number < 2 else shrunk))
