"""Class weights shared out over two ranks: the numbers of one process, and whole wherever anyone looks at them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from mlcompare.errors import InvalidValueError, StudyFileError
from mlcompare.execution.ranks import met, train_in_ranks
from mlcompare.losses.base import Loss
from mlcompare.losses.compose import LossEntry, Term
from mlcompare.losses.cosface import CosFace
from mlcompare.registry import get_spec, list_losses
from mlcompare.registry.registry import NATIVE
from mlcompare.study import make_plan
from mlcompare.study.config import validated
from mlcompare.training import TrainingConfig, TrainingResult, train
from mlcompare.training.checkpoint import Checkpoint
from mlcompare.training.class_shards import ClassShards, can_be_sharded, class_shards
from mlcompare.training.ranks import Ranks
from tests.execution.test_ranks import Killed, by_two, images, job_of, same

C, D, B = 7, 5, 9  # rows that don't come out even
STAGES = LossEntry("then", "stages", (Term("contrastive"), Term("softmax")))
BOTH = LossEntry("both", "sum", (Term("softmax"), Term("center")))
OPTIONS: dict[str, dict[str, Any]] = {"normface": {"learn_scale": True}, "l2_softmax": {"learn_alpha": True}}
CASES: dict[str, tuple[Any, dict[str, Any]]] = {
    "softmax": ("softmax", {}),
    "margin": ("arcface", {}),
    "no class weights": ("contrastive", {}),
    "stages": (STAGES, {}),
    "pieces": ("cosface", {"microbatch": 2}),
    "average and clipping": ("cosface", {"ema": 0.9, "clip_norm": 0.5, "select": "best"}),
    "momentum": ("modified_softmax", {"optimizer": "sgd_momentum", "head_weight_decay": 0.1}),
    "float16": ("cosface", {"precision": "float16"}),
}
WATCHED = {"optimizer": "adamw", "ema": 0.9}


def sharded(loss: Any, **training: Any) -> Any:
    return job_of(loss, **{"class_weights": "sharded", **training})


def made(name: str) -> Loss:
    return get_spec(name).create(
        num_classes=C, embedding_dim=D, generator=torch.Generator().manual_seed(1), **OPTIONS.get(name, {})
    )


def heads() -> list[str]:
    """The registered losses whose class weights can be shared out."""
    specs = [spec for spec in list_losses() if spec.provider == NATIVE]
    return [spec.name for spec in specs if can_be_sharded(made(spec.name))]


def batch() -> tuple[nn.Linear, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(2)
    encoder, inputs = nn.Linear(4, D), torch.randn(B, 4, generator=generator)
    weights = torch.randn(D, 4, generator=generator)
    encoder.weight.data.copy_(weights), encoder.bias.data.zero_()
    return encoder, inputs, torch.randint(C, (B,), generator=generator)


def gradients_of(name: str, ranks: Ranks | None) -> dict[str, Tensor]:
    """The loss of a batch, and the gradients of everything: from this process alone, or put together of all ranks."""
    loss, (encoder, inputs, labels) = made(name), batch()
    if ranks is None:
        value = loss(encoder(inputs), labels)
        value.backward()
        found = {key: parameter.grad for key, parameter in loss.named_parameters()}
        return {"value": value.detach(), "encoder": encoder.weight.grad, **found}
    shards = class_shards(loss, "sharded", ranks)
    assert isinstance(shards, ClassShards)
    value = shards(ranks.gathered(encoder(inputs[ranks.share(B)]), B), labels, None)
    value.backward()
    ranks.summed(encoder.parameters())
    shards.exchange()
    for parameter in shards.shards:
        parameter.data.copy_(parameter.grad)
    with shards.whole():
        found = {key: p.detach() if key in loss.class_rows else p.grad for key, p in loss.named_parameters()}
    return {"value": value.detach(), "encoder": encoder.weight.grad, **found}


def overflown_elsewhere(ranks: Ranks) -> Tensor:
    """This rank's gradient of the class weights where the second one's is infinite."""
    shards = class_shards(made("cosface"), "sharded", ranks)
    assert isinstance(shards, ClassShards)
    [weights] = shards.shards
    weights.grad = torch.full_like(weights, torch.inf if ranks.rank else 1.0)
    shards.exchange()
    return weights.grad


def in_ranks(rank: int, meeting: str) -> tuple[dict[str, dict[str, Tensor]], dict[str, TrainingResult]]:
    with met(rank, 2, meeting, "cpu"):
        ranks = Ranks(rank, 2)
        gradients = {name: gradients_of(name, ranks) for name in heads()}
        gradients["overflow"] = {"here": overflown_elsewhere(ranks)}
        jobs = {name: sharded(loss, **training) for name, (loss, training) in CASES.items()}
        jobs |= {"watched": sharded("cosface", **WATCHED), "accuracy": accuracy_job()}
        return gradients, {name: train(job, images(), ranks=ranks) for name, job in jobs.items()}


def accuracy_job() -> Any:
    return replace(sharded("arcface"), split="validation", metrics=("accuracy",))


@pytest.fixture(scope="module")
def shared(tmp_path_factory) -> tuple[dict[str, dict[str, Tensor]], dict[str, TrainingResult]]:
    """Everything computed by two processes, which start once."""
    return by_two(in_ranks, tmp_path_factory.mktemp("meeting"))


def test_which_heads_can_be_sharded() -> None:
    assert set(heads()) == {
        "softmax", "modified_softmax", "l2_softmax", "normface", "cosface", "arcface", "combined_margin", "l_softmax",
        "sphereface", "sphereface_fnorm", "sphereface_r", "subcenter_arcface", "soft_triple", "heated_up_softmax",
    }  # fmt: skip


@pytest.mark.parametrize("name", heads())
def test_loss_and_gradients_are_those_of_one_process(shared, name: str) -> None:
    alone, together = gradients_of(name, None), shared[0][name]
    assert alone.keys() == together.keys()
    for key, tensor in alone.items():
        assert tensor.abs().sum() > 0, key
        torch.testing.assert_close(together[key], tensor, rtol=1e-4, atol=1e-6, msg=f"{key} of {name}")


def test_a_step_that_overflows_on_one_rank_is_left_out_on_all(shared) -> None:
    assert not shared[0]["overflow"]["here"].isfinite().all()


@pytest.mark.parametrize("name", CASES)
def test_a_training_has_the_numbers_of_one_process(shared, name: str) -> None:
    loss, training = CASES[name]
    one, two = train(job_of(loss, **training), images()), shared[1][name]
    assert (one.status, two.status) == ("ok", "ok"), (one.reason, two.reason)
    close = {"rtol": 2e-2, "atol": 2e-2} if "precision" in training else {"rtol": 1e-4, "atol": 1e-5}
    np.testing.assert_allclose(two.history["loss"], one.history["loss"], **close)
    kept = {**one.artifacts, **one.artifacts["weights"]}
    also = {**two.artifacts, **two.artifacts["weights"]}
    for key in (key for key in kept if key.startswith("loss.") or key in one.artifacts["weights"]):
        np.testing.assert_allclose(also[key], kept[key], err_msg=key, **close)


def test_accuracy_is_that_of_all_classes(shared) -> None:
    one, two = train(replace(accuracy_job()), images()), shared[1]["accuracy"]
    assert two.metrics == one.metrics
    assert two.curve == one.curve


def test_interrupted_it_goes_on_from_a_checkpoint_with_every_class(shared, tmp_path: Path, monkeypatch) -> None:
    job = replace(sharded("cosface", checkpoint_minutes=1e-9, **WATCHED), folder=str(tmp_path))
    save, shapes = Checkpoint.save, []

    def then_killed(self, state) -> None:
        save(self, state)
        shapes.append(tuple(state["losses"][0]["tensors"]["class_weights"].shape))
        if len(shapes) == 5:
            raise Killed

    monkeypatch.setattr(Checkpoint, "save", then_killed)
    with pytest.raises(Killed):
        train_in_ranks(job, images())
    again = train_in_ranks(job, images())
    assert shapes == [(4, 4)] * 8
    same(again, shared[1]["watched"])


# ---------------------------------------------------------------------- what is refused


def test_a_rank_holds_its_rows_alone(monkeypatch) -> None:
    loss = CosFace(num_classes=C, embedding_dim=D)
    whole = loss.class_weights.detach().clone()
    shards = ClassShards(loss, Ranks(1, 2))
    assert [tuple(parameter.shape) for parameter in shards.parameters()] == [(5, D)]  # 4 of 7, the least room, and one
    torch.testing.assert_close(loss.class_weights[:3], whole[4:])
    assert not loss.class_weights[3:].any()
    assert class_shards(loss, "replicated", Ranks(0, 2)) is None
    assert class_shards(loss, "sharded", Ranks()) is None


def test_what_needs_all_classes_is_refused_before_anything_is_trained(tiny: dict) -> None:
    def plan(losses: dict[str, Any], **training: Any) -> None:
        training = {**tiny["training"], "ranks": 2, "class_weights": "sharded", **training}
        make_plan(validated({**tiny, "losses": losses, "training": training}, "x"), place="x")

    plan({"cosface": None, "contrastive": None})
    plain, both = "sharded class weights need a plain softmax", {"sum": [{"loss": "softmax"}, {"loss": "center"}]}
    for losses, training, told in (
        ({"adaface": None}, {}, rf"losses\.adaface: {plain}.*got AdaFace; leave out"),
        ({"both": both}, {}, rf"losses\.both: {plain}"),
        ({"cosface": None}, {"ranks": 1}, "2 or more"),
        ({"cosface": None}, {"class_sample": 0.5}, "leave out `class_sample`"),
        ({"cosface": None}, {"ranks": 12}, r"training: each rank must hold a class, got 12 ranks for \d+; use fewer"),
    ):
        with pytest.raises(StudyFileError, match=told):
            plan(losses, **training)
    with pytest.raises(InvalidValueError, match="got 3 ranks for 2"):
        class_shards(CosFace(num_classes=2, embedding_dim=D), "sharded", Ranks(0, 3))
    assert TrainingConfig().class_weights == "replicated"
