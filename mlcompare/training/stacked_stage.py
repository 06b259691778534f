"""One stage of a population: the members' weights stacked, and stepped together under ``torch.func.vmap``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call, stack_module_state, vmap

from mlcompare.data import apply_augmentation, draw_augmentation
from mlcompare.losses.base import Loss
from mlcompare.metrics import higher_is_better
from mlcompare.training.checkpoint import State
from mlcompare.training.clipping import clipped
from mlcompare.training.curve import Curve
from mlcompare.training.feed import Feed
from mlcompare.training.freeze import training_mode
from mlcompare.training.job import TrainingData, TrainingJob, TrainingResult
from mlcompare.training.optimizers import learning_rate_factor
from mlcompare.training.prepare import Prepared, Stage, encoder_precision, prepare, random_streams, stage_batches
from mlcompare.training.record import (
    failures_recorded,
    record_losses,
    watch,
)
from mlcompare.training.stacked_optimizers import StackedOptimizer, StackedWeights
from mlcompare.training.step import Step, create_step
from mlcompare.training.teachers import Teachers

__all__ = ["Member", "StackedStage"]

States = Sequence[dict[str, Tensor]]  # parameters and buffers, as `functional_call` takes them
LEAVE = 0.25  # of the members must be done before the others are stacked anew, which costs about a step


@dataclass(frozen=True)
class Member:
    """One training of the population."""

    job: TrainingJob
    prepared: Prepared
    result: TrainingResult
    curve: Curve

    @classmethod
    def of(cls, job: TrainingJob, data: TrainingData, result: TrainingResult) -> Member:
        prepared = prepare(job, data)
        return cls(job, prepared, result, Curve(job, data, prepared, result))

    @property
    def going(self) -> bool:
        """Whether it has neither failed nor been stopped."""
        return self.result.status == "ok"


class StackedStage:
    """One stage of several members, with their weights stacked; whoever is done leaves the stack."""

    def __init__(self, members: Sequence[Member], number: int, feed: Feed) -> None:
        self._members, self._number = list(members), number
        self._stages = [member.prepared.stages[number] for member in members]
        self._stage, self._config = self._stages[0], members[0].prepared.config
        self._weights, self._buffers = _stacked([member.prepared.encoder for member in members])
        self._loss_weights, self._loss_buffers = _stacked([stage.loss for stage in self._stages])
        configs = [member.prepared.config for member in members]
        self._optimizer = StackedOptimizer(self._weights, self._loss_weights, configs)
        self._batches = _Batches(members, self._stages, feed)
        precision = encoder_precision(self._config, members[0].job.device)
        told = members[0].job.encoder
        encoder = training_mode(members[0].prepared.encoder, told.freeze, told.batch_norm)
        self._forward = _program(encoder, self._stage.loss.train(), precision)
        self._program: Step | None = None  # made at the first step, and anew where members leave
        self._watched: list[Tensor] = []
        self._first = self._begun = 0  # the first step that is taken here, and the one that the program was made for

    def run(self, after: Callable[[StackedStage, int], None]) -> None:
        """Train to the end of the stage, or until nobody is left; ``after(self, steps taken)`` comes after a step."""
        for step in range(self._first, self._stage.steps):
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
                self._leave(step + 1)
            if self._members:
                after(self, step + 1)
        self._give_back()

    def _step(self, step: int) -> None:
        inputs, labels, noise = self._batches.draw(step)
        for name, buffer in self._loss_buffers.items():
            if name.rsplit(".")[-1] == "progress":
                buffer.fill_(step / self._stage.steps)
        self._batches.teachers.tell_all(step, self._loss_buffers)
        encoder = (self._weights.views if self._weights else {}, self._buffers)
        loss = (self._loss_weights.views if self._loss_weights else {}, self._loss_buffers)
        batch, left = (inputs, labels, noise), self._stage.steps - self._begun
        self._program = self._program or create_step(self._forward, encoder, loss, batch, steps=left)
        losses, gradients = self._program(*batch)
        if self._config.clip_norm is not None:
            gradients = clipped(gradients, self._config.clip_norm)
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
        _end_those_behind(self._members, done)

    def _leave(self, step: int) -> None:
        """Go on with those who are not done, from ``step`` on."""
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
        self._program, self._begun = None, step

    @property
    def members(self) -> tuple[Member, ...]:
        """Those in the stack."""
        return tuple(self._members)

    def state(self, steps: int) -> State:
        """Return what the stage is after ``steps`` steps."""
        return {
            "steps": steps,
            "begun": self._begun,
            "weights": [None if w is None else w.flat for w in (self._weights, self._loss_weights)],
            "buffers": [dict(self._buffers), dict(self._loss_buffers)],
            "optimizer": self._optimizer.state(),
            "streams": self._batches.state(),
            "watched": list(self._watched),
        }

    @torch.no_grad()
    def restore(self, state: State) -> None:
        """Go on from the :meth:`state` of a stage of the same members."""
        self._first, self._begun = state["steps"], state["begun"]
        for weights, saved in zip((self._weights, self._loss_weights), state["weights"]):
            if weights is not None:
                weights.flat.copy_(saved)
        for buffers, saved in zip((self._buffers, self._loss_buffers), state["buffers"]):
            for name, buffer in buffers.items():
                buffer.copy_(saved[name])
        self._optimizer.restore(state["optimizer"])
        self._batches.restore(state["streams"])
        self._watched = [losses.to(self._batches.device) for losses in state["watched"]]

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

    def __init__(self, members: Sequence[Member], stages: Sequence[Stage], feed: Feed) -> None:
        own = [member.prepared for member in members]
        drawn = [stage_batches(member.job, member.prepared, stage) for member, stage in zip(members, stages)]
        rows = torch.stack([member.rows[batch] for member, batch in zip(own, drawn)], 1)  # (steps, M, B)
        self._inputs = feed.batches(rows)
        self.teachers = Teachers(stages[0].loss, own[0].teachers, rows)
        told = [member.labels_for(stage.loss) for member, stage in zip(own, stages)]  # each (N,) or (N, L)
        self._labels = torch.stack([labels[batch] for labels, batch in zip(told, drawn)], 1)  # (steps, M, B[, L])
        self._streams = [random_streams(member.job, stage) for member, stage in zip(members, stages)]
        self._mean = torch.stack([member.standardize.mean for member in own])  # (M, 1, C, 1, 1) or (M, 1, F)
        self._inverse = torch.stack([member.standardize.inverse for member in own])
        self._augment, self._loss = own[0].config.augment, stages[0].loss

    def keep(self, members: Sequence[int]) -> None:
        """Draw for some members alone from here."""
        kept = list(members)
        self._inputs, self._labels = self._inputs.keep(kept), self._labels[:, kept]
        self.teachers.keep(kept)
        self._mean, self._inverse = self._mean[kept], self._inverse[kept]
        self._streams = [self._streams[member] for member in kept]

    @property
    def device(self) -> torch.device:
        """Where the batches are."""
        return self._labels.device

    def state(self) -> list[list[Tensor]]:
        """Return the state of every member's random streams."""
        return [[stream.get_state() for stream in streams] for streams in self._streams]

    def restore(self, state: list[list[Tensor]]) -> None:
        """Go on from :meth:`state`."""
        for streams, saved in zip(self._streams, state, strict=True):
            for stream, value in zip(streams, saved):
                stream.set_state(value)

    def draw(self, step: int) -> tuple[Tensor, Tensor, Tensor | None]:
        """Return ``inputs (M, B, …)``, ``labels (M, B)`` or levels ``(M, B, L)``, and ``noise (M, B, B)`` or None."""
        inputs, labels = self._inputs[step], self._labels[step]
        batch = labels.shape[1]
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


def _end_those_behind(members: Sequence[Member], done: int) -> None:
    """Stop the trials whose mean over folds is worse than their jobs' ``least`` after ``done`` steps."""
    trials: dict[int | None, list[Member]] = {}
    for member in members:
        if member.going and done in dict(member.job.least):
            trials.setdefault(member.job.trial, []).append(member)
    for folds in trials.values():
        job = folds[0].job
        sign = 1 if higher_is_better(job.metrics[0]) else -1
        values = [member.result.curve[job.metrics[0]][-1] for member in folds]
        if len(folds) == job.raced and sign * np.mean(values) < sign * dict(job.least)[done]:
            for member in folds:
                member.result.status = "stopped"
                member.result.reason = f"clearly behind after {done} of {member.prepared.config.steps} steps"
