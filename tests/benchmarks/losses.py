"""Forward and backward of every loss beside pytorch-metric-learning's, in one run: milliseconds, ratio, peak memory.

    python tests/benchmarks/losses.py [--quick] [--only NAME …] [--seconds S]

One thread. Each measurement is a forked process, so that its peak memory is its own: what it adds to the peak resident
size over that before the first call. A library that runs out of time or memory is printed as such.
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from pytorch_metric_learning import distances, losses, miners, reducers
from torch.nn import functional as F

from mlcompare.registry import create_loss

DIM = 128
HEAD_DIM, HEAD_BATCH = 512, 256
SIZES = [(64, 4), (128, 4), (256, 4), (512, 4), (1024, 4), (256, 32)]
CLASSES = [100, 1_000, 10_000, 100_000]
TIME_LIMIT, MEMORY_LIMIT = 60.0, 6 << 30
MEAN = {"reducer": reducers.MeanReducer()}


@dataclass(frozen=True)
class Case:
    """One loss, in both libraries; ``pml`` takes the sizes of a head and may come with a miner."""

    label: str
    name: str
    pml: Callable
    miner: Callable | None = None
    values: tuple = ()
    target: float | None = None  # of the ratio at 256×4


PAIRS = [
    Case("triplet (batch-all)", "triplet", lambda: losses.TripletMarginLoss(margin=0.2), target=5),
    Case(
        "triplet_semihard",
        "triplet_semihard",
        lambda: losses.TripletMarginLoss(margin=0.2, distance=distances.LpDistance(power=2)),
        lambda: miners.TripletMarginMiner(margin=0.2, type_of_triplets="semihard"),
        target=3,
    ),
    Case("trihard", "trihard", lambda: losses.TripletMarginLoss(margin=0.2, **MEAN), miners.BatchHardMiner, target=1.5),
    Case("lifted_structure", "lifted_structure", losses.LiftedStructureLoss, target=100),
    Case("generalized_lifted_structure", "generalized_lifted_structure", losses.GeneralizedLiftedStructureLoss),
    Case(
        "margin_based (all)",
        "margin_based",
        lambda: losses.MarginLoss(margin=0.2, learn_beta=True),
        values=(("sampling", "all"),),
        target=5,
    ),
    Case(
        "margin_based (distance-weighted)",
        "margin_based",
        lambda: losses.MarginLoss(margin=0.2, learn_beta=True),
        miners.DistanceWeightedMiner,
        target=3,
    ),
    Case("contrastive", "contrastive", losses.ContrastiveLoss),
    Case("multi_similarity", "multi_similarity", losses.MultiSimilarityLoss, miners.MultiSimilarityMiner),
    Case("circle", "circle", losses.CircleLoss),
    Case("nt_xent", "nt_xent", losses.NTXentLoss, target=100),
    Case("supcon", "supcon", losses.SupConLoss),
    Case("n_pair", "n_pair", losses.NPairsLoss),
    Case("smooth_ap", "smooth_ap", losses.SmoothAPLoss),
    Case("ranked_list", "ranked_list", lambda: losses.RankedListLoss(margin=0.4, Tn=10, alpha=1.2)),
    Case("tuplet_margin", "tuplet_margin", losses.TupletMarginLoss),
    Case("threshold_consistent_term", "threshold_consistent_term", losses.ThresholdConsistentMarginLoss),
]
HEADS = [
    Case("normface", "normface", losses.NormalizedSoftmaxLoss, target=1),
    Case("cosface", "cosface", losses.CosFaceLoss, target=1),
    Case("arcface", "arcface", losses.ArcFaceLoss, target=1),
    Case("subcenter_arcface", "subcenter_arcface", losses.SubCenterArcFaceLoss, target=1),
    Case("sphereface", "sphereface", losses.SphereFaceLoss, target=1),
    Case("l_softmax", "l_softmax", losses.LargeMarginSoftmaxLoss, target=1),
    Case("proxy_nca", "proxy_nca", losses.ProxyNCALoss, target=1),
    Case("proxy_anchor", "proxy_anchor", losses.ProxyAnchorLoss, target=1),
    Case("soft_triple", "soft_triple", losses.SoftTripleLoss, target=1),
    Case(
        "p2sgrad",
        "p2sgrad",
        lambda num_classes, embedding_size: losses.P2SGradLoss(embedding_size, num_classes),
        target=1,
    ),
]


class Bare(torch.nn.Module):
    """What no head can beat: a linear layer and cross-entropy."""

    def __init__(self, num_classes: int, embedding_size: int) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.randn(num_classes, embedding_size) / embedding_size**0.5)

    def forward(self, embeddings, labels):
        return F.cross_entropy(F.linear(embeddings, self.weight), labels)


def synchronize(device: str) -> None:
    """Wait for the device."""
    if device == "cuda":
        torch.cuda.synchronize()


def with_miner(loss, miner):
    return loss if miner is None else lambda embeddings, labels: loss(embeddings, labels, miner(embeddings, labels))


def ours(case: Case, context: dict):
    return create_loss(case.name, **context, **dict(case.values))


def theirs(case: Case, context: dict):
    sizes = {"num_classes": context["num_classes"], "embedding_size": context["embedding_dim"]} if context else {}
    return with_miner(case.pml(**sizes), case.miner() if case.miner else None)


def bare(case: Case, context: dict):
    return Bare(context["num_classes"], context["embedding_dim"])


def batch(size: int, per_class: int | None, num_classes: int | None, dim: int):
    generator = torch.Generator().manual_seed(0)
    embeddings = torch.randn(size, dim, generator=generator)
    if per_class is None:
        return embeddings, torch.randint(0, num_classes, (size,), generator=generator)
    return embeddings, torch.arange(size) // per_class


def measure(build, case, context, shape, seconds, device, pipe):
    """Send (milliseconds, megabytes): the fastest of the calls that fit in ``seconds``, at least three."""
    try:
        if device == "cpu":  # CUDA reserves more addresses than that
            resource.setrlimit(resource.RLIMIT_AS, (MEMORY_LIMIT, MEMORY_LIMIT))
        embeddings, labels = (tensor.to(device) for tensor in batch(*shape))
        embeddings.requires_grad_()
        loss = build(case, context)
        loss = loss.to(device) if isinstance(loss, torch.nn.Module) else loss
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        best, started, calls = float("inf"), time.perf_counter(), 0
        while calls < 3 or (time.perf_counter() - started < seconds and calls < 1000):
            embeddings.grad = None
            if isinstance(loss, torch.nn.Module):
                loss.zero_grad(set_to_none=True)
            tick = time.perf_counter()
            loss(embeddings, labels).backward()
            synchronize(device)
            best, calls = min(best, time.perf_counter() - tick), calls + 1
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
        if device == "cuda":
            peak = torch.cuda.max_memory_allocated() // 1024
        pipe.send((best * 1e3, peak / 1024))
    except (MemoryError, RuntimeError) as error:
        pipe.send("out of memory" if "alloc" in str(error) or isinstance(error, MemoryError) else str(error)[:40])


def in_a_process(*arguments):
    """Return what :func:`measure` sent, or why it sent nothing."""
    context = multiprocessing.get_context("fork")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=measure, args=(*arguments, sender))
    process.start()
    result = receiver.recv() if receiver.poll(TIME_LIMIT) else f"over {TIME_LIMIT:.0f} s"
    process.kill()
    process.join()
    return result


def in_turns(arguments, *builds):
    """Return each build's best time and its memory; they take turns, so that a busy moment of the machine hits all."""
    rounds = [[in_a_process(build, *arguments) for build in builds]]
    if not any(isinstance(result, str) or result[0] > 5000 for result in rounds[0]):
        rounds += [[in_a_process(build, *arguments) for build in builds] for _ in range(2)]
    return [results[0] if isinstance(results[0], str) else min(results) for results in zip(*rounds)]


def cell(result) -> str:
    return result.rjust(21) if isinstance(result, str) else f"{result[0]:10.2f} {result[1]:8.0f}MB"


def ratio(mine, other) -> float | None:
    return None if isinstance(mine, str) or isinstance(other, str) else other[0] / mine[0]


def line(label, size, mine, other, target) -> str:
    times = ratio(mine, other)
    verdict = "" if times is None else f"{times:9.2f}×"
    wanted = f"  wanted {target:g}×{'' if times is None or times >= target else '  MISSED'}" if target else ""
    slower = "  SLOWER" if times is not None and times < 1 else ""
    return f"{label:34s}{size:>12s}{cell(mine)}{cell(other)}{verdict}{wanted}{slower}"


def run_pairs(cases, sizes, seconds, device) -> None:
    print(f"\n{'pairs and triplets, D=' + str(DIM):34s}{'batch×K':>12s}{'ours ms, peak':>21s}{'PML ms, peak':>21s}")
    for case in cases:
        for size, per_class in sizes:
            arguments = (case, {}, (size, per_class, None, DIM), seconds, device)
            mine, other = in_turns(arguments, ours, theirs)
            target = case.target if (size, per_class) == (256, 4) else None
            print(line(case.label, f"{size}×{per_class}", mine, other, target), flush=True)


def run_heads(cases, classes, seconds, device) -> None:
    title = f"heads, B={HEAD_BATCH}, D={HEAD_DIM}"
    print(f"\n{title:34s}{'classes':>12s}{'ours ms, peak':>21s}{'PML ms, peak':>21s}   ours / linear + cross-entropy")
    for case in cases:
        for count in classes:
            context = {"num_classes": count, "embedding_dim": HEAD_DIM}
            arguments = (case, context, (HEAD_BATCH, None, count, HEAD_DIM), seconds, device)
            mine, other, floor = in_turns(arguments, ours, theirs, bare)
            over = ratio(floor, mine)
            text = line(case.label, str(count), mine, other, case.target)
            print(text + ("" if over is None else f"  {over:.2f}× bare"), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="64×4 and 256×4, heads up to 10 000 classes")
    parser.add_argument("--only", nargs="*", default=None, help="registered names")
    parser.add_argument("--seconds", type=float, default=1.0, help="time for each measurement")
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    options = parser.parse_args()
    torch.set_num_threads(1)
    keep = [c for c in (*PAIRS, *HEADS) if options.only is None or c.name in options.only]
    pairs, heads = [c for c in keep if c in PAIRS], [c for c in keep if c in HEADS]
    if pairs:
        run_pairs(pairs, [(64, 4), (256, 4)] if options.quick else SIZES, options.seconds, options.device)
    if heads:
        run_heads(heads, CLASSES[:3] if options.quick else CLASSES, options.seconds, options.device)


if __name__ == "__main__":
    main()
