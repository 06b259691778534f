"""Imports go one way, and heavy packages stay where they belong."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "mlcompare"
ROOMS = [  # from the ground up; a room imports from those before it, never from one beside or above it
    {"errors", "lazy_names"}, {"files", "registry"}, {"metrics", "geometry", "grouped"}, {"losses"},
    {"data", "encoders", "evaluation"}, {"training"}, {"execution", "search", "tracking"}, {"study"}, {"export"},
]  # fmt: skip
READERS = {"comparison": {"errors", "files", "registry", "metrics"}}
READERS["report"] = {*READERS["comparison"], "comparison"}
READERS["challenge"] = {*set().union(*ROOMS[:-1]), "comparison"}  # it runs studies and compares
ROOF = {"__init__", "__main__", "kinds", "cli", "testing"}  # they stand on everything


def imported(path: Path) -> set[str]:
    """Return the mlcompare modules that a file imports outside of TYPE_CHECKING blocks."""
    found: set[str] = set()
    tree = ast.parse(path.read_text(encoding="utf-8"))
    checked = [n for n in ast.walk(tree) if isinstance(n, ast.If) and ast.unparse(n.test) == "TYPE_CHECKING"]
    for_types = {inner for block in checked for statement in block.body for inner in ast.walk(statement)}
    for node in (node for node in ast.walk(tree) if node not in for_types):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "mlcompare":
            parts = node.module.split(".")
            found |= {parts[1]} if len(parts) > 1 else {alias.name for alias in node.names}
        elif isinstance(node, ast.Import):
            found |= {a.name.split(".")[1] for a in node.names if a.name.startswith("mlcompare.")}
    return found


def modules() -> list[tuple[str, Path]]:
    return [(path.relative_to(PACKAGE).parts[0].removesuffix(".py"), path) for path in sorted(PACKAGE.rglob("*.py"))]


@pytest.mark.parametrize(("layer", "path"), modules(), ids=lambda value: str(value).rsplit("mlcompare/")[-1])
def test_imports_go_upwards(layer: str, path: Path) -> None:
    if layer in ROOF:
        return
    names = {name for name in imported(path) if (PACKAGE / name).is_dir() or (PACKAGE / f"{name}.py").is_file()}
    if layer in READERS:
        allowed = READERS[layer] | {layer}
    else:
        place = next(number for number, group in enumerate(ROOMS) if layer in group)
        allowed = set().union(*ROOMS[:place]) | {layer}
    assert names <= allowed, f"{path} imports {names - allowed}"


@pytest.mark.parametrize("package", ["mlflow"])
def test_only_tracking_imports_mlflow(package: str) -> None:
    users = set()
    for layer, path in modules():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            if any(name.split(".")[0] == package for name in names):
                users.add(layer)
    assert users == {"tracking"}


def loaded_by(statement: str) -> set[str]:
    code = f"import sys; {statement}; print(*{{name.split('.')[0] for name in sys.modules}})"
    return set(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split())


def test_workers_load_neither_optuna_nor_mlflow() -> None:
    assert not {"optuna", "mlflow"} & loaded_by("import mlcompare.training, mlcompare.losses")


def test_windows_is_refused_in_one_sentence() -> None:
    code = "import sys; sys.platform = 'win32'; import mlcompare"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stderr.strip().splitlines()[-1].startswith("ImportError: mlcompare runs on Linux and macOS")


def test_comparison_loads_no_torch() -> None:
    assert not {"torch", "optuna", "mlflow"} & loaded_by("import mlcompare.comparison")


def test_forked_workers_load_neither_optuna_nor_mlflow() -> None:
    from mlcompare.execution.process_executor import PRELOAD

    assert not {"optuna", "mlflow"} & loaded_by(f"import {', '.join(PRELOAD)}")
