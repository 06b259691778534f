"""A kept training comes back as it ended, whichever engine ran it."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from mlcompare.errors import InvalidValueError
from mlcompare.training import EncoderConfig, TrainingConfig, TrainingJob, restore, train
from mlcompare.training.population import train_population


@pytest.mark.parametrize("loss", ["cosface", "center", "ring", "ccl", "margin_based"])
@pytest.mark.parametrize("engine", ["alone", "population"])
def test_restored_encoder_and_loss_are_those_that_were_trained(data, make_job, loss: str, engine: str) -> None:
    job = make_job(loss, keep=True)
    result = train(job, data) if engine == "alone" else train_population([job, make_job(loss, seed=3)], data)[0]
    trained = restore(job, data, result)
    embeddings = trained.embed(data.dataset.samples[result.artifacts["rows"]])
    assert np.allclose(embeddings.numpy(), result.artifacts["embeddings"], atol=1e-6)
    state = trained.loss.state_dict()
    assert all(torch.equal(state[name], torch.as_tensor(result.artifacts[f"loss.{name}"])) for name in state)
    fresh = job.loss.build({}, num_classes=4, embedding_dim=4)[-1][1]
    moved = [name for name in state if state[name].ndim and not torch.equal(state[name], fresh.state_dict()[name])]
    assert moved or loss in ("ring", "margin_based")


def test_a_training_that_kept_nothing_says_so(data, make_job) -> None:
    job = make_job()
    with pytest.raises(InvalidValueError, match="keep=True"):
        restore(job, data, train(job, data))


def test_a_job_written_by_hand_is_one_that_a_study_would_make(data, make_job) -> None:
    settings = {"steps": 12, "classes_per_batch": 3, "samples_per_class": 3}
    job = TrainingJob.of(
        "cosface",
        margin=0.2,
        lr=0.01,
        random_state=7,
        encoder=EncoderConfig("linear", 4),
        training=TrainingConfig(**settings),
    )
    assert train(job, data).metrics == train(make_job(values={"margin": 0.2}), data).metrics
