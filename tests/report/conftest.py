"""Finished stores that take a second or two, and a reader of the report's tables."""

from __future__ import annotations

import copy
import json
import shutil
from html.parser import HTMLParser
from pathlib import Path

import pandas as pd
import pytest

from mlcompare.study import run_study
from tests.study.conftest import TINY


def study(name: str, **changes) -> dict:
    """Return the tiny study under another name, with some keys replaced."""
    return copy.deepcopy({**TINY, "name": name, "question": "Does margin beat metric?", **changes})


@pytest.fixture(scope="session")
def finished(tmp_path_factory) -> Path:
    """A finished store; leave it as it is."""
    path = tmp_path_factory.mktemp("stores") / "one"
    run_study(study("one"), path, executor="in-process")
    return path


@pytest.fixture(scope="session")
def finished_too(tmp_path_factory) -> Path:
    """Another one: other splits, and one loss more."""
    path = tmp_path_factory.mktemp("stores") / "two"
    losses = {"contrastive": None, "cosface": {"scale": 16}, "softmax": None}
    run_study(study("two", protocol={"test_classes": 0.4, "folds": 2, "seed": 3}, losses=losses), path,
              executor="in-process")  # fmt: skip
    return path


@pytest.fixture
def store(finished: Path, tmp_path: Path) -> Path:
    """A copy to break, without MLflow's files."""
    shutil.copytree(finished, tmp_path / "store", ignore=shutil.ignore_patterns("mlflow*", "optuna*", ".cache"))
    return tmp_path / "store"


def change_study(store: Path, **changes) -> None:
    """Replace keys of the study file inside ``study.json``."""
    known = json.loads((store / "study.json").read_text())
    known["study"] |= changes
    (store / "study.json").write_text(json.dumps(known))


def change_results(store: Path, change) -> None:
    """Rewrite ``results.parquet`` through a function of the frame."""
    path = store / "results.parquet"
    change(pd.read_parquet(path)).to_parquet(path, index=False)


class Tables(HTMLParser):
    """Collects every table: caption, and rows of cell texts (the first is the header)."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.found: list[tuple[str, list[list[str]]]] = []
        self._caption, self._rows, self._inside = "", [], None
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        if tag == "table":
            self._caption, self._rows = "", []
        elif tag == "tr":
            self._rows.append([])
        elif tag in ("td", "th"):
            self._rows[-1].append("")
        if tag in ("td", "th", "caption"):
            self._inside = tag

    def handle_endtag(self, tag):
        if tag == "table":
            self.found.append((self._caption, self._rows))
        if tag in ("td", "th", "caption"):
            self._inside = None

    def handle_data(self, data):
        if self._inside == "caption":
            self._caption += data
        elif self._inside:
            self._rows[-1][-1] += data

    def named(self, start: str) -> list[list[str]]:
        """Return the rows of the table whose caption starts like this."""
        return next(rows for caption, rows in self.found if caption.startswith(start))


def without_scripts(html: str) -> str:
    """Return the document up to its first script: everything a person reads."""
    return html[: html.index("<script")]


def charts(html: str) -> dict[str, dict]:
    """Return the charts' data by id."""
    text = html.split('<script type="application/json" id="plots">', 1)[1].split("</script>", 1)[0]
    return {chart["id"]: chart for chart in json.loads(text)}
