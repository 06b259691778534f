"""Train many jobs of one loss and encoder as one program: stacked weights under ``torch.func.vmap``."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass

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
from mlcompare.training.step import Step, create_step

__all__ = ["population_fault", "population_key", "train_population"]

States = Sequence[dict[str, Tensor]]  # parameters and buffers, as `functional_call` takes them
LEAVE = 0.25  # of the members must be done before the others are stacked anew, which costs about a step
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
    inputs = torch.zeros(2, 2, *sample_shape)

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
    with torch_threads(jobs[0].threads), failures_recorded(results):
        members = [_Member.of(job, data, result) for job, result in zip(jobs, results)]
        _train_stages(members, data)
        for member in members:
            if member.going and scored:
                with failures_recorded([member.result]):
                    member.curve.choose(member.prepared.encoder)
                    score_encoder(member.job, data, member.prepared, member.prepared.encoder, member.result)
                    member.curve.end()
    seconds = (time.perf_counter() - started) / len(jobs)
    for result in results:
        result.seconds, result.peak_memory = seconds, peak_memory(result.device)
    return results


@dataclass(frozen=True)
class _Member:
    """One training of the population."""

    job: TrainingJob
    prepared: Prepared
    result: TrainingResult
    curve: Curve

    @classmethod
    def of(cls, job: TrainingJob, data: TrainingData, result: TrainingResult) -> _Member:
        prepared = prepare(job, data)
        return cls(job, prepared, result, Curve(job, data, prepared, result))

    @property
    def going(self) -> bool:
        """Whether it has neither failed nor been stopped."""
        return self.result.status == "ok"


def _train_stages(members: Sequence[_Member], data: TrainingData) -> None:
    """Train every stage; each member's encoder and losses get what was learned."""
    samples = torch.as_tensor(np.asarray(data.dataset.samples), device=members[0].job.device)
    for number in range(len(members[0].prepared.stages)):
        members = [member for member in members if member.going]
        if members:
            _StackedStage(members, number, samples).run()


class _StackedStage:
    """One stage of several members, with their weights stacked; whoever is done leaves the stack."""

    def __init__(self, members: Sequence[_Member], number: int, samples: Tensor) -> None:
        self._members, self._number = list(members), number
        self._stages = [member.prepared.stages[number] for member in members]
        self._stage, self._config = self._stages[0], members[0].prepared.config
        self._weights, self._buffers = _stacked([member.prepared.encoder for member in members])
        self._loss_weights, self._loss_buffers = _stacked([stage.loss for stage in self._stages])
        configs = [member.prepared.config for member in members]
        self._optimizer = StackedOptimizer(self._weights, self._loss_weights, configs)
        self._batches = _Batches(members, self._stages, samples)
        precision = encoder_precision(self._config, members[0].job.device)
        self._forward = _program(members[0].prepared.encoder.train(), self._stage.loss.train(), precision)
        self._program: Step | None = None  # made at the first step, and anew where members leave
        self._watched: list[Tensor] = []

    def run(self) -> None:
        """Train to the end of the stage, or until nobody is left."""
        for step in range(self._stage.steps):
            self._step(step)
            if watch(step, self._stage):
                self._record(step)
            done = self._stage.first + step + 1
            if self._members and self._members[0].curve.due(done):
                self._measure(done)
            if not self._members:
                return
            leaving = sum(not member.going for member in self._members)
            if leaving >= LEAVE * len(self._members):
                self._leave()
        self._give_back()

    def _step(self, step: int) -> None:
        inputs, labels, noise = self._batches.draw(step)
        for name, buffer in self._loss_buffers.items():
            if name.rsplit(".")[-1] == "progress":
                buffer.fill_(step / self._stage.steps)
        encoder = (self._weights.views if self._weights else {}, self._buffers)
        loss = (self._loss_weights.views if self._loss_weights else {}, self._loss_buffers)
        batch, left = (inputs, labels, noise), self._stage.steps - step
        self._program = self._program or create_step(self._forward, encoder, loss, batch, steps=left)
        losses, gradients = self._program(*batch)
        for parameter, gradient in zip([*encoder[0].values(), *loss[0].values()], gradients):
            parameter.grad = gradient
        self._optimizer.step(learning_rate_factor(self._config, (self._stage.first + step) / self._config.steps))
        self._watched.append(losses.clone())

    def _record(self, step: int) -> None:
        """Write down the losses since the last look."""
        first = self._stage.first + step + 1 - len(self._watched)
        for member, values in zip(self._members, torch.stack(self._watched, 1).tolist()):
            if member.going:
                record_losses(member.result, values, first)
        self._watched = []

    def _measure(self, done: int) -> None:
        """Measure the validation of every member that goes well."""
        self._give_back()
        for member, stage in zip(self._members, self._stages):
            if member.going:
                with failures_recorded([member.result]):
                    member.curve.measure(done, member.prepared.encoder, stage)

    def _leave(self) -> None:
        """Go on with those who are not done."""
        kept = [place for place, member in enumerate(self._members) if member.going]
        self._members = [self._members[place] for place in kept]
        self._stages = [self._stages[place] for place in kept]
        if not kept:
            return
        self._watched = [losses[kept] for losses in self._watched]
        self._weights, self._loss_weights = (
            None if weights is None else weights.kept(kept) for weights in (self._weights, self._loss_weights)
        )
        self._optimizer.keep(self._weights, self._loss_weights, kept)
        self._buffers, self._loss_buffers = (
            {name: buffer[kept] for name, buffer in buffers.items()} for buffers in (self._buffers, self._loss_buffers)
        )
        self._batches.keep(kept)
        self._program = None

    @torch.no_grad()
    def _give_back(self) -> None:
        """Give every member's encoder and loss their state of now: scores, curves and the next stage ask for it."""
        encoder = {**(self._weights.views if self._weights else {}), **self._buffers}
        loss = {**(self._loss_weights.views if self._loss_weights else {}), **self._loss_buffers}
        for place, (member, stage) in enumerate(zip(self._members, self._stages)):
            if member.going:
                for module, stacked in ((member.prepared.encoder, encoder), (stage.loss, loss)):
                    for name, tensor in (*module.named_parameters(), *module.named_buffers()):
                        tensor.copy_(stacked[name][place])


def _stacked(modules: Sequence[nn.Module]) -> tuple[StackedWeights | None, dict[str, Tensor]]:
    """Return what learns, and everything else: buffers, and parameters that don't require a gradient."""
    parameters, buffers = stack_module_state(list(modules))
    learns = {name: tensor for name, tensor in parameters.items() if tensor.requires_grad}
    fixed = {name: tensor.detach() for name, tensor in parameters.items() if name not in learns}
    return (StackedWeights(learns) if learns else None), {**fixed, **buffers}


def _program(encoder: nn.Module, loss: Loss, precision: torch.autocast) -> Callable[..., Tensor]:
    """Return the vmapped forward pass: stacked states and batches in, losses ``(M,)`` out."""

    def one(encoder_state: States, loss_state: States, inputs: Tensor, labels: Tensor, noise: Tensor | None) -> Tensor:
        with precision:
            embeddings = functional_call(encoder, encoder_state, (inputs,))
        return functional_call(loss, loss_state, (embeddings, labels, noise))

    return vmap(one, in_dims=(0, 0, 0, 0, 0 if loss.stochastic else None))


class _Batches:
    """Every member's batches, augmentation and noise: drawn for each member, applied to all at once."""

    def __init__(self, members: Sequence[_Member], stages: Sequence[Stage], samples: Tensor) -> None:
        own = [member.prepared for member in members]
        drawn = [stage_batches(member.job, member.prepared, stage) for member, stage in zip(members, stages)]
        self._rows = torch.stack([member.rows[batch] for member, batch in zip(own, drawn)], 1)  # (steps, M, B)
        self._labels = torch.stack([member.labels[batch] for member, batch in zip(own, drawn)], 1)
        self._streams = [random_streams(member.job, stage) for member, stage in zip(members, stages)]
        self._mean = torch.stack([member.standardize.mean for member in own])  # (M, 1, C, 1, 1) or (M, 1, F)
        self._inverse = torch.stack([member.standardize.inverse for member in own])
        self._augment, self._loss, self._samples = own[0].config.augment, stages[0].loss, samples

    def keep(self, members: Sequence[int]) -> None:
        """Draw for some members alone from here."""
        kept = list(members)
        self._rows, self._labels = self._rows[:, kept], self._labels[:, kept]
        self._mean, self._inverse = self._mean[kept], self._inverse[kept]
        self._streams = [self._streams[member] for member in kept]

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
