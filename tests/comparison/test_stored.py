"""A comparison reads all it needs from a store, and shows itself in a notebook."""

from __future__ import annotations

import json
import re
from html import unescape
from pathlib import Path

import pandas as pd
import pytest

from mlcompare.comparison import compare, load_spaces
from mlcompare.errors import StoreError

from .simulate import study

SPACES = {"cosface": {"margin": {"low": 0.0, "high": 0.3, "log": False}, "scale": 16.0, "easy": {"values": [1, 2]}}}


@pytest.fixture
def store(tmp_path: Path) -> Path:
    results, per_class = (frame.replace({"loss": {"triplet": "triplet<b>"}}) for frame in study())
    results.to_parquet(tmp_path / "results.parquet")
    per_class.to_parquet(tmp_path / "per_class.parquet")
    known = {"study": {"search": {"objective": "map_at_r"}}, "spaces": SPACES}
    (tmp_path / "study.json").write_text(json.dumps(known))
    return tmp_path


def test_a_store_says_what_its_tables_say(store: Path) -> None:
    results, per_class = (pd.read_parquet(store / f"{name}.parquet") for name in ("results", "per_class"))
    found = compare(store)
    told = compare(results, per_class, metric="map_at_r", spaces=load_spaces(str(store)))
    pd.testing.assert_frame_equal(found.table, told.table)
    assert found.unit == "class"
    assert load_spaces(store) == {"cosface": {"margin": SPACES["cosface"]["margin"]}}


def test_a_missing_store_and_a_broken_study_are_named(store: Path) -> None:
    with pytest.raises(StoreError, match="the store must exist"):
        compare(store / "nothing")
    (store / "study.json").write_text("[1]")
    with pytest.raises(StoreError, match="must be a JSON object"):
        compare(str(store))


def test_a_notebook_shows_ranking_answer_and_escaped_names(store: Path) -> None:
    found = compare(store)
    html = found._repr_html_()
    assert "<b>" not in html
    rows = [[unescape(c) for c in re.findall(r"<td>(.*?)</td>", row)] for row in re.findall(r"<tr>.*?</tr>", html)][1:]
    assert [row[1] for row in rows] == found.table["loss"].tolist()
    assert rows[0][0] == "★"
    assert [row[3] for row in rows] == [f"{mean:.3f}" for mean in found.table["mean"]]
    if found.family:
        assert unescape(html).count(found.family.sentence) == 1
