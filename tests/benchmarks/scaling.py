"""Time and memory of a population against its size, the batch, the classes and the dataset; one thread.

Each row is measured in a process of its own, in processor time: milliseconds a step for each member (a longer and a
shorter training, the best of three each, subtracted), the arithmetic reached as a share of what a float32 matrix
product reaches on the same thread, and memory above the imports. Cost a training falls with the population until that
share stops growing.

    python tests/benchmarks/scaling.py
"""

from __future__ import annotations

import argparse
import gc
import multiprocessing
import resource
import time
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from mlcompare.data import Dataset, draw_splits
from mlcompare.execution.worker import keep_freed_memory
from mlcompare.losses.compose import LossEntry, Term
from mlcompare.training import EncoderConfig, TrainingConfig, TrainingData, TrainingJob
from mlcompare.training.population import train_population
from mlcompare.training.prepare import prepare, stage_batches
from mlcompare.training.step import TRACED_FROM

FEATURES = 128
SHORT, LONG, REPEATS = TRACED_FROM, 3 * TRACED_FROM, 3  # both traced, as trainings of a usual length are
SHORT_IMAGES, LONG_IMAGES = 2, 22  # a step of convolutions costs the same traced or not


@dataclass(frozen=True)
class Setting:
    """One row: a population of ``members`` on ``classes`` × ``each`` samples."""

    encoder: str = "linear"
    loss: str = "cosface"
    members: int = 32
    batch: int = 64
    classes: int = 60
    each: int = 30


def data_of(setting: Setting) -> TrainingData:
    """Gaussian classes, in features or in 28 × 28 images."""
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(setting.classes), setting.each)
    if setting.encoder == "conv4":
        samples = rng.integers(0, 256, (len(labels), 1, 28, 28), dtype=np.uint8)
    else:
        samples = rng.normal(size=(len(labels), FEATURES)).astype(np.float32)
    dataset = Dataset("scaling", samples, labels, tuple(map(str, range(setting.classes))))
    return TrainingData(dataset, draw_splits(labels, test_classes=0.4, folds=2))


def jobs_of(setting: Setting, steps: int) -> list[TrainingJob]:
    entry = LossEntry(setting.loss, "single", (Term(setting.loss),))
    training = TrainingConfig(steps=steps, classes_per_batch=setting.batch // 4, samples_per_class=4)
    encoder = EncoderConfig(setting.encoder, 64)
    return [
        TrainingJob("trial", entry, {}, encoder, training, fold=0, random_state=n, trial=n)
        for n in range(setting.members)
    ]


def arithmetic_limit() -> float:
    """FLOP/s of a float32 matrix product of 1024 × 1024 on one thread: the best of a few."""
    a = torch.randn(1024, 1024)
    best = 0.0
    for _ in range(6):
        started = time.process_time()
        a @ a
        best = max(best, 2 * 1024**3 / (time.process_time() - started))
    return best


def flops_a_step(setting: Setting, data: TrainingData) -> int:
    """Multiply-adds, counted as two, of one member's forward and backward pass."""
    job = jobs_of(setting, 1)[0]
    prepared = prepare(job, data)
    rows = stage_batches(job, prepared, prepared.stages[0])[0]
    inputs = prepared.standardize(torch.as_tensor(data.dataset.samples)[prepared.rows[rows]])
    with FlopCounterMode(display=False) as counter:
        prepared.stages[0].loss(prepared.encoder(inputs), prepared.labels[rows]).backward()
    return counter.get_total_flops()


def measure(setting: Setting, pipe) -> None:
    """Send seconds a step, FLOP a step of one member, the limit, and bytes above the imports."""
    torch.set_num_threads(1)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    limit = arithmetic_limit()
    data = data_of(setting)
    keep_freed_memory()  # as workers do
    gc.freeze()
    train_population(jobs_of(setting, 1), data)  # what only the first pays
    short, long = (SHORT_IMAGES, LONG_IMAGES) if data.dataset.is_images else (SHORT, LONG)
    seconds = dict.fromkeys((short, long), np.inf)
    for steps in (short, long) * REPEATS:
        started = time.process_time()
        train_population(jobs_of(setting, steps), data)
        seconds[steps] = min(seconds[steps], time.process_time() - started)
    memory = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024
    pipe.send(((seconds[long] - seconds[short]) / (long - short), flops_a_step(setting, data), limit, memory))


def in_its_own_process(setting: Setting) -> tuple[float, int, float, int]:
    context = multiprocessing.get_context("fork")
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=measure, args=(setting, theirs))
    process.start()
    found = ours.recv()
    process.join()
    return found


def table(title: str, name: str, settings: list[Setting]) -> None:
    print(f"\n{title}\n{name:>12} {'ms a step':>10} {'a member':>9} {'GFLOP/s':>8} {'of limit':>9} {'memory':>9}")
    for setting in settings:
        seconds, flops, limit, memory = in_its_own_process(setting)
        rate = flops * setting.members / seconds
        print(
            f"{getattr(setting, name):12d} {seconds * 1e3:10.2f} {seconds * 1e3 / setting.members:9.3f} "
            f"{rate / 1e9:8.1f} {rate / limit:8.0%} {memory / 2**20:6.0f} MB",
            flush=True,
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="population size only")
    arguments = parser.parse_args()
    print(f"torch {torch.__version__}, one thread, matrix product {arithmetic_limit() / 1e9:.0f} GFLOP/s")
    sizes = (1, 4, 16, 32, 64, 128)
    for encoder in ("linear", "mlp"):
        table(f"population size: {encoder}, batch 64", "members", [Setting(encoder, members=n) for n in sizes])
    table("population size: conv4, batch 32", "members", [Setting("conv4", members=n, batch=32) for n in (1, 2, 4, 8)])
    if arguments.quick:
        return
    base = Setting("mlp", classes=120)  # a fold trains on 36, enough for batches of 128
    table("batch: mlp", "batch", [replace(base, batch=n) for n in (16, 32, 64, 128)])
    table("batch, trihard: mlp", "batch", [replace(base, loss="trihard", batch=n) for n in (16, 32, 64, 128)])
    table("classes: mlp", "classes", [replace(base, classes=n) for n in (120, 400, 1000)])
    table("samples of each class: mlp", "each", [replace(base, each=n) for n in (10, 30, 100)])


if __name__ == "__main__":
    main()
