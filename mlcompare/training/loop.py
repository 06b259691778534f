"""Train one job, from seeds to scores: a pure function of the job and the data."""

from __future__ import annotations

import time

import numpy as np
import torch
from torch import Tensor

from mlcompare.data import augment
from mlcompare.training.curve import Curve
from mlcompare.training.job import TrainingData, TrainingJob, TrainingResult
from mlcompare.training.optimizers import create_optimizer, learning_rate_factor
from mlcompare.training.prepare import Prepared, Stage, encoder_precision, prepare, random_streams, stage_batches
from mlcompare.training.record import (
    WATCH_EVERY,
    failures_recorded,
    peak_memory,
    record_losses,
    restart_peak_memory,
    score_encoder,
    torch_threads,
    watch,
)
from mlcompare.training.trainers import run_trainer

__all__ = ["train"]


def train(job: TrainingJob, data: TrainingData, *, scored: bool = True) -> TrainingResult:
    """Train and score a job; whatever fails in it becomes the result's ``reason``.

    The same job and data give the same numbers on the same kind of device with the same number of threads. With
    ``scored=False`` only the steps are taken, for whoever wants to know how long they take.
    """
    started = time.perf_counter()
    restart_peak_memory(job.device)
    result = TrainingResult(job.key, device=job.device)
    with torch_threads(job.threads), failures_recorded([result]):
        prepared = prepare(job, data)
        if job.trainer is None:
            _run_stages(job, data, prepared, result, scored)
        else:
            run_trainer(job, data, prepared, result)
    result.seconds = time.perf_counter() - started
    result.peak_memory = peak_memory(job.device)
    return result


def _run_stages(job: TrainingJob, data: TrainingData, prepared: Prepared, result: TrainingResult, scored: bool) -> None:
    """Train stage after stage, and score the encoder where all of them went well."""
    samples = torch.as_tensor(np.asarray(data.dataset.samples), device=job.device)
    curve = Curve(job, data, prepared, result)
    for stage in prepared.stages:
        _run_stage(job, prepared, stage, samples, result, curve)
        if result.status != "ok":
            return
    if not scored:
        return
    curve.choose(prepared.encoder)
    score_encoder(job, data, prepared, prepared.encoder, result)
    curve.end()


def _run_stage(
    job: TrainingJob, prepared: Prepared, stage: Stage, samples: Tensor, result: TrainingResult, curve: Curve
) -> None:
    """Train the encoder on one loss; stop where the loss is not finite."""
    config, encoder, loss = prepared.config, prepared.encoder, stage.loss
    batches = stage_batches(job, prepared, stage)
    augmentation, noise_stream = random_streams(job, stage)
    optimizer = create_optimizer(encoder, [loss], config)
    encoder.train()
    loss.train()
    watched = torch.empty(stage.steps, device=job.device)
    for step in range(stage.steps):
        factor = learning_rate_factor(config, (stage.first + step) / config.steps)
        for group in optimizer.param_groups:
            group["lr"] = group["initial_lr"] * factor
        batch = batches[step]
        inputs = samples[prepared.rows[batch]]
        if config.augment:
            inputs = augment(inputs, config.augment, augmentation)
        loss.set_progress(step / stage.steps)
        noise = loss.draw_noise(len(batch), generator=noise_stream)
        with encoder_precision(config, job.device):
            embeddings = encoder(prepared.standardize(inputs))
        value = loss(embeddings, prepared.labels[batch], noise)
        optimizer.zero_grad(set_to_none=True)
        value.backward()
        optimizer.step()
        watched[step] = value.detach()
        if watch(step, stage) and not _look(result, watched, step, stage):
            return
        done = stage.first + step + 1
        if curve.due(done):
            curve.measure(done, encoder, stage)
            if result.status != "ok":
                return


def _look(result: TrainingResult, watched: Tensor, step: int, stage: Stage) -> bool:
    """Record the losses since the last look; say whether training may go on."""
    last = step // WATCH_EVERY * WATCH_EVERY
    return record_losses(result, watched[last : step + 1].tolist(), stage.first + last)
