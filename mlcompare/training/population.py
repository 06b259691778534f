"""Train many jobs of one loss and encoder as one program: stacked weights under ``torch.func.vmap``."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Hashable, Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call, stack_module_state, vmap

from mlcompare.data import apply_augmentation, draw_augmentation
from mlcompare.encoders import get_encoder_spec
from mlcompare.errors import InvalidValueError
from mlcompare.losses.base import Loss
from mlcompare.training.curve import Curve
from mlcompare.training.job import TrainingData, TrainingJob, TrainingResult
from mlcompare.training.optimizers import learning_rate_factor
from mlcompare.training.prepare import Prepared, Stage, encoder_precision, prepare, random_streams, stage_batches
from mlcompare.training.record import (
    failures_recorded,
    peak_memory,
    record_losses,
    restart_peak_memory,
    score_encoder,
    torch_threads,
    watch,
)
from mlcompare.training.searched import of_training, shape_of_training
from mlcompare.training.stacked_optimizers import StackedOptimizer, StackedWeights
from mlcompare.training.step import State, Step, create_step

__all__ = ["population_fault", "population_key", "train_population"]

States = Sequence[dict[str, Tensor]]  # parameters and buffers, as `functional_call` takes them


MOST_WEIGHTS = 20_000_000  # of an encoder: eight copies of it with gradients and moments are some 2.5 GB


def population_key(job: TrainingJob) -> Hashable | None:
    """Return what jobs must share to train as one population; ``None`` for jobs that train alone.

    Numbers (hyperparameters, learning rate, fold, seed) may differ; whatever shapes the program may not.
    """
    batched = job.loss is not None and job.loss.batched and get_encoder_spec(job.encoder.name).batched
    if not batched or job.loss is None or job.trainer is not None:
        return None
    options = tuple((name, job.hyperparameters.get(name)) for name in sorted(job.loss.options))
    encoder = (job.encoder.name, job.encoder.embedding_dim, repr(sorted(job.encoder.options.items())))
    own = {**job.loss.hyperparameters, **job.loss.options}
    shape = repr(shape_of_training(job.training, of_training(job.hyperparameters, own)))
    return (job.kind, job.loss, options, encoder, repr(job.training), shape, job.device, job.threads)


def population_fault(encoder: nn.Module, sample_shape: tuple[int, ...]) -> str | None:
    """Return why copies of an encoder can't train as one program (it draws random numbers, say), or None.

    >>> population_fault(nn.Linear(3, 2), (3,)) is None
    True
    >>> population_fault(nn.Sequential(nn.Linear(3, 2), nn.Dropout()), (3,))
    'it draws random numbers in training, as dropout does'
    """
    weights = sum(parameter.numel() for parameter in encoder.parameters())
    if weights > MOST_WEIGHTS:
        return f"it has {weights / 1e6:.0f} million weights, which one program of many copies can't hold"
    members = [copy.deepcopy(encoder).train() for _ in range(2)]
    parameters, buffers = stack_module_state(members)
    inputs = torch.zeros(
        2,
        2,
        *sample_shape,
    )

    def forward(parameters: dict[str, Tensor], buffers: dict[str, Tensor], batch: Tensor) -> Tensor:
        return functional_call(members[0], (parameters, buffers), (batch,))

    try:
        vmap(forward)(parameters, {name: buffer.clone() for name, buffer in buffers.items()}, inputs)
    except Exception as error:  # whatever an encoder does that vmap can't
        reason = f"{type(error).__name__}: {error}".splitlines()[0]
        return "it draws random numbers in training, as dropout does" if "random" in reason else reason
    return None


def train_population(jobs: Sequence[TrainingJob], data: TrainingData, *, scored: bool = True) -> list[TrainingResult]:
    """Train and score jobs that share a :func:`population_key`; the results are :func:`~mlcompare.training.train`'s.

    They agree with one-at-a-time training within rounding over the first steps (chaos in rounding grows later). A
    member that diverges fails with its step; the others go on, untouched by it.

    Raises:
        InvalidValueError: the jobs don't share a key.
    """
    if len({population_key(job) for job in jobs}) != 1 or population_key(jobs[0]) is None:
        got = f"{len({population_key(job) for job in jobs})} kinds of jobs"
        raise InvalidValueError("a population shares loss, options, encoder and training", value=got)
    started = time.perf_counter()
    restart_peak_memory(jobs[0].device)
    results = [TrainingResult(job.key, device=job.device) for job in jobs]
    members: list[Prepared] = []
    with torch_threads(jobs[0].threads), failures_recorded(results):
        members = [prepare(job, data) for job in jobs]
        curves = [Curve(job, data, member, result) for job, member, result in zip(jobs, members, results)]
        encoder = _train_stages(jobs, members, data, results, curves)
        for number, (job, member, result, curve) in enumerate(zip(jobs, members, results, curves)):
            if result.status == "ok" and scored:
                with failures_recorded([result]):
                    _take(member.encoder, encoder, number)
                    curve.choose(member.encoder)
                    score_encoder(job, data, member, member.encoder, result)
                    curve.end()
    seconds = (time.perf_counter() - started) / len(jobs)
    for result in results:
        result.seconds, result.peak_memory = seconds, peak_memory(result.device)
    return results


def _train_stages(
    jobs: Sequence[TrainingJob], members: Sequence[Prepared], data: TrainingData, results: Sequence[TrainingResult],
    curves: Sequence[Curve],
) -> dict[str, Tensor]:  # fmt: skip
    """Train every stage; return the stacked state of the encoders."""
    weights, buffers = _stacked([member.encoder for member in members])
    samples = torch.as_tensor(np.asarray(data.dataset.samples), device=jobs[0].device)
    for stages in zip(*(member.stages for member in members)):
        _train_stage(jobs, members, stages, samples, weights, buffers, results, curves)
        if all(result.status != "ok" for result in results):
            break
    return {**({n: v.detach() for n, v in weights.views.items()} if weights else {}), **buffers}


def _train_stage(
    jobs: Sequence[TrainingJob], members: Sequence[Prepared], stages: Sequence[Stage], samples: Tensor,
    weights: StackedWeights | None, buffers: dict[str, Tensor], results: Sequence[TrainingResult],
    curves: Sequence[Curve],
) -> None:  # fmt: skip
    """Train one stage of every member; ``weights`` and ``buffers`` of the encoders change in place."""
    stage, config = stages[0], members[0].config
    loss_weights, loss_buffers = _stacked([s.loss for s in stages])
    optimizer = StackedOptimizer(weights, loss_weights, [member.config for member in members])
    batches = _Batches(jobs, members, stages, samples)
    precision = encoder_precision(config, jobs[0].device)
    forward = _program(members[0].encoder.train(), stage.loss.train(), precision)
    state = (weights.views if weights else {}, buffers), (loss_weights.views if loss_weights else {}, loss_buffers)
    trained = [*state[0][0].values(), *state[1][0].values()]
    run: Step | None = None
    progress = [buffer for name, buffer in loss_buffers.items() if name.rsplit(".")[-1] == "progress"]
    watched = torch.empty(stage.steps, len(jobs), device=samples.device)
    seen = 0
    for step in range(stage.steps):
        inputs, labels, noise = batches.draw(step)
        for buffer in progress:
            buffer.fill_(step / stage.steps)
        run = run or create_step(forward, *state, (inputs, labels, noise), steps=stage.steps)
        losses, gradients = run(inputs, labels, noise)
        for parameter, gradient in zip(trained, gradients):
            parameter.grad = gradient
        optimizer.step(learning_rate_factor(config, (stage.first + step) / config.steps))
        watched[step] = losses
        if watch(step, stage):
            stretch = watched[seen : step + 1].T.tolist()
            for result, values in zip(results, stretch):
                if result.status == "ok":
                    record_losses(result, values, stage.first + seen)
            seen = step + 1
            if all(result.status != "ok" for result in results):
                return
        if curves[0].due(stage.first + step + 1):
            _measure(stage.first + step + 1, members, stages, state, results, curves)
    for number, member in enumerate(stages):  # each loss takes its trained state: accuracy asks it for logits
        _take(member.loss, _together(state[1]), number)


def _measure(
    step: int, members: Sequence[Prepared], stages: Sequence[Stage], state: tuple[State, State],
    results: Sequence[TrainingResult], curves: Sequence[Curve],
) -> None:  # fmt: skip
    """Give every member that goes well its state of now, and measure its validation."""
    encoder, loss = _together(state[0]), _together(state[1])
    for number, (member, stage, result, curve) in enumerate(zip(members, stages, results, curves)):
        if result.status == "ok":
            with failures_recorded([result]):
                _take(member.encoder, encoder, number)
                _take(stage.loss, loss, number)
                curve.measure(step, member.encoder, stage)


def _together(state: State) -> dict[str, Tensor]:
    return {**state[0], **state[1]}


def _stacked(modules: Sequence[nn.Module]) -> tuple[StackedWeights | None, dict[str, Tensor]]:
    """Return what learns, and everything else: buffers, and parameters that don't require a gradient."""
    parameters, buffers = stack_module_state(list(modules))
    learns = {name: tensor for name, tensor in parameters.items() if tensor.requires_grad}
    fixed = {name: tensor.detach() for name, tensor in parameters.items() if name not in learns}
    return (StackedWeights(learns) if learns else None), {**fixed, **buffers}


@torch.no_grad()
def _take(module: torch.nn.Module, stacked: dict[str, Tensor], number: int) -> None:
    """Copy the state of one member into ``module``."""
    for name, tensor in (*module.named_parameters(), *module.named_buffers()):
        tensor.copy_(stacked[name][number])


def _program(encoder: nn.Module, loss: Loss, precision: torch.autocast) -> Callable[..., Tensor]:
    """Return the vmapped forward pass: stacked states and batches in, losses ``(M,)`` out."""

    def one(encoder_state: States, loss_state: States, inputs: Tensor, labels: Tensor, noise: Tensor | None) -> Tensor:
        with precision:
            embeddings = functional_call(encoder, encoder_state, (inputs,))
        return functional_call(loss, loss_state, (embeddings, labels, noise))

    return vmap(one, in_dims=(0, 0, 0, 0, 0 if loss.stochastic else None))


class _Batches:
    """Every member's batches, augmentation and noise: drawn for each member, applied to all at once."""

    def __init__(
        self, jobs: Sequence[TrainingJob], members: Sequence[Prepared], stages: Sequence[Stage], samples: Tensor
    ) -> None:
        drawn = [stage_batches(job, member, stage) for job, member, stage in zip(jobs, members, stages)]
        self._rows = torch.stack([member.rows[batch] for member, batch in zip(members, drawn)], 1)  # (steps, M, B)
        self._labels = torch.stack([member.labels[batch] for member, batch in zip(members, drawn)], 1)
        self._streams = [random_streams(job, stage) for job, stage in zip(jobs, stages)]
        self._mean = torch.stack([member.standardize.mean for member in members])  # (M, 1, C, 1, 1) or (M, 1, F)
        self._inverse = torch.stack([member.standardize.inverse for member in members])
        self._augment, self._loss, self._samples = members[0].config.augment, stages[0].loss, samples

    def draw(self, step: int) -> tuple[Tensor, Tensor, Tensor | None]:
        """Return ``inputs (M, B, …)``, ``labels (M, B)`` and, for a stochastic loss, ``noise (M, B, B)``."""
        rows, labels = self._rows[step], self._labels[step]
        inputs = self._samples[rows]
        batch = rows.shape[1]
        if self._augment:
            channels, height, width = inputs.shape[2:]
            shape = (channels, height, width)
            drawn = [draw_augmentation(batch, self._augment, stream, shape) for stream, _ in self._streams]
            together = [torch.cat(parts, -1) for parts in zip(*drawn)]  # parameters (…, M·B)
            inputs = apply_augmentation(inputs.flatten(0, 1), self._augment, together).view_as(inputs)
        inputs = (inputs.float() - self._mean).mul_(self._inverse)
        drawn_noise = (self._loss.draw_noise(batch, generator=stream) for _, stream in self._streams)
        noises = [noise for noise in drawn_noise if noise is not None]  # all, or none
        return inputs, labels, torch.stack(noises) if noises else None
