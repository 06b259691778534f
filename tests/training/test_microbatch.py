"""Batches in pieces: the loss and the gradients of the whole batch, in less memory."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from mlcompare.encoders import create_encoder, register_encoder
from mlcompare.encoders.base import ENCODERS
from mlcompare.errors import StudyFileError
from mlcompare.registry import get_spec, list_losses
from mlcompare.study.config import validated
from mlcompare.study.plan import make_plan
from mlcompare.training import EncoderConfig, train
from mlcompare.training.microbatch import backward_in_pieces
from mlcompare.training.population import population_key
from mlcompare.training.state import running_state
from tests.study.conftest import TINY

LOSSES = [spec.name for spec in list_losses(provider="native")]
MLP = EncoderConfig("mlp", 4, {"width": 16})


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("size", [1, 5, 12])
def test_every_loss_has_the_gradients_of_the_whole_batch(name: str, size: int) -> None:
    generator = torch.Generator().manual_seed(0)
    inputs, labels = torch.randn(12, 6, generator=generator), torch.arange(4).repeat(3)
    found = []
    for pieces in (None, size):
        encoder = create_encoder("mlp", input_shape=(6,), embedding_dim=8, seed=1).double()
        loss = get_spec(name).create(
            num_classes=4, embedding_dim=8, class_counts=torch.full((4,), 3), generator=torch.Generator().manual_seed(2)
        )
        loss.set_progress(0.5)
        noise = loss.draw_noise(12, generator=torch.Generator().manual_seed(3))
        inputs = inputs.double()
        weights = {"class_weights": torch.eye(4, 8)} if loss.uses_class_weights else {}

        def value_of(embeddings, loss=loss, noise=noise, weights=weights):
            return loss(embeddings, labels, noise, **weights)

        if pieces is None:
            value = value_of(encoder(inputs))
            value.backward()
        else:
            value = backward_in_pieces(encoder, encoder, value_of, inputs, pieces)
        parameters = [*encoder.named_parameters(), *loss.named_parameters()]
        found.append((value.detach(), {key: p.grad for key, p in parameters}, running_state(loss)["tensors"]))
    (whole, gradients, state), (value, others, other_state) = found
    torch.testing.assert_close(value, whole)
    torch.testing.assert_close(others, gradients)
    torch.testing.assert_close(other_state, state)


@pytest.mark.parametrize("loss", ["cosface", "margin_based", "multi_similarity", "center"])
def test_a_training_in_pieces_is_the_training(data, make_job, loss) -> None:
    job = replace(make_job(loss, keep=True), encoder=MLP)
    whole = train(job, data)
    pieces = train(replace(job, training=job.training.replaced(microbatch=2)), data)
    assert whole.status == "ok"
    np.testing.assert_allclose(pieces.history["loss"], whole.history["loss"], rtol=1e-5)
    for name, weights in whole.artifacts["weights"].items():
        np.testing.assert_allclose(pieces.artifacts["weights"][name], weights, rtol=1e-3, atol=1e-4)
    large = train(replace(job, training=job.training.replaced(microbatch=9)), data)
    assert large.history == whole.history, "a piece that holds the batch is the batch"


def test_both_passes_see_the_same_chance_and_the_same_running_state() -> None:
    torch.manual_seed(0)
    encoder = nn.Sequential(nn.Linear(3, 8), nn.BatchNorm1d(8), nn.Dropout(0.5), nn.Linear(8, 2))
    inputs, seen = torch.randn(7, 3), []

    def embed(piece):
        seen.append(encoder(piece))
        return seen[-1]

    once = [encoder[1].running_mean.clone(), encoder[1].num_batches_tracked.clone()]
    stream = torch.get_rng_state()
    value = backward_in_pieces(encoder, embed, lambda x: x.square().sum() + torch.rand(()), inputs, 3)
    assert value.requires_grad is False
    first, second = seen[:3], seen[3:]
    for one, other in zip(first, second, strict=True):
        assert one.grad_fn is None
        torch.testing.assert_close(one, other, rtol=0, atol=0)
    assert int(encoder[1].num_batches_tracked) == int(once[1]) + 3, "as one pass over the pieces"
    after = torch.get_rng_state()
    encoder[1].running_mean.copy_(once[0])
    torch.set_rng_state(stream)
    with torch.no_grad():
        for piece in inputs.tensor_split(3):
            encoder(piece)
    torch.rand(())
    assert torch.get_rng_state().equal(after), "as much was drawn as in one pass"


def test_no_graph_holds_more_than_a_piece(data, make_job) -> None:
    most = []

    class Watching(nn.Linear):
        def forward(self, inputs):
            if torch.is_grad_enabled():
                most.append(len(inputs))
            return super().forward(inputs)

    @register_encoder("watching", takes="features")
    def build(input_shape, embedding_dim):
        """Counts the samples of each graph."""
        return nn.Sequential(nn.Flatten(), Watching(input_shape[0], embedding_dim))

    try:
        job = replace(make_job(training={"microbatch": 4}), encoder=EncoderConfig("watching", 4))
        assert train(job, data).status == "ok"
    finally:
        ENCODERS._records.pop("watching")
    assert set(most) == {3}, "nine samples in three even pieces of at most four"


def test_such_trainings_train_alone_and_it_is_said_why(make_job) -> None:
    assert population_key(make_job()) is not None
    assert population_key(make_job(training={"microbatch": 4})) is None
    plan = make_plan(validated({**TINY, "training": {**TINY["training"], "microbatch": 2}}, "x"))
    assert plan.alone == "`training.microbatch` cuts up the batches of one training"
    with pytest.raises(StudyFileError, match="microbatch"):
        validated({**TINY, "training": {"microbatch": 0}}, "x")
