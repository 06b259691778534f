"""One training in several processes beside one in one: images a second, and how far the losses are apart.

    python tests/benchmarks/ranks.py [--ranks N] [--steps 60] [--batch 128] [--side 64] [--classes 1000]

Ranks are as many as there are CUDA devices, or two on the CPU, whose cores they share. The batch is the same for all:
each rank embeds its share of it. Synthetic images, a ResNet-18 with batch norm over the whole batch, CosFace; class
weights on every rank, then shared out. A step's time is that of a long training less that of a short one.
"""

from __future__ import annotations

import argparse

import numpy as np
import torch

from mlcompare.data import Dataset, draw_splits
from mlcompare.execution.devices import cpu_count
from mlcompare.execution.ranks import train_in_ranks
from mlcompare.training import EncoderConfig, TrainingConfig, TrainingData, TrainingJob, TrainingResult, train


def images(classes: int, side: int) -> TrainingData:
    """Four noisy copies of a pattern for each class."""
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(2 * classes), 4)
    patterns = rng.integers(0, 200, size=(2 * classes, 3, side // 4, side // 4), dtype=np.uint8)
    samples = patterns.repeat(4, axis=2).repeat(4, axis=3)[labels]
    samples += rng.integers(0, 56, size=samples.shape, dtype=np.uint8)
    dataset = Dataset("patterns", samples, labels, tuple(map(str, range(2 * classes))))
    return TrainingData(dataset, draw_splits(labels, test_classes=0.25, folds=3))  # half of the classes train


def trained(data: TrainingData, options: argparse.Namespace, steps: int, **training: object) -> TrainingResult:
    """Train for some steps.

    Raises:
        RuntimeError: the training failed.
    """
    config = TrainingConfig(
        steps=steps, classes_per_batch=options.batch // 4, samples_per_class=4, lr=0.01, optimizer="sgd",
        evaluations=0, checkpoint_minutes=0, **training,
    )  # fmt: skip
    encoder = EncoderConfig("resnet", 64, {"depth": options.depth})
    on = {"device": "cuda:0", "threads": 1} if torch.cuda.is_available() else {"device": "cpu", "threads": 1}
    job = TrainingJob.of("cosface", encoder=encoder, training=config, keep=False)
    job = TrainingJob(**{**vars(job), **on})
    result = train(job, data) if config.ranks == 1 else train_in_ranks(job, data)
    if result.status != "ok":
        raise RuntimeError(result.reason)
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ranks", type=int, default=torch.cuda.device_count() or 2)
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--side", type=int, default=64)
    parser.add_argument("--classes", type=int, default=1000)
    parser.add_argument("--depth", type=int, default=18)
    options = parser.parse_args()
    data = images(options.classes, options.side)
    ways: dict[str, dict[str, object]] = {"one process": {}}
    if options.ranks > 1:
        ways[f"{options.ranks} ranks"] = {"ranks": options.ranks}
        ways[f"{options.ranks} ranks, class weights shared out"] = {"ranks": options.ranks, "class_weights": "sharded"}
    else:
        print("one CUDA device: there are no ranks to compare; --ranks 2 needs two")
    print(f"{'':40}{'images/s':>10}{'ratio':>8}{'loss apart':>12}   {cpu_count()} cores, batch {options.batch}")
    first: tuple[float, np.ndarray] | None = None
    for way, training in ways.items():
        short, long = (trained(data, options, steps, **training) for steps in (options.steps // 4, options.steps))
        seconds = long.seconds - short.seconds  # not above 0 where so few steps are lost in what a start takes
        rate = options.batch * (options.steps - options.steps // 4) / seconds if seconds > 0 else np.nan
        losses = np.array(long.history["loss"])
        first = first or (rate, losses)
        apart = np.abs(losses / first[1] - 1).max()
        print(f"{way:40}{rate:10.0f}{rate / first[0]:8.2f}{apart:12.1e}", flush=True)


if __name__ == "__main__":
    main()
