"""Train one job, from seeds to scores: a pure function of the job and the data."""

from __future__ import annotations

import resource
import time
from dataclasses import fields, replace

import numpy as np
import torch
from torch import nn

from mlcompare.data import augment, pk_batches
from mlcompare.encoders import create_encoder
from mlcompare.errors import MLCompareError
from mlcompare.training.health import divergence, embedding_fault, spread
from mlcompare.training.job import TrainingConfig, TrainingData, TrainingJob, TrainingResult, derive_seed
from mlcompare.training.optimizers import create_optimizer, learning_rate_factor
from mlcompare.training.scoring import embed, evaluation_rows, score, standardizer

__all__ = ["train"]

WATCH_EVERY = 25  # steps between looks at the loss: each look waits for the device
TUNED = {f.name for f in fields(TrainingConfig)}


def train(job: TrainingJob, data: TrainingData) -> TrainingResult:
    """Train and score a job; whatever fails in it becomes the result's ``reason``.

    The same job and data give the same numbers on the same kind of device with the same number of threads.
    """
    started = time.perf_counter()
    torch.set_num_threads(job.threads)
    result = TrainingResult(job.key, device=job.device)
    try:
        encoder, transform = _fit(job, data, result)
        if result.status == "ok":
            _score(job, data, encoder, transform, result)
    except torch.OutOfMemoryError as error:
        _fail(result, f"out of memory: {str(error).splitlines()[0]}")
    except MemoryError:
        _fail(result, "out of memory")
    except MLCompareError as error:
        _fail(result, str(error))
    except (RuntimeError, ValueError, ArithmeticError, LookupError, TypeError) as error:
        _fail(result, f"{type(error).__name__}: {error}".splitlines()[0])
    result.seconds = time.perf_counter() - started
    result.peak_memory = _peak_memory(job.device)
    return result


def _fail(result: TrainingResult, reason: str) -> None:
    result.status, result.reason = "failed", reason
    result.metrics, result.per_class, result.artifacts = {}, {}, None


def _peak_memory(device: str) -> int:
    """Bytes: the device's peak where it counts them, else the process's."""
    if device.startswith("cuda"):
        return int(torch.cuda.max_memory_allocated())
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _fit(job: TrainingJob, data: TrainingData, result: TrainingResult):
    """Return the trained encoder and the function from samples to its input."""
    dataset, rows = data.dataset, data.splits.folds[job.fold].train
    transform = standardizer(dataset, rows, job.device)
    encoder = create_encoder(
        job.encoder.name,
        input_shape=dataset.sample_shape,
        embedding_dim=job.encoder.embedding_dim,
        seed=derive_seed("encoder", job.seed),
        **job.encoder.options,
    ).to(job.device)
    if dataset.is_images:
        encoder = encoder.to(memory_format=torch.channels_last)
    classes, targets = np.unique(dataset.labels[rows], return_inverse=True)
    labels = torch.as_tensor(targets, device=job.device)
    config = replace(job.training, **{k: v for k, v in job.hyperparameters.items() if k in TUNED})
    generator = torch.Generator().manual_seed(derive_seed("loss", job.seed))
    stages = job.loss.build(
        {k: v for k, v in job.hyperparameters.items() if k not in TUNED},
        num_classes=len(classes),
        embedding_dim=job.encoder.embedding_dim,
        class_counts=torch.bincount(labels).cpu(),
        generator=generator,
    )
    samples = transform(dataset.samples[rows])
    first = 0
    for number, (share, loss) in enumerate(stages):
        steps = config.steps - first if number == len(stages) - 1 else round(config.steps * share)
        _run_stage(job, config, encoder, loss.to(job.device), samples, labels, (first, steps), result)
        first += steps
        if result.status != "ok":
            break
    return encoder, transform


def _run_stage(job, config, encoder, loss, samples, labels, span, result) -> None:
    """Train ``encoder`` on one loss for ``span = (first step, steps)``; stop where the loss is not finite."""
    first, steps = span
    generator = torch.Generator(job.device).manual_seed(derive_seed("batches", job.seed, first))
    noise_generator = torch.Generator(job.device).manual_seed(derive_seed("noise", job.seed, first))
    augment_generator = torch.Generator(job.device).manual_seed(derive_seed("augment", job.seed, first))
    batches = pk_batches(
        labels,
        classes_per_batch=config.classes_per_batch,
        samples_per_class=config.samples_per_class,
        steps=steps,
        generator=generator,
    )
    optimizer = create_optimizer(encoder, [loss], config)
    encoder.train()
    loss.train()
    watched = torch.empty(steps, device=job.device)
    seen = 0
    for step in range(steps):
        rows = batches[step]
        inputs = augment(samples[rows], config.augment, augment_generator)
        _step(encoder, loss, optimizer, config, (inputs, labels[rows]), step / steps, noise_generator, watched[step])
        if (step + 1) % WATCH_EVERY == 0 or step + 1 == steps:
            values = watched[seen : step + 1].tolist()
            reason = divergence(values, first + seen)
            _record(result, first + step + 1, values)
            seen = step + 1
            if reason:
                _fail(result, reason)
                return


def _step(encoder, loss, optimizer, config, batch, progress, noise_generator, slot) -> None:
    inputs, labels = batch
    factor = learning_rate_factor(config, progress)
    for group in optimizer.param_groups:
        group["lr"] = group["initial_lr"] * factor
    loss.set_progress(progress)
    noise = loss.draw_noise(len(labels), generator=noise_generator)
    value = loss(encoder(inputs), labels, noise)
    optimizer.zero_grad(set_to_none=True)
    value.backward()
    optimizer.step()
    slot.copy_(value.detach())


def _record(result: TrainingResult, step: int, values: list[float]) -> None:
    result.history.setdefault("step", []).append(step)
    result.history.setdefault("loss", []).append(float(np.mean(values)))


def _score(job: TrainingJob, data: TrainingData, encoder: nn.Module, transform, result: TrainingResult) -> None:
    rows = evaluation_rows(job, data)
    embeddings = embed(encoder, transform, data.dataset.samples[rows])
    reason = embedding_fault(embeddings)
    if reason:
        _fail(result, reason)
        return
    result.health["spread"] = spread(embeddings)
    score(job, data, rows, embeddings, result)
    if job.keep:
        result.artifacts |= {"weights": _weights(encoder)}


def _weights(encoder: nn.Module) -> dict[str, np.ndarray]:
    """Arrays, not tensors: they travel between processes by value."""
    return {name: tensor.detach().cpu().contiguous().numpy() for name, tensor in encoder.state_dict().items()}
