"""Everything that needs a GPU, in one command: the tests, the quickstart and the benchmarks.

    python tests/benchmarks/gpu_day.py [--out FOLDER] [--minutes 25] [--cpu]

Each part writes what it printed to a file of its own, under the device's name, by default in `results/`. A part that
fails, or for which no time is left, says so in its file and does not stop the others; the exit code counts failures.
``--cpu`` runs the same parts, but the studies' benchmark, at their smallest on the CPU: whether all of it works.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path

import torch

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
PYTHON = sys.executable
STUDY = ["-m", "mlcompare.cli", "run", "studies/quickstart.yaml", "--store"]
SMALLEST = ["--trials", "1", "--steps", "2", "--seeds", "1"]

Part = tuple[str, list[str]]  # its file's name, and what Python is called with


def parts(cpu: bool) -> list[Part]:
    """Return what is run, the most telling first."""
    if cpu:
        return [
            ("tests", ["-m", "pytest", "-q", "tests/training/test_step.py", "-k", "cuda or gpu"]),
            ("fine_tuning", [f"{HERE}/fine_tuning.py", "--side", "32", "--batch", "8", "--steps", "4"]),
            ("quickstart", [*STUDY, "{out}/gpu_day_store", "--device", "cpu", *SMALLEST]),
            ("devices", [*STUDY, "{out}/gpu_day_devices", "--devices", "cpu", "--workers", "2", *SMALLEST]),
            ("ranks", [f"{HERE}/ranks.py", "--steps", "16", "--batch", "8", "--side", "8", "--classes", "8",
                       "--depth", "10"]),
            ("losses", [f"{HERE}/losses.py", "--quick", "--only", "cosface", "--seconds", "0.05"]),
            ("evaluation", [f"{HERE}/evaluation.py", "--skip-peer", "--samples", "3000"]),
        ]  # fmt: skip
    tested = ["tests/training", "tests/evaluation", "tests/execution", "tests/losses"]
    return [
        ("tests", ["-m", "pytest", "-q", *tested, "-k", "cuda or gpu or Cuda"]),
        ("fine_tuning", [f"{HERE}/fine_tuning.py", "--batch", "128", "--steps", "60"]),
        ("studies", [f"{HERE}/studies.py", "--quick"]),
        ("quickstart", [*STUDY, "{out}/gpu_day_store", "--device", "cuda"]),
        ("devices", [*STUDY, "{out}/gpu_day_devices", "--devices", "all", "--trials", "2", "--seeds", "1"]),
        ("ranks", [f"{HERE}/ranks.py"]),
        ("evaluation", [f"{HERE}/evaluation.py", "--device", "cuda"]),
        ("losses", [f"{HERE}/losses.py", "--quick", "--device", "cuda", "--seconds", "0.3"]),
    ]


def machine() -> str:
    """Return the first line of every file: what it was measured on."""
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU"
    python = f"Python {sys.version_info.major}.{sys.version_info.minor}"
    return f"# {device}, {os.cpu_count()} cores; {python}, torch {torch.__version__}; {time.strftime('%Y-%m-%d')}"


def run(part: Part, folder: Path, until: float) -> bool:
    """Run a part, write its file, and say whether it went well."""
    name, arguments = part
    path, given = folder / f"gpu_{name}.txt", [argument.replace("{out}", str(folder)) for argument in arguments]
    left = until - time.monotonic()
    shown = " ".join(Path(word).name if word.startswith(str(HERE)) else word for word in arguments)
    head = f"{machine()}\n# $ python {shown}\n\n"
    if left <= 0:
        path.write_text(f"{head}no time was left for it\n", encoding="utf-8")
        return False
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    started = time.monotonic()
    try:
        done = subprocess.run(
            [PYTHON, *given], cwd=ROOT, env=environment, timeout=left, text=True, encoding="utf-8",
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False,
        )  # fmt: skip
        printed, well = done.stdout, done.returncode == 0
    except subprocess.TimeoutExpired as error:
        output = error.stdout or b""
        printed, well = output if isinstance(output, str) else output.decode(errors="replace"), False
        printed += f"\nstopped after {left:.0f} s: no time was left\n"
    path.write_text(head + printed, encoding="utf-8")
    print(f"{name:12} {'ok' if well else 'FAILED'} in {time.monotonic() - started:.0f} s: {path}", flush=True)
    return well


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=HERE / "results", help="folder of the files")
    parser.add_argument("--minutes", type=float, default=25.0, help="for all of it")
    parser.add_argument("--cpu", action="store_true", help="the smallest of everything, on the CPU")
    options = parser.parse_args()
    if not options.cpu and not torch.cuda.is_available():
        parser.error("no CUDA device is here; --cpu tries out whether all of it works")
    options.out.mkdir(parents=True, exist_ok=True)
    until = time.monotonic() + 60 * options.minutes
    failed = [part[0] for part in parts(options.cpu) if not run(part, options.out.resolve(), until)]
    print(f"failed: {', '.join(failed)}" if failed else "all went well")
    sys.exit(len(failed))


if __name__ == "__main__":
    main()
