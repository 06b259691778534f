"""Measure what must not grow with the data: batches from the disk, many classes, many files, and the memory of each.

    python tests/benchmarks/large.py [--files 200000] [--steps 12]

Prints the throughput of a ResNet-18 on images read ahead from a memory map beside images in memory, and of input by a
memory map beside a DataLoader that decodes JPEG with two workers; what a training holds of its own while a mapped set
grows from 1 to 8 GB (sparse files: no disk is filled); how long 10 000 P×K batches over 100 000 classes take to draw;
a step's time and memory with a head that sees a share of its classes; and a folder of many small images opened again.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import replace
from pathlib import Path

import numpy as np

SIDE, BATCH, GIGABYTES = 112, 32, (1, 2, 4, 8)
HEADS = ((20_000, 1.0), (20_000, 0.1), (200_000, 0.01), (1_000_000, 0.002))  # classes, share
STATUS = Path("/proc/self/status")


def own_memory() -> float:
    """Return MB that this process holds of its own: pages of mapped files, which the system takes back, don't count."""
    return int(STATUS.read_text().split("RssAnon:")[1].split()[0]) / 1024


class Peak:
    """Watches :func:`own_memory` from a thread."""

    def __enter__(self) -> Peak:
        self.most, self._ended = own_memory(), threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()
        return self

    def _watch(self) -> None:
        while not self._ended.wait(0.005):
            self.most = max(self.most, own_memory())

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()


def images(path: Path, count: int, *, sparse: bool = False):
    """Return ``count`` mapped images of 112² in three channels, of 50 classes."""
    from mlcompare.data import Dataset

    shape = (count, 3, SIDE, SIDE)
    array = np.lib.format.open_memmap(path, mode="w+", dtype=np.uint8, shape=shape)
    if not sparse:
        rng = np.random.default_rng(0)
        for start in range(0, count, 500):
            array[start : start + 500] = rng.integers(0, 256, (len(array[start : start + 500]), *shape[1:]))
    array.flush()
    del array
    samples = np.load(path, mmap_mode="c")
    return Dataset("mapped", samples, np.arange(count) % 50, tuple(map(str, range(50))), fingerprint=str(path))


def training(dataset, encoder, steps: int, **more):
    """Return a training's data and job."""
    from mlcompare.data import draw_splits
    from mlcompare.losses.compose import LossEntry, Term
    from mlcompare.training import TrainingConfig, TrainingData, TrainingJob

    data = TrainingData(dataset, draw_splits(dataset.labels, test_classes=0.2, folds=2))
    given = {"steps": steps, "classes_per_batch": 8, "samples_per_class": BATCH // 8, "evaluations": 0, **more}
    config = TrainingConfig(**given)
    entry = LossEntry("cosface", "single", (Term("cosface"),))
    return data, TrainingJob("trial", entry, {}, encoder, config, 0, 0, trial=0)


def seconds_a_step(job, data, steps: int) -> float:
    """Return what a step takes: a training of all steps, less one of a third of them, after one that warms up."""
    from mlcompare.training import train

    fewer = max(steps // 3, 1)
    taken = []
    for count in (2, fewer, steps):
        config = job.training.model_copy(update={"steps": count})
        started = time.perf_counter()
        result = train(replace(job, training=config), data, scored=False)
        taken.append(time.perf_counter() - started)
        assert result.status == "ok", result.reason
    return (taken[2] - taken[1]) / (steps - fewer)


def streamed(steps: int) -> None:
    """ResNet-18 at 112²: images read ahead beside images in memory, in turns."""
    from mlcompare.training import EncoderConfig, feed

    usual = feed.room
    with tempfile.TemporaryDirectory() as name:
        dataset = images(Path(name) / "x.npy", 3000)
        data, job = training(dataset, EncoderConfig("resnet", 128, {"depth": 18}), steps)
        taken: dict[bool, list[float]] = {True: [], False: []}
        for _ in range(3):
            for resident in (True, False):
                feed.room = usual if resident else (lambda device: 0)
                taken[resident].append(seconds_a_step(job, data, steps))
        feed.room = usual
    resident, ahead = (float(np.median(taken[kind])) for kind in (True, False))
    print(
        f"ResNet-18 at {SIDE}²: {BATCH / resident:.1f} images/s in memory, {BATCH / ahead:.1f} read ahead, "
        f"ratio {resident / ahead:.2f}",
        flush=True,
    )


class Jpegs:
    """What a DataLoader reads: JPEG files, decoded and brought to size one by one."""

    def __init__(self, paths: list[Path]) -> None:
        self.paths = paths

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int):
        import torch
        from PIL import Image

        with Image.open(self.paths[index]) as image:
            return torch.from_numpy(np.asarray(image.resize((SIDE, SIDE))).copy()).permute(2, 0, 1)


def beside_a_loader() -> None:
    """Input alone: gathered from a memory map, beside JPEG files decoded by two workers of a DataLoader."""
    import torch
    from PIL import Image

    from mlcompare.training.feed import Feed

    rng = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as name:
        paths = []
        for number in range(1600):
            buffer, path = io.BytesIO(), Path(name) / f"{number}.jpg"
            smooth = rng.integers(0, 256, (16, 16, 3), dtype=np.uint8)
            Image.fromarray(smooth).resize((160, 160)).save(buffer, "JPEG", quality=90)
            path.write_bytes(buffer.getvalue())
            paths.append(path)
        loader = torch.utils.data.DataLoader(Jpegs(paths), batch_size=BATCH, num_workers=2)
        taken = []
        for _ in range(2):  # the first brings the files into the system's cache
            started = time.perf_counter()
            for batch in loader:
                batch.float()
            taken.append(time.perf_counter() - started)
        dataset = images(Path(name) / "x.npy", 1600)
        batches = Feed(dataset.samples, "cpu", most=0).batches(torch.randperm(1600).view(-1, BATCH))
        started = time.perf_counter()
        for step in range(1600 // BATCH):
            batches[step].float()
        ours = time.perf_counter() - started
    loaded = taken[-1]
    print(f"input at {SIDE}²: {1600 / ours:.0f} images/s from a memory map, {1600 / loaded:.0f} by a DataLoader that "
          f"decodes JPEG of 160² with two workers, ratio {loaded / ours:.1f}", flush=True)  # fmt: skip


def own_memory_of(gigabytes: int) -> None:
    """Train from a mapped set of so many GB in this process, and print the most that it held of its own."""
    from mlcompare.training import EncoderConfig, train

    with tempfile.TemporaryDirectory() as name:
        count = gigabytes * 2**30 // (3 * SIDE * SIDE)
        dataset = images(Path(name) / "x.npy", count, sparse=True)
        data, job = training(dataset, EncoderConfig("conv", 16, {"channels": [4]}), 20)
        before = own_memory()
        with Peak() as peak:
            result = train(job, data, scored=False)
    assert result.status == "ok", result.reason
    print(json.dumps({"MB": peak.most - before}))


def mapped_memory() -> None:
    held = {gigabytes: _apart("--gigabytes", gigabytes)["MB"] for gigabytes in GIGABYTES}
    shown = ", ".join(f"{MB:.0f} MB at {gigabytes} GB" for gigabytes, MB in held.items())
    print(f"a training's own memory: {shown}, ratio {held[GIGABYTES[-1]] / held[GIGABYTES[0]]:.2f}", flush=True)


def drawn() -> None:
    import torch

    from mlcompare.data import SAMPLERS

    labels = torch.arange(100_000).repeat_interleave(10)
    started = time.perf_counter()
    SAMPLERS["pk"](
        labels, classes_per_batch=16, samples_per_class=4, steps=10_000, generator=torch.Generator().manual_seed(0)
    )
    print(f"10 000 P×K batches over 100 000 classes: {time.perf_counter() - started:.2f} s", flush=True)


def head_of(classes: int, share: float) -> None:
    """Train a head of so many classes in this process; print seconds a step and the most memory beyond the weights."""
    from mlcompare.data import Dataset, Fold, Splits
    from mlcompare.losses.compose import LossEntry, Term
    from mlcompare.training import EncoderConfig, TrainingConfig, TrainingData, TrainingJob

    rows = np.arange(2 * classes)
    samples = np.random.default_rng(0).normal(size=(len(rows), 8)).astype(np.float32)
    dataset = Dataset("many", samples, rows % classes, tuple(map(str, range(classes))), fingerprint="many")
    data = TrainingData(dataset, Splits("class_disjoint", (Fold(rows, rows[:100]),), rows[:100], "x"))
    config = TrainingConfig(
        steps=12, classes_per_batch=64, samples_per_class=1, sampler="random", class_sample=share, evaluations=0
    )
    entry = LossEntry("cosface", "single", (Term("cosface"),))
    job = TrainingJob("trial", entry, {}, EncoderConfig("linear", 256), config, 0, 0, trial=0)
    with Peak() as peak:
        seconds = seconds_a_step(job, data, 120)
    print(json.dumps({"seconds": seconds, "MB": peak.most}))


def heads() -> None:
    dense = None
    for classes, share in HEADS:
        found = _apart("--head", classes, share)
        seen = int(classes * share)
        dense = dense or found["seconds"]
        seconds, held = found["seconds"], found["MB"]
        print(f"head of {classes} classes × 256, {seen} seen: {1000 * seconds:.1f} ms a step "
              f"({dense / seconds:.1f} times as fast as all 20 000), {held:.0f} MB", flush=True)  # fmt: skip


def _apart(*arguments: object) -> dict[str, float]:
    """Return what this script prints, run in a process of its own."""
    command = [sys.executable, __file__, *map(str, arguments)]
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    output = subprocess.run(command, check=True, capture_output=True, text=True, env=environment).stdout
    found: dict[str, float] = json.loads(output.splitlines()[-1])
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=200_000, help="of the folder that is opened again; 0: none")
    parser.add_argument("--steps", type=int, default=12, help="of the ResNet-18's trainings")
    parser.add_argument("--gigabytes", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--head", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.gigabytes:
        own_memory_of(options.gigabytes)
    elif options.head:
        head_of(int(options.head[0]), float(options.head[1]))
    else:
        drawn()
        heads()
        mapped_memory()
        beside_a_loader()
        streamed(options.steps)
        if options.files:
            from data import open_folder

            open_folder(options.files)


if __name__ == "__main__":
    main()
