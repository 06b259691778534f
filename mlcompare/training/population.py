"""Train many jobs of one loss and encoder as one program: stacked weights under ``torch.func.vmap``."""

from __future__ import annotations

import copy
import time
from collections.abc import Hashable, Sequence

import torch
from torch import Tensor, nn
from torch.func import functional_call, stack_module_state, vmap

from mlcompare.encoders import get_encoder_spec
from mlcompare.errors import InvalidValueError
from mlcompare.training.checkpoint import Checkpoint, State
from mlcompare.training.config import TrainingConfig
from mlcompare.training.feed import Feed
from mlcompare.training.job import TrainingData, TrainingJob, TrainingResult
from mlcompare.training.prepare import own_random_numbers
from mlcompare.training.record import (
    current_device,
    failures_recorded,
    peak_memory,
    restart_peak_memory,
    score_encoder,
    torch_threads,
)
from mlcompare.training.searched import of_training, shape_of_training
from mlcompare.training.stacked_stage import Member, StackedStage

__all__ = ["alone_by_config", "population_fault", "population_key", "train_population"]

MOST_WEIGHTS = 20_000_000  # of an encoder: eight copies of it with gradients and moments are some 2.5 GB


def population_key(job: TrainingJob) -> Hashable | None:
    """Return what jobs must share to train as one population; ``None`` for jobs that train alone.

    Numbers (hyperparameters, learning rate, fold, seed) may differ; whatever shapes the program may not.
    """
    if alone_by_config(job.training) is not None or job.hyperparameters.get("precision") == "float16":
        return None
    batched = job.loss is not None and job.loss.batched and get_encoder_spec(job.encoder.name).batched
    if not batched or job.loss is None or job.trainer is not None:
        return None
    options = tuple((name, job.hyperparameters.get(name)) for name in sorted(job.loss.options))
    e = job.encoder
    encoder = (e.name, e.embedding_dim, repr(sorted(e.options.items())), e.freeze, e.batch_norm)
    own = {**job.loss.hyperparameters, **job.loss.options}
    shape = repr(shape_of_training(job.training, of_training(job.hyperparameters, own)))
    return (job.kind, job.loss, options, encoder, repr(job.training), shape, job.device, job.threads)


def alone_by_config(config: TrainingConfig) -> str | None:
    """Return why trainings of this kind train alone, or None.

    >>> alone_by_config(TrainingConfig(microbatch=8))
    '`training.microbatch` cuts up the batches of one training'
    """
    if config.ranks > 1:
        return "`training.ranks` shares the batches of one training among processes"
    if config.microbatch is not None:
        return "`training.microbatch` cuts up the batches of one training"
    if config.precision == "float16":
        return "`precision: float16` scales the loss of one training"
    if config.class_sample != 1:
        return "`training.class_sample` sees classes of one training"
    if config.ema is not None:
        return "`training.ema` averages the weights of one training"
    if config.layer_decay != 1 or config.neck_lr_ratio != 1:
        return "`training.layer_decay` and `neck_lr_ratio` are the rates of one training's layers"
    return None


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
    first = jobs[0]
    with (
        current_device(first.device),
        torch_threads(first.threads),
        own_random_numbers(first),
        failures_recorded(results),
    ):
        population = _begun(jobs, data, results, started)
        population.run()
        if scored:
            population.score()
    seconds = (time.perf_counter() - started) / len(jobs)
    for result in results:
        result.seconds += seconds
        result.peak_memory = max(result.peak_memory, peak_memory(result.device))
    return results


def _begun(
    jobs: Sequence[TrainingJob], data: TrainingData, results: Sequence[TrainingResult], started: float
) -> _Population:
    """Return a population at its beginning, or where its checkpoint is."""
    checkpoint = Checkpoint(jobs, data)
    return checkpoint.resumed(lambda: _Population(jobs, data, results, checkpoint, started))


class _Population:
    """The members' stages, trained one after the other; each member's encoder and losses get what was learned."""

    def __init__(
        self, jobs: Sequence[TrainingJob], data: TrainingData, results: Sequence[TrainingResult],
        checkpoint: Checkpoint, started: float,
    ) -> None:  # fmt: skip
        self._data, self._checkpoint, self._started = data, checkpoint, started
        self._members = [Member.of(job, data, result) for job, result in zip(jobs, results)]
        self._feed = Feed(data.dataset.samples, jobs[0].device)
        self._number = 0
        self._stage: StackedStage | None = None  # under way, where a checkpoint was in one

    def run(self) -> None:
        """Train every stage."""
        while self._number < len(self._members[0].prepared.stages):
            going = [member for member in self._members if member.going]
            if not going:
                return
            stage = self._stage or StackedStage(going, self._number, self._feed)
            self._stage = None
            stage.run(self._keep)
            self._number += 1

    def score(self) -> None:
        """Score whoever went well."""
        for member in self._members:
            if member.going:
                with failures_recorded([member.result]):
                    member.curve.choose(member.prepared.encoder)
                    score_encoder(member.job, self._data, member.prepared, member.prepared.encoder, member.result)
                    member.curve.end()

    def _keep(self, stage: StackedStage, steps: int) -> None:
        if self._checkpoint.due():
            self._checkpoint.save(self._state(stage, steps))

    def _state(self, stage: StackedStage, steps: int) -> State:
        stacked = [n for n, member in enumerate(self._members) if any(member is one for one in stage.members)]
        seconds = (time.perf_counter() - self._started) / len(self._members)
        memory = peak_memory(self._members[0].job.device)
        return {
            "number": self._number,
            "stacked": stacked,
            "stage": stage.state(steps),
            "members": [_state_of(member, seconds, memory) for member in self._members],
        }

    def restore(self, saved: State) -> None:
        """Go on from a saved state; what is known of the results is written last."""
        self._number = saved["number"]
        self._stage = StackedStage([self._members[n] for n in saved["stacked"]], self._number, self._feed)
        self._stage.restore(saved["stage"])
        for member, state in zip(self._members, saved["members"], strict=True):
            member.curve.best = state["best"]
            for key, value in state["result"].items():
                setattr(member.result, key, value)


def _state_of(member: Member, seconds: float, memory: int) -> State:
    """Return what is known of a member, in the stack or out of it."""
    result = member.result
    known = {
        "status": result.status,
        "reason": result.reason,
        "history": result.history,
        "curve": result.curve,
        "seconds": result.seconds + seconds,
        "peak_memory": max(result.peak_memory, memory),
    }
    return {"best": member.curve.best, "result": known}
