"""Train one job, from seeds to scores: a pure function of the job and the data."""

from __future__ import annotations

import time

from mlcompare.training.checkpoint import Checkpoint, State
from mlcompare.training.curve import Curve
from mlcompare.training.feed import Feed
from mlcompare.training.job import TrainingData, TrainingJob, TrainingResult
from mlcompare.training.prepare import own_random_numbers, prepare
from mlcompare.training.ranks import ALONE, Ranks
from mlcompare.training.record import (
    current_device,
    failures_recorded,
    peak_memory,
    restart_peak_memory,
    score_encoder,
    torch_threads,
)
from mlcompare.training.single_stage import SingleStage
from mlcompare.training.state import module_state, random_state, restore_module, restore_random
from mlcompare.training.trainers import run_trainer

__all__ = ["train"]


def train(job: TrainingJob, data: TrainingData, *, scored: bool = True, ranks: Ranks = ALONE) -> TrainingResult:
    """Train and score a job; whatever fails in it becomes the result's ``reason``.

    The same job and data give the same numbers on the same kind of device with the same number of threads. With
    ``scored=False`` only the steps are taken, for whoever wants to know how long they take. Where the job has a folder,
    a training that was killed goes on from its checkpoint there, and the numbers are those of one that was not.

    As one of several ``ranks`` this process embeds its share of each batch, and the first one scores. Alone, it embeds
    whole batches, whatever ``training.ranks`` says: other processes are an executor's business.
    """
    started = time.perf_counter()
    restart_peak_memory(job.device)
    result = TrainingResult(job.key, device=job.device)
    with (
        current_device(job.device),
        torch_threads(job.threads),
        own_random_numbers(job),
        failures_recorded([result]),
    ):
        if job.trainer is None:
            _begun(job, data, result, started, ranks).run(scored and ranks.first)
        else:
            run_trainer(job, data, prepare(job, data), result)
    result.seconds += time.perf_counter() - started
    result.peak_memory = max(result.peak_memory, peak_memory(job.device))
    return result


def _begun(job: TrainingJob, data: TrainingData, result: TrainingResult, started: float, ranks: Ranks) -> _Training:
    """Return a training at its beginning, or where its checkpoint is."""
    checkpoint = Checkpoint([job], data)
    return checkpoint.resumed(lambda: _Training(job, data, result, checkpoint, started, ranks))


class _Training:
    """A job's stages, trained one after the other."""

    def __init__(
        self, job: TrainingJob, data: TrainingData, result: TrainingResult, checkpoint: Checkpoint, started: float,
        ranks: Ranks,
    ) -> None:  # fmt: skip
        self._ranks = ranks
        self._job, self._data, self._result, self._checkpoint = job, data, result, checkpoint
        self._started = started
        self._prepared = prepare(job, data)
        self._curve = Curve(job, data, self._prepared, result)
        self._feed = Feed(data.dataset.samples, job.device)
        self._number = 0
        self._current: SingleStage | None = None

    @property
    def _stage(self) -> SingleStage:
        """The stage that is trained, which begins when it is first asked for: a checkpoint's losses are whole."""
        if self._current is None:
            self._current = self._begin()
        return self._current

    def _begin(self) -> SingleStage:
        stage = self._prepared.stages[self._number]
        return SingleStage(self._job, self._prepared, stage, self._feed, self._result, self._curve, self._ranks)

    def run(self, scored: bool) -> None:
        """Train stage after stage, and score the encoder where all of them went well."""
        while True:
            self._stage.run(self._keep)
            if self._result.status != "ok":
                return
            if self._number + 1 == len(self._prepared.stages):
                break
            self._stage.leave()
            self._number, self._current = self._number + 1, None
        self._stage.end()
        if not scored:
            return
        self._curve.choose(self._prepared.encoder)
        score_encoder(self._job, self._data, self._prepared, self._prepared.encoder, self._result)
        self._curve.end()

    def _keep(self, steps: int) -> None:
        due = self._ranks.first and self._checkpoint.due()
        if self._stage.sharded:
            due = self._ranks.told(due, self._job.device)
        if due:
            with self._stage.whole():
                state = self._state(steps)
                if self._ranks.first:
                    self._checkpoint.save(state)

    def _state(self, steps: int) -> State:
        return {
            "number": self._number,
            "stage": self._stage.state(steps),
            "encoder": module_state(self._prepared.encoder),
            "losses": [module_state(stage.loss) for stage in self._prepared.stages],
            "random": random_state(self._job.device),
            "best": self._curve.best,
            "history": self._result.history,
            "curve": self._result.curve,
            "seconds": self._result.seconds + time.perf_counter() - self._started,
            "peak_memory": max(self._result.peak_memory, peak_memory(self._job.device)),
        }

    def restore(self, saved: State) -> None:
        """Go on from a saved state; what is known of the result is written last."""
        self._number = saved["number"]
        restore_module(self._prepared.encoder, saved["encoder"])
        for stage, state in zip(self._prepared.stages, saved["losses"], strict=True):
            restore_module(stage.loss, state)
        self._current = None
        self._stage.restore(saved["stage"])
        self._curve.best = saved["best"]
        restore_random(saved["random"], self._job.device)
        self._result.history, self._result.curve = saved["history"], saved["curve"]
        self._result.seconds, self._result.peak_memory = saved["seconds"], saved["peak_memory"]
