"""One training in two processes: the numbers of one process, whatever the loss, and what becomes of a lost rank."""

from __future__ import annotations

import multiprocessing
import os
import queue
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, TypeVar

import numpy as np
import pytest
import torch
import torch.distributed as dist
from torch import nn

from mlcompare.data import Dataset, draw_splits
from mlcompare.encoders import register_encoder
from mlcompare.errors import InvalidValueError, StoreError, StudyFileError
from mlcompare.execution import executors, ranks, worker
from mlcompare.execution.devices import cpu_count
from mlcompare.execution.executors import InProcessExecutor, create_executor
from mlcompare.execution.process_executor import ProcessExecutor
from mlcompare.execution.ranks import LOST, met, train_in_ranks
from mlcompare.execution.starting import LOST_RANK
from mlcompare.losses.compose import LossEntry, Term
from mlcompare.study import make_plan
from mlcompare.study.config import validated
from mlcompare.training import (
    OUT_OF_MEMORY,
    EncoderConfig,
    TrainingConfig,
    TrainingData,
    TrainingJob,
    TrainingResult,
    train,
)
from mlcompare.training.checkpoint import Checkpoint
from mlcompare.training.population import population_key
from mlcompare.training.ranks import Ranks, share_of

T = TypeVar("T")
MLP = EncoderConfig("mlp", 4, {"width": 16})
SMALL = {"steps": 8, "classes_per_batch": 3, "samples_per_class": 3, "lr": 0.05, "evaluations": 2, "ranks": 2}
SMALL |= {"optimizer": "sgd"}  # Adam makes much of the rounding of a gradient that is nearly 0
STAGES = LossEntry("then", "stages", (Term("softmax"), Term("contrastive")))
TAUGHT = LossEntry("taught", "distillation", (Term("contrastive"),))
CASES: dict[str, tuple[Any, dict[str, Any]]] = {
    "softmax": ("softmax", {}),
    "margin": ("arcface", {}),
    "proxies": ("proxy_anchor", {}),
    "pairs": ("contrastive", {}),
    "triplets": ("triplet", {}),
    "lists": ("smooth_ap", {}),
    "centers": ("center", {}),
    "running state": ("adaface", {}),
    "a memory": ("unitsface", {}),
    "β and noise": ("margin_based", {}),
    "stages": (STAGES, {}),
    "levels": ("hierarchical_triplet", {}),
    "a teacher": (TAUGHT, {}),
    "pieces": ("multi_similarity", {"microbatch": 2}),
    "a sample of classes": ("cosface", {"class_sample": 0.6}),
    "average and clipping": ("cosface", {"ema": 0.9, "clip_norm": 0.5, "select": "best"}),
    "augmentation": ("cosface", {"augment": {"flip": 0.5, "shift": 1, "rotate": 10.0, "noise": 0.05}}),
    "float16": ("cosface", {"precision": "float16"}),
    "bfloat16": ("arcface", {"precision": "bfloat16"}),
}


def images() -> TrainingData:
    """Twelve patterns of 8 × 8 pixels, six noisy copies of each."""
    rng = np.random.default_rng(1)
    labels = np.repeat(np.arange(12), 6)
    patterns = rng.integers(0, 200, size=(12, 1, 8, 8))
    samples = (patterns[labels] + rng.integers(0, 56, size=(72, 1, 8, 8))).astype(np.uint8)
    dataset = Dataset("patterns", samples, labels, tuple("abcdefghijkl"), levels={"kind": tuple("uuuvvvwwwxxx")})
    teacher = rng.normal(size=(72, 5)).astype(np.float32)
    return TrainingData(dataset, draw_splits(labels, test_classes=0.34, folds=2), {"": teacher})


def job_of(loss: Any = "cosface", encoder: EncoderConfig = MLP, **training: Any) -> TrainingJob:
    made = TrainingJob.of(loss, encoder=encoder, training=TrainingConfig(**{**SMALL, **training}), random_state=7)
    return replace(made, split="test")


def in_ranks(rank: int, meeting: str) -> dict[str, TrainingResult]:
    with met(rank, 2, meeting, "cpu"):
        jobs = {name: job_of(loss, **training) for name, (loss, training) in CASES.items()}
        jobs["watched"] = job_of("margin_based", EncoderConfig("watched", 4))
        return {name: train(job, images(), ranks=Ranks(rank, 2)) for name, job in jobs.items()}


def by_two(function: Callable[[int, str], T], folder: Path) -> T:
    """Return what a function of rank and meeting place gives in the first of two processes."""
    meeting = f"file://{folder / 'place'}"
    other = multiprocessing.get_context("spawn").Process(target=function, args=(1, meeting), daemon=True)
    other.start()
    found = function(0, meeting)
    other.join()
    assert other.exitcode == 0
    return found


@pytest.fixture(scope="module")
def shared(tmp_path_factory) -> dict[str, TrainingResult]:
    """Every case trained by two processes, which start once."""
    return by_two(in_ranks, tmp_path_factory.mktemp("meeting"))


@pytest.mark.parametrize("name", CASES)
def test_two_ranks_have_the_numbers_of_one_process(shared: dict[str, TrainingResult], name: str) -> None:
    loss, training = CASES[name]
    one, two = train(job_of(loss, **training), images()), shared[name]
    assert (one.status, two.status) == ("ok", "ok"), (one.reason, two.reason)
    half = "precision" in training
    close = {"rtol": 2e-2, "atol": 2e-2} if half else {"rtol": 1e-4, "atol": 1e-5}
    np.testing.assert_allclose(two.history["loss"], one.history["loss"], **close)
    assert two.curve["step"] == one.curve["step"]
    for key, value in (one.artifacts or {}).items():
        for part, array in value.items() if isinstance(value, dict) else [("", value)]:
            other = two.artifacts[key][part] if part else two.artifacts[key]
            if part or key.startswith("loss."):
                np.testing.assert_allclose(other, array, err_msg=f"{key} {part}", **close)
    if not half:
        np.testing.assert_allclose(two.metrics["map_at_r"], one.metrics["map_at_r"], atol=1e-3)


def test_shares_are_even_and_whole() -> None:
    for batch in range(1, 12):
        for size in range(1, 6):
            shares = [range(batch)[share_of(batch, rank, size)] for rank in range(size)]
            assert [row for share in shares for row in share] == list(range(batch))
            assert max(map(len, shares)) - min(map(len, shares)) <= 1


# ---------------------------------------------------------------------- processes that are started, and lost


@register_encoder("watched", takes="images", batched=False)
class Watched(nn.Module):
    """Draws random numbers, and does in the third step of the second rank what its option says, once."""

    def __init__(self, input_shape, embedding_dim, does: str = "", marker: str = ""):
        super().__init__()
        self.layers = nn.Sequential(nn.Flatten(), nn.Linear(64, 16), nn.Dropout(0.3), nn.Linear(16, embedding_dim))
        self.does, self.marker, self.steps = does, Path(marker), 0

    def forward(self, images):
        self.steps += self.training
        here = dist.is_initialized() and dist.get_rank() == 1 and self.steps == 3
        if self.does and here and not self.marker.is_file():
            if self.marker.name:
                self.marker.write_text(str(os.getpid()))
            if self.does == "die":
                os.kill(os.getpid(), signal.SIGKILL)
            raise MemoryError if self.does == "starve" else ValueError("this picture has no colours")
        return self.layers(images)


def watched(**options: str) -> EncoderConfig:
    return EncoderConfig("watched", 4, options)


def same(one: TrainingResult, other: TrainingResult) -> None:
    assert (one.status, one.history, one.metrics) == (other.status, other.history, other.metrics)
    for name, array in one.artifacts["weights"].items():
        np.testing.assert_array_equal(array, other.artifacts["weights"][name], err_msg=name)


def test_a_lost_rank_is_named(tmp_path: Path) -> None:
    result = train_in_ranks(job_of(encoder=watched(does="die", marker=str(tmp_path / "lost"))), images())
    assert result.status == "failed"
    assert result.reason == f"{LOST} (rank 1: SIGKILL, perhaps out of memory)"
    assert not dist.is_initialized()


@pytest.mark.parametrize(
    ("does", "reason"), [("fail", "ValueError: this picture has no colours"), ("starve", OUT_OF_MEMORY)]
)
def test_a_rank_that_fails_says_why(does: str, reason: str) -> None:
    result = train_in_ranks(job_of(encoder=watched(does=does)), images())
    assert (result.status, result.reason) == ("failed", reason)


def test_who_would_wait_for_a_lost_rank_for_ever_is_ended(monkeypatch, capsys) -> None:
    class Lost:
        rank, process = 1, SimpleNamespace(poll=lambda: -9, returncode=-9)

    ended: queue.Queue[int] = queue.Queue()
    monkeypatch.setattr(ranks, "LOOK", 0.0)
    monkeypatch.setattr(ranks, "HANGS", 0.0)
    monkeypatch.setattr(ranks.os, "_exit", ended.put)
    with ranks._watched([Lost()]):
        assert ended.get(timeout=60) == LOST_RANK
    assert "a rank of the training was lost (rank 1: SIGKILL" in capsys.readouterr().err


def test_after_a_lost_rank_the_training_goes_on(shared: dict[str, TrainingResult], tmp_path: Path) -> None:
    """In a worker: the training is tried again from its checkpoint, and ends as one that nothing happened to."""
    dies = watched(does="die", marker=str(tmp_path / "lost"))
    job = job_of("margin_based", dies, checkpoint_minutes=1e-9)
    executor = ProcessExecutor(images(), workers=1, folder=tmp_path, devices=[("cpu", "cpu:0")])
    executor.submit((replace(job, folder=str(tmp_path / "checkpoints")),))
    ((done, result),) = executor.wait()
    executor.close()
    assert (tmp_path / "lost").exists()
    assert done.rank_devices == ("cpu", "cpu:0")
    same(result, shared["watched"])


def test_a_worker_that_lost_a_rank_says_so_and_ends(monkeypatch, capsys) -> None:
    ended: list[int] = []
    monkeypatch.setattr(worker.os, "_exit", ended.append)
    fine = TrainingResult("trial/softmax/0/fold0", "ok")
    lost = replace(fine, status="failed", reason=f"{LOST} (rank 1: SIGKILL, perhaps out of memory)")
    worker.end_if_lost([fine])
    assert not ended
    worker.end_if_lost([lost])
    assert ended == [LOST_RANK]
    assert capsys.readouterr().err == f"note: {lost.key}: {lost.reason}; it is tried again\n"


class Killed(BaseException):
    """Ends a training at once."""


def test_interrupted_it_goes_on_from_its_checkpoint(
    shared: dict[str, TrainingResult], tmp_path: Path, monkeypatch
) -> None:
    job = replace(job_of("margin_based", watched(), checkpoint_minutes=1e-9), folder=str(tmp_path))
    save, saved = Checkpoint.save, []

    def then_killed(self, state) -> None:
        save(self, state)
        saved.append(state["stage"]["steps"])
        if len(saved) == 5:
            raise Killed

    monkeypatch.setattr(Checkpoint, "save", then_killed)
    with pytest.raises(Killed):
        train_in_ranks(job, images())
    assert not dist.is_initialized()
    again = train_in_ranks(job, images())
    assert saved == [1, 2, 3, 4, 5, 6, 7, 8]
    same(again, shared["watched"])


def test_in_this_process_a_lost_rank_stops_the_study(monkeypatch) -> None:
    job = job_of()
    lost = TrainingResult(job.key, "failed", f"{LOST} (rank 1: SIGKILL)")
    monkeypatch.setattr(executors, "run_bundle", lambda bundle, data: [lost])
    executor = InProcessExecutor(images())
    executor.submit((job,))
    with pytest.raises(StoreError, match=r"every rank must live, got a rank of the training was lost.*same command"):
        executor.wait()


def test_ranks_that_begin_at_different_places_are_refused(monkeypatch) -> None:
    def gather(every, own):
        for number, tensor in enumerate(every):
            tensor.copy_(own + number)

    monkeypatch.setattr(dist, "all_gather", gather)
    with pytest.raises(RuntimeError, match=r"begin at different steps \(\[\[0, 3\], \[1, 4\]\]\)"):
        Ranks(0, 2).meet((0, 3), "cpu")


# ---------------------------------------------------------------------- what a plan and an executor say


def test_such_trainings_train_alone_and_what_they_need_is_checked(tiny: dict) -> None:
    assert population_key(job_of()) is None
    plan = make_plan(validated({**tiny, "training": {**tiny["training"], "ranks": 2}}, "x"))
    assert plan.alone == "`training.ranks` shares the batches of one training among processes"
    for training, told in (
        ({"ranks": 13}, r"x: training\.ranks: each rank must have a sample of a batch, got 13 ranks for 12"),
        ({"ranks": 0}, r"training\.ranks"),
    ):
        with pytest.raises(StudyFileError, match=told):
            make_plan(validated({**tiny, "training": {**tiny["training"], **training}}, "x"), place="x")


def test_each_training_gets_a_device_for_every_rank(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    data = images()

    def places(devices: tuple[str, ...], ranks: int = 2, workers: int | None = None) -> list[tuple[str, ...]]:
        executor = create_executor(
            "auto", data, workers=workers, folder=tmp_path, device=devices[0], devices=devices, ranks=ranks
        )
        executor.close()
        assert isinstance(executor, ProcessExecutor), "a lost rank costs a worker, not the study"
        return executor._places

    assert places(("cuda",)) == [("cuda:0", "cuda:1"), ("cuda:2", "cuda:3")]
    assert places(("cuda:3", "cuda:1")) == [("cuda:3", "cuda:1")]
    assert places(("cpu",)) == [("cpu", "cpu")] * max(cpu_count() // 2, 1)
    with pytest.raises(InvalidValueError, match=r"`training.ranks: 3` needs 3 CUDA devices .*got cuda:0, cuda:1"):
        places(("cuda:0", "cuda:1"), 3)
    with pytest.raises(InvalidValueError, match="every 2 of `--devices` need a worker"):
        places(("cuda:0", "cuda:1", "cuda:2", "cuda:3"), workers=1)
    with pytest.raises(InvalidValueError, match=r"a GPU of its own, got 0\.5; give --gpus-per-job 1"):
        create_executor("ray", data, workers=None, folder=tmp_path, device="cuda", ranks=2, gpus_per_job=0.5)
