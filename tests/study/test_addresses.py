"""A store's name is its own affair: what means something in addresses, or ends as a file does, is a folder like any."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mlflow.tracking import MlflowClient

from mlcompare.cli import main
from mlcompare.study import run_study
from mlcompare.tracking import database_uri, local_uri
from mlcompare.tracking.database import local_path

NAMES = ["study.db", "a%20b", "a?b", "a#b", "a b", "größe", "it's", "a&b=c", "x.sqlite", "+x"]


@pytest.mark.parametrize("name", NAMES)
def test_a_store_of_any_name_has_its_views(tiny: dict, tmp_path: Path, name: str) -> None:
    tiny |= {"losses": {"contrastive": None}, "baselines": [], "search": {**tiny["search"], "trials": 1}}
    store = tmp_path / name
    outcome = run_study(tiny, store, executor="in-process")
    assert outcome.tracking_fault is None
    assert {"mlflow.db", "optuna.db", "results.parquet"} <= {path.name for path in store.iterdir()}
    client = MlflowClient(tracking_uri=local_uri(store))
    (experiment,) = [e for e in client.search_experiments() if e.name == "tiny"]
    finals = client.search_runs([experiment.experiment_id], filter_string="tags.kind = 'final'")
    assert finals
    for words in (["doctor", str(store)], ["doctor", str(store), "--rebuild"], ["results", str(store)]):
        with pytest.raises(SystemExit) as ended:
            main(words)
        assert not ended.value.code


@given(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1).filter(str.strip))
def test_an_address_names_its_file(name: str) -> None:
    path = Path("/runs") / name.replace("/", "_") / "mlflow.db"
    if ".." not in path.parts:
        assert local_path(database_uri(path)) == path.resolve()


def test_what_is_no_file_has_no_path() -> None:
    for uri in ("http://127.0.0.1:5000", "postgresql://localhost/db", "mlruns", "sqlite://", "sqlite:///:memory:"):
        assert local_path(uri) is None
