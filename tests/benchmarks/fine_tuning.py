"""A ResNet-50 fine-tuned two ways, in one run: mlcompare's training, and the loop that is written by hand.

    python tests/benchmarks/fine_tuning.py [--side 224] [--batch 64] [--steps 40] [--device cuda]

By hand: a DataLoader over the same images in memory, timm's network, CosFaceLoss of pytorch-metric-learning, AdamW and
autocast, as tutorials have it. Both train the same network on the same synthetic images in bfloat16 on a GPU, in
float32 on a CPU. Prints images a second of both, their ratio, and which share of a step of mlcompare the network's own
forward and backward pass is. Where timm can't be imported, a ResNet-34 of this package stands in.
"""

from __future__ import annotations

import argparse
import importlib.util
import time
from dataclasses import replace

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from mlcompare.data import Dataset, draw_splits
from mlcompare.encoders import create_encoder
from mlcompare.losses.compose import LossEntry, Term
from mlcompare.training import EncoderConfig, TrainingConfig, TrainingData, TrainingJob, train

CLASSES, EACH, DIM, ROUNDS = 64, 24, 128, 3


def has_timm() -> bool:
    """Whether timm and what it needs can be imported."""
    if importlib.util.find_spec("timm") is None:
        return False
    try:
        import timm  # noqa: F401
    except Exception:  # a torchvision of another torch raises what it likes
        return False
    return True


def encoder_of() -> EncoderConfig:
    return EncoderConfig("timm:resnet50", DIM) if has_timm() else EncoderConfig("resnet", DIM, {"depth": 34})


def images(side: int) -> TrainingData:
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(CLASSES), EACH)
    samples = rng.integers(0, 256, (len(labels), 3, side, side), dtype=np.uint8)
    dataset = Dataset("synthetic", samples, labels, tuple(map(str, range(CLASSES))), fingerprint="synthetic")
    return TrainingData(dataset, draw_splits(labels, test_classes=0.1, folds=2))


def synchronize(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()


def ours(data: TrainingData, options: argparse.Namespace) -> float:
    """Return seconds a step: a long training less a short one."""
    precision = "bfloat16" if options.device == "cuda" else "float32"
    config = TrainingConfig(
        steps=options.steps, classes_per_batch=options.batch // 4, samples_per_class=4, lr=1e-4, evaluations=0,
        precision=precision, optimizer="adamw",
    )  # fmt: skip
    entry = LossEntry("cosface", "single", (Term("cosface"),))
    job = TrainingJob("trial", entry, {}, encoder_of(), config, 0, 0, trial=0, device=options.device)
    short = max(options.steps // 4, 1)
    taken = []
    for steps in (short, options.steps):
        started = time.perf_counter()
        result = train(replace(job, training=config.model_copy(update={"steps": steps})), data, scored=False)
        synchronize(options.device)
        taken.append(time.perf_counter() - started)
        assert result.status == "ok", result.reason
    return (taken[1] - taken[0]) / (options.steps - short)


def network(data: TrainingData, device: str) -> nn.Module:
    encoder = encoder_of()
    model = create_encoder(
        encoder.name, input_shape=data.dataset.sample_shape, embedding_dim=DIM, seed=0, **encoder.options
    )
    return model.to(device).to(memory_format=torch.channels_last).train()


def by_hand(data: TrainingData, options: argparse.Namespace) -> float:
    """Return seconds a step of the loop as tutorials write it."""
    from pytorch_metric_learning.losses import CosFaceLoss
    from torch.utils.data import DataLoader, TensorDataset

    device, model = options.device, network(data, options.device)
    loss = CosFaceLoss(CLASSES, DIM).to(device)
    optimizer = torch.optim.AdamW([*model.parameters(), *loss.parameters()], lr=1e-4)
    samples, labels = torch.from_numpy(data.dataset.samples), torch.from_numpy(data.dataset.labels)
    loader = DataLoader(TensorDataset(samples, labels), options.batch, shuffle=True, drop_last=True)
    short, taken, done = max(options.steps // 4, 1), [], 0
    while done < options.steps:
        for inputs, targets in loader:
            if done == short:
                synchronize(device)
                taken.append(time.perf_counter())
            inputs = (inputs.to(device).float() - 128) / 64
            with torch.autocast(device, torch.bfloat16, enabled=device == "cuda"):
                embeddings = model(inputs.to(memory_format=torch.channels_last))
            optimizer.zero_grad()
            loss(embeddings.float(), targets.to(device)).backward()
            optimizer.step()
            done += 1
            if done == options.steps:
                break
    synchronize(device)
    return (time.perf_counter() - taken[0]) / (options.steps - short)


def alone(data: TrainingData, options: argparse.Namespace) -> float:
    """Return seconds of the network's own forward and backward pass on a batch that lies on the device."""
    device, model = options.device, network(data, options.device)
    inputs = torch.randn(options.batch, *data.dataset.sample_shape, device=device).to(memory_format=torch.channels_last)
    short, started = max(options.steps // 4, 1), 0.0
    for step in range(options.steps):
        if step == short:
            synchronize(device)
            started = time.perf_counter()
        with torch.autocast(device, torch.bfloat16, enabled=device == "cuda"):
            value = F.normalize(model(inputs)).sum()
        value.backward()
    synchronize(device)
    return (time.perf_counter() - started) / (options.steps - short)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--side", type=int, default=224)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    options = parser.parse_args()
    data = images(options.side)
    taken: dict[str, list[float]] = {"ours": [], "by hand": [], "alone": []}
    for _ in range(ROUNDS):  # in turns, so that a busy moment hits all
        for name, measured in (("ours", ours), ("by hand", by_hand), ("alone", alone)):
            taken[name].append(measured(data, options))
    mine, other, least = (float(np.median(taken[name])) for name in ("ours", "by hand", "alone"))
    print(f"{encoder_of().name} at {options.side}², batches of {options.batch}, {options.device}: "
          f"{options.batch / mine:.1f} images/s, {options.batch / other:.1f} by hand, ratio {other / mine:.2f}; "
          f"{least / mine:.0%} of a step is the network's own arithmetic", flush=True)  # fmt: skip


if __name__ == "__main__":
    main()
