"""What the README shows works."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import yaml

from mlcompare.study import StudyConfig, make_plan
from tests.servers import Server
from tests.study.conftest import TINY

README = (Path(__file__).parent.parent / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, flags=re.DOTALL)


def test_the_study_file_makes_a_plan() -> None:
    (text,) = blocks("yaml")
    path = Path("README.md")
    from mlcompare.study.strict_yaml import _parse

    raw = _parse(text, str(path))
    assert raw.keys() == yaml.safe_load(text).keys()
    plan = make_plan(StudyConfig.model_validate(raw))
    assert [loss.entry.family for loss in plan.losses.values()] == ["metric", "margin", "margin", "metric"]


def test_the_python_example_runs() -> None:
    subprocess.run([sys.executable, "-c", blocks("python")[0]], check=True, capture_output=True)


def test_a_table_made_elsewhere_is_compared() -> None:
    (example,) = (block for block in blocks("python") if "compare(pd" in block)
    printed = subprocess.run([sys.executable, "-c", example], check=True, capture_output=True, text=True).stdout
    assert "★ arcface" in printed
    assert "told apart from 1 other" in printed


def test_a_loss_of_your_own_is_found_and_conforms(tmp_path: Path) -> None:
    (loss,) = (block for block in blocks("python") if "@register_loss" in block)
    (test,) = (block for block in blocks("python") if "LossTestCase" in block)
    assert len([line for line in loss.splitlines() if line.strip()]) <= 15
    (tmp_path / "my_package").mkdir()
    (tmp_path / "my_package/__init__.py").touch()
    (tmp_path / "my_package/squared_margin.py").write_text(loss, encoding="utf-8")
    (tmp_path / "my_package-1.dist-info").mkdir()
    (tmp_path / "my_package-1.dist-info/METADATA").write_text("Metadata-Version: 2.1\nName: my-package\nVersion: 1\n")
    points = blocks("toml")[0].replace('[project.entry-points."mlcompare.losses"]', "[mlcompare.losses]")
    (tmp_path / "my_package-1.dist-info/entry_points.txt").write_text(points.replace('"', ""), encoding="utf-8")
    (tmp_path / "test_mine.py").write_text(test, encoding="utf-8")
    root = str(Path(__file__).parent.parent)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), root]), "OMP_NUM_THREADS": "1"}
    options = {"cwd": tmp_path, "env": environment, "capture_output": True, "text": True}
    listed = subprocess.run([sys.executable, "-m", "mlcompare.cli", "losses", "squared_margin"], **options)
    assert "squared_margin" in listed.stdout, listed.stderr
    done = subprocess.run([sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_mine.py"], **options)
    assert done.returncode == 0, done.stdout
    assert re.search(r"\d+ passed", done.stdout)


def test_a_file_of_your_own_serves_a_study(tmp_path: Path) -> None:
    (own,) = (block for block in blocks("python") if "# my_models.py" in block)
    (tmp_path / "my_models.py").write_text(own, encoding="utf-8")
    study = {**TINY, "dataset": "my_digits", "encoder": {"name": "my_net", "embedding_dim": 8, "width": 8}}
    study |= {"trainer": {"name": "my_loop", "epochs": 1}, "search": {"trials": 1, "objective": "nearest_is_right"}}
    (tmp_path / "study.yaml").write_text(yaml.safe_dump(study), encoding="utf-8")
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    for command in ("run study.yaml --store store --workers 2", "export store cosface --out model --far 0.1"):
        words = [sys.executable, "-m", "mlcompare.cli", *command.split(), "--plugin", "my_models.py"]
        done = subprocess.run(words, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stdout + done.stderr
    table = pd.read_parquet(tmp_path / "store/results.parquet")
    assert set(table.loc[table["kind"] == "final", "status"]) == {"ok"}
    assert table.loc[table["metric"] == "nearest_is_right", "value"].between(0, 1).all()


@pytest.mark.slow
def test_from_a_laptop_to_a_cluster(tmp_path: Path) -> None:
    """The commands of that section, one after the other, on a small study: every store gets the same table."""
    pytest.importorskip("ray")
    text = README.split("## From a laptop to a cluster")[1].split("\n## ")[0]
    commands = re.findall(r"^\$ (.*)$", text, flags=re.MULTILINE)
    assert len(commands) == 7
    (tmp_path / "study.yaml").write_text(yaml.safe_dump(TINY), encoding="utf-8")
    environment = {
        **os.environ, "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
        "RAY_USAGE_STATS_ENABLED": "0", "MLFLOW_DISABLE_TELEMETRY": "true",
    }  # fmt: skip
    server = None
    try:
        for command in commands:
            if command.endswith("&"):
                words = shlex.split(command.removesuffix("&"))
                server = Server(words, 5001, tmp_path / "server.txt", cwd=tmp_path, env=environment)
                server.start()
                continue
            done = subprocess.run(
                shlex.split(command), cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300
            )
            assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
            assert "MLflow could not" not in done.stdout
    finally:
        subprocess.run(["ray", "stop", "--force"], env=environment, capture_output=True)
        if server is not None:
            server.stop()
    measured = ["seconds", "peak_memory"]
    first, *others = (
        pd.read_parquet(tmp_path / "runs" / name / "results.parquet").drop(columns=measured)
        for name in ("tiny", "team", "ray")
    )
    for table in others:
        pd.testing.assert_frame_equal(table, first)


@pytest.mark.slow
def test_from_ones_own_data_to_a_ranking(tmp_path: Path) -> None:
    """The commands of that section on drawings that nobody made a study for; the run's budget alone is cut."""
    from tests.cli.test_init import draw

    draw(tmp_path / "photos", 40, 10)
    section = README.split("## On your own data")[1].split("\n## ")[0]
    commands = re.findall(r"^\$ (.*)$", section, flags=re.MULTILINE)
    assert [command.split()[1] for command in commands] == ["init", "check", "run"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "XDG_CACHE_HOME": str(tmp_path / "cache")}
    for command, more in zip(commands, ("", "", " --trials 1 --steps 2 --seeds 1")):
        words = [sys.executable, "-m", "mlcompare.cli", *shlex.split(command + more)[1:]]
        done = subprocess.run(words, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stdout + done.stderr
    assert "95 % interval" in done.stdout


def test_what_tuning_is_worth_is_what_the_stored_table_says() -> None:
    """Every figure of that paragraph, and the sentences that count situations."""
    root = Path(__file__).parents[1]
    readme = " ".join((root / "README.md").read_text(encoding="utf-8").split())
    text = readme.partition("### What tuning is worth")[2].partition("These are short trainings")[0]
    table = (root / "tests" / "benchmarks" / "results" / "tuning.txt").read_text(encoding="utf-8")
    figures = re.findall(r"(?<![\d.])\.\d{2,3}", text)
    assert len(figures) >= 14
    assert not [figure for figure in figures if f"0{figure}" not in table]
    leads = [int(n) for n in re.findall(r"ahead of the best metric loss in (\d) of 7 situations", table)]
    assert f"in all {7 - leads[0]} situations" in text
    assert f"ahead in {7 - leads[1]}, by" in text
    assert f"margin losses are ahead in {leads[2]} of 7" in text
