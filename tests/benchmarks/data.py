"""Measure data: opening a folder again, augmentation beside a training step, and the memory of mapped images.

    python tests/benchmarks/data.py [--files 50000] [--threads 1]

Prints the seconds of the first and second open of a folder of small images (decoded once, into a cache); what gathering
and augmenting a batch of 256 images of 28 × 28 pixels costs, as a share of a training step of conv4 on that batch; and
what a process holds after training-like gathers from memory-mapped sets of growing size.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

BATCH, SIDE, REPEATS = 256, 28, 12
MAPPED = (256, 512, 1024)  # MB
CASES = (
    ("digits preset, grey", 1, "digits"),
    ("faces preset, grey", 1, "faces"),
    ("fine_grained preset, colour", 3, "fine_grained"),
)


def best(run, repeats: int = REPEATS) -> float:
    """Return the median of the seconds of ``repeats`` runs, after one that warms up."""
    run()
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - start)
    return float(np.median(seconds))


def open_folder(files: int) -> None:
    from PIL import Image

    from mlcompare.data import load_dataset

    rng = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as name:
        root = Path(name) / "images"
        for number in range(files):
            folder = root / f"class{number % 500:03d}"
            if number < 500:
                folder.mkdir(parents=True)
            buffer = io.BytesIO()
            Image.fromarray(rng.integers(0, 256, (SIDE, SIDE), dtype=np.uint8)).save(buffer, "BMP")
            (folder / f"{number:06d}.bmp").write_bytes(buffer.getvalue())
        seconds = []
        for _ in range(4):
            start = time.perf_counter()
            load_dataset("image_folder", path=str(root), size=SIDE, channels=1)
            seconds.append(time.perf_counter() - start)
    print(f"folder of {files} images: first open {seconds[0]:.1f} s, again {np.median(seconds[1:]):.2f} s", flush=True)


def augmentation(threads: int) -> None:
    import torch

    from mlcompare.data import augment, resolve_augmentation
    from mlcompare.encoders import create_encoder
    from mlcompare.registry import create_loss

    torch.set_num_threads(threads)
    for name, channels, preset in CASES:
        generator = torch.Generator().manual_seed(0)
        samples = torch.randint(0, 256, (20_000, channels, SIDE, SIDE), dtype=torch.uint8, generator=generator)
        labels = torch.arange(BATCH) % 64
        encoder = create_encoder("conv4", input_shape=(channels, SIDE, SIDE), embedding_dim=64, seed=0)
        encoder = encoder.to(memory_format=torch.channels_last).train()
        loss = create_loss("cosface", num_classes=64, embedding_dim=64)
        optimizer = torch.optim.AdamW([*encoder.parameters(), *loss.parameters()], fused=True)
        given = resolve_augmentation({"preset": preset})

        def gathered(samples=samples, given=given, generator=generator):
            rows = torch.randint(0, len(samples), (BATCH,), generator=generator)
            return augment(samples[rows], given, generator)

        batch = gathered() / 255

        def step(encoder=encoder, loss=loss, optimizer=optimizer, batch=batch, labels=labels):
            optimizer.zero_grad(set_to_none=True)
            loss(encoder(batch), labels).backward()
            optimizer.step()

        once, trained = best(gathered), best(step)
        print(
            f"{name}: {1000 * once:.1f} ms a batch of {BATCH}, {100 * once / trained:.0f} % of a conv4 step "
            f"({1000 * trained:.0f} ms)",
            flush=True,
        )


def measure_mapped(path: str) -> None:
    """Gather batches from a mapped file in this process, and print its own memory in MB (mapped pages left out)."""
    import torch

    from mlcompare.data import Dataset

    samples = np.load(path, mmap_mode="c")
    labels = np.arange(len(samples)) % 100
    dataset = Dataset("mapped", samples, labels, tuple(map(str, range(100))), fingerprint="x")
    tensor = torch.as_tensor(np.asarray(dataset.samples))
    generator = torch.Generator().manual_seed(0)
    for _ in range(200):
        rows = torch.randint(0, len(tensor), (BATCH,), generator=generator)
        tensor[rows].float().mean()
    status = Path("/proc/self/status").read_text()
    print(json.dumps({key: int(status.split(f"{key}:")[1].split()[0]) / 1024 for key in ("RssAnon", "RssFile")}))


def mapped_memory() -> None:
    with tempfile.TemporaryDirectory() as name:
        for megabytes in MAPPED:
            path = Path(name) / f"{megabytes}.npy"
            count = megabytes * 2**20 // (3 * 64 * 64)
            array = np.lib.format.open_memmap(path, mode="w+", dtype=np.uint8, shape=(count, 3, 64, 64))
            array.flush()
            del array
            command = [sys.executable, __file__, "--mapped", str(path)]
            environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
            output = subprocess.run(command, check=True, capture_output=True, text=True, env=environment).stdout
            held = json.loads(output.splitlines()[-1])
            print(f"mapped set of {megabytes} MB: {held['RssAnon']:.0f} MB of the process's own memory "
                  f"({held['RssFile']:.0f} MB of mapped pages, which the system takes back)", flush=True)  # fmt: skip
            path.unlink()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=50_000)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--mapped", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.mapped:
        measure_mapped(options.mapped)
        return
    augmentation(options.threads)
    open_folder(options.files)
    mapped_memory()


if __name__ == "__main__":
    main()
