"""Measure evaluation: time and memory of retrieval against pytorch-metric-learning, and of a hundred million pairs.

    python tests/benchmarks/evaluation.py [--classes 60] [--threads 2] [--noise 2.5] [--skip-peer]

Each side runs in a process of its own with the same number of threads. Memory is the peak resident size above what the
process held after its imports. The peer is ``AccuracyCalculator`` with faiss-cpu and ``k="max_bin_count"``; it has no
recall@10 and recall@100, so it is asked for precision@1 and MAP@R only.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path

SAMPLES, DIMENSIONS = 60_000, 128


def embeddings(samples: int, classes: int, noise: float):
    import torch

    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(samples) % classes
    centers = torch.randn(classes, DIMENSIONS, generator=generator)
    vectors = centers[labels] + noise * torch.randn(samples, DIMENSIONS, generator=generator)
    return torch.nn.functional.normalize(vectors), labels


def peer(options):
    from pytorch_metric_learning.utils.accuracy_calculator import AccuracyCalculator

    include = ("precision_at_1", "mean_average_precision_at_r")
    calculator = AccuracyCalculator(include=include, k="max_bin_count")
    return lambda vectors, labels: calculator.get_accuracy(vectors, labels), options.samples


def ours(options):
    from mlcompare.evaluation import evaluate_embeddings

    metrics = ["recall_at_1", "recall_at_10", "recall_at_100", "map_at_r"]
    return lambda vectors, labels: evaluate_embeddings(vectors, labels, metrics), options.samples


def pairs(options):
    from mlcompare.evaluation import evaluate_embeddings

    metrics = ["auc", "eer", *(f"tar_at_far_1e-{k}" for k in range(1, 7))]
    return lambda vectors, labels: evaluate_embeddings(vectors, labels, metrics), options.samples // 4


def measure(side: str, options) -> None:
    """Run one side in this process and print one line of JSON."""
    import torch

    torch.set_num_threads(options.threads)
    evaluate, samples = {"peer": peer, "ours": ours, "pairs": pairs}[side](options)
    if side == "peer":
        import faiss

        faiss.omp_set_num_threads(options.threads)
    vectors, labels = embeddings(samples, min(options.classes, samples // 2), options.noise)
    vectors, labels = vectors.to(options.device), labels.to(options.device)
    before = peak_memory()
    start = time.perf_counter()
    scores = evaluate(vectors, labels)
    seconds = time.perf_counter() - start
    print(json.dumps({"seconds": seconds, "megabytes": (peak_memory() - before) / 2**20, "scores": scores}))


def peak_memory() -> int:
    """Peak resident bytes of this process (VmHWM: unlike ru_maxrss, it doesn't start at the parent's size)."""
    status = Path("/proc/self/status").read_text()
    return 1024 * int(status.split("VmHWM:")[1].split()[0])


def run(side: str, options) -> dict:
    arguments = [f"--classes={options.classes}", f"--threads={options.threads}", f"--noise={options.noise}"]
    arguments += [f"--samples={options.samples}", f"--device={options.device}"]
    environment = os.environ | {"OMP_NUM_THREADS": str(options.threads)}
    environment["PYTHONPATH"] = str(Path(__file__).parents[2])
    command = [sys.executable, __file__, *arguments, f"--side={side}"]
    output = subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout
    result = json.loads(output.splitlines()[-1])
    scores = {name: round(value, 6) for name, value in result["scores"].items()}
    print(f"{side:6s} {result['seconds']:7.2f} s {result['megabytes']:8.0f} MB  {scores}", flush=True)
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--classes", type=int, default=60, help="60: a thousand samples in each")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--noise", type=float, default=2.5, help="standard deviation within a class; that between is 1")
    parser.add_argument("--skip-peer", action="store_true")
    parser.add_argument("--samples", type=int, default=SAMPLES, help="of the retrieval; a quarter for the pairs")
    parser.add_argument("--device", default="cpu", help="where the embeddings lie: cpu or cuda")
    parser.add_argument("--side", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.side:
        measure(options.side, options)
        return
    mine = run("ours", options)
    if not options.skip_peer:
        theirs = run("peer", options)
        print(f"retrieval: {theirs['seconds'] / mine['seconds']:.2f} times as fast, "
              f"{mine['megabytes'] / theirs['megabytes']:.2f} of the memory")  # fmt: skip
    run("pairs", options)


if __name__ == "__main__":
    main()
