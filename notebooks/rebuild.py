"""Run the notebooks again: ``python notebooks/rebuild.py [NAME…] [--budget small|full] [--study FILE] [--steps N]``.

``full`` (the default) runs what is committed and saves the notebooks with their outputs; ``small`` runs a few steps of
everything and saves nothing. ``--study`` runs a study first and keeps its tables for the notebooks that read them; with
``--steps`` it trains that long instead of as the file says, and the length is part of the tables' name.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
from pathlib import Path

import nbformat
from nbclient import NotebookClient

HERE = Path(__file__).resolve().parent
TABLES = ("results.parquet", "per_class.parquet", "study.json")


def notebooks(names: list[str]) -> list[Path]:
    """Return the notebooks whose file name starts with one of ``names``; all of them without names."""
    found = [path for path in sorted(HERE.glob("*.ipynb")) if not names or path.stem.startswith(tuple(names))]
    if not found:
        raise SystemExit(f"no notebook is called {', '.join(names)}")
    return found


def execute(path: Path, budget: str) -> nbformat.NotebookNode:
    """Run one notebook in its own folder and return it with its outputs.

    Raises:
        nbclient.exceptions.CellExecutionError: a cell failed.
    """
    notebook = nbformat.read(path, as_version=4)
    threads = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
    environment = {**os.environ, **threads, "MLCOMPARE_BUDGET": budget, "PYDEVD_DISABLE_FILE_VALIDATION": "1"}
    client = NotebookClient(notebook, timeout=None, kernel_name="python3", resources={"metadata": {"path": str(HERE)}})
    client.execute(env=environment)
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)  # when each cell ran: new with every run
    notebook.metadata.pop("language_info", None)
    return notebook


def run_study_tables(file: Path, steps: int | None = None) -> None:
    """Run a study, or finish it, and keep its tables under ``results/<study>``, or ``results/<study>-<steps>``."""
    from mlcompare.study import default_store, read_study, run_study

    config = read_study(file)
    name = config.name if steps is None else f"{config.name}-{steps}"
    outcome = run_study(file, store=default_store(name), steps=steps)
    kept = HERE / "results" / name
    kept.mkdir(parents=True, exist_ok=True)
    for name in TABLES:
        if (outcome.store / name).is_file():
            shutil.copyfile(outcome.store / name, kept / name)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help="how the notebooks' file names start, such as 02; all by default")
    parser.add_argument("--budget", choices=("small", "full"), default="full")
    parser.add_argument("--study", type=Path, action="append", default=[], help="a study file to run first")
    parser.add_argument("--steps", type=int, action="append", help="how long that study trains; once for each length")
    options = parser.parse_args()
    for file in options.study:
        for steps in options.steps or [None]:
            run_study_tables(file, steps)
    if options.study and not options.names:
        return
    for path in notebooks(options.names):
        print(path.name, file=sys.stderr, flush=True)
        notebook = execute(path, options.budget)
        if options.budget == "full":
            nbformat.write(notebook, path)


if __name__ == "__main__":
    main()
