"""After an error that breaks a process's CUDA context, another process tries again: no training is lost for it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mlcompare.execution.executors import create_executor
from mlcompare.study import make_plan
from mlcompare.study.config import validated
from tests.execution.test_plugins import run
from tests.study.conftest import TINY

PLUGIN = """
import os
from pathlib import Path

import torch
from torch import nn

from mlcompare import register_encoder

HERE = Path(__file__).parent


@register_encoder("fragile", takes="images", batched=False)
class Fragile(nn.Module):
    "Its process meets the error of a lost device once, in the third step; from there it has no device."

    lost, steps = False, 0

    def __init__(self, input_shape, embedding_dim):
        super().__init__()
        self.layer = nn.Linear(input_shape[0] * input_shape[1] * input_shape[2], embedding_dim)

    def forward(self, images):
        Fragile.steps += 1
        if Fragile.steps == 3 and not (HERE / "lost").exists():
            (HERE / "lost").write_text(str(os.getpid()))
            Fragile.lost = True
        if Fragile.lost:
            raise torch.AcceleratorError("CUDA error: an illegal memory access was encountered")
        return self.layer(images.flatten(1))
"""
STUDY = {**TINY, "encoder": {"name": "fragile", "embedding_dim": 4}, "losses": {"contrastive": None}}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "fragile.py").write_text(PLUGIN, encoding="utf-8")
    (tmp_path / "study.yaml").write_text(json.dumps(STUDY), encoding="utf-8")
    return tmp_path


def finish(folder: Path, *more: str):
    return run(folder, "-m", "mlcompare.cli", "run", "study.yaml", "--store", "s", "--plugin", "fragile.py", *more)


def trainings(folder: Path) -> dict[str, str]:
    lines = (folder / "s" / "journal.jsonl").read_text(encoding="utf-8").splitlines()
    records = [record for record in map(json.loads, lines) if record["type"] == "job"]
    assert len({record["key"] for record in records}) == len(records)
    return {record["key"]: record["status"] for record in records}


@pytest.mark.parametrize("executor", ["processes", pytest.param("ray", marks=pytest.mark.slow)])
def test_a_worker_is_replaced_and_its_training_tried_again(folder: Path, executor: str) -> None:
    if executor == "ray":
        pytest.importorskip("ray")
    done = finish(folder, "--executor", executor, "--workers", "1")
    assert done.returncode == 0, done.stderr
    assert (folder / "lost").exists(), "the error was met"
    assert set(trainings(folder).values()) == {"ok"}


def test_in_one_process_the_study_stops_and_the_same_command_goes_on(folder: Path) -> None:
    stopped = finish(folder, "--executor", "in-process")
    assert stopped.returncode == 2
    assert "a CUDA device must work" in stopped.stderr
    assert "Traceback" not in stopped.stderr
    assert "failed" not in trainings(folder).values(), "nothing is journaled that another process can do"
    assert finish(folder, "--executor", "in-process").returncode == 0
    assert set(trainings(folder).values()) == {"ok"}


def test_on_a_cuda_device_one_worker_is_a_process(tmp_path: Path) -> None:
    data = make_plan(validated(TINY, "study")).data
    for device, name in (("cuda", "processes"), ("cuda:1", "processes"), ("cpu", "in-process")):
        executor = create_executor("auto", data, workers=1, folder=tmp_path, device=device)
        assert executor.name == name
        executor.close()
