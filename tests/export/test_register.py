"""``export --register``: a winner in MLflow's model registry."""

from __future__ import annotations

import shutil
from pathlib import Path
from urllib.parse import unquote, urlparse

import pytest
from mlflow.tracking import MlflowClient

from mlcompare.study import run_study
from mlcompare.study.doctor import rebuild_views
from mlcompare.tracking import artifacts_address, local_uri
from mlcompare.tracking.artifacts_home import bring_home
from tests.cli.test_cli import call
from tests.study.conftest import TINY


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("register") / "store"
    run_study({**TINY, "search": {"trials": 1}}, path, executor="in-process")
    return path


def files_of(source: str) -> set[str]:
    return {path.name for path in Path(unquote(urlparse(source).path)).iterdir()}


def test_a_winner_is_registered_once_for_each_export(store: Path, tmp_path: Path, capsys) -> None:
    for version, fold in (("1", "0"), ("2", "1")):
        options = ("--out", tmp_path / fold, "--far", "0.1", "--fold", fold, "--register", "digits")
        code, out, err = call(capsys, "export", store, "cosface", *options)
        assert code == 0, err
        assert f"registered digits version {version}" in out
    client = MlflowClient(tracking_uri=local_uri(store))
    versions = client.search_model_versions("name = 'digits'")
    assert {found.version for found in versions} == {1, 2} or {found.version for found in versions} == {"1", "2"}
    for found in versions:
        assert found.tags["loss"] == "cosface"
        assert files_of(found.source) == {path.name for path in (tmp_path / "0").iterdir()}
        assert client.get_run(found.run_id).data.tags["kind"] == "model"
    moved = tmp_path / "moved"
    shutil.copytree(store, moved)
    shutil.rmtree(store)
    bring_home(moved / "mlflow.db", artifacts_address(moved))
    found = MlflowClient(tracking_uri=local_uri(moved)).search_model_versions("name = 'digits'")[0]
    assert "card.json" in files_of(found.source), "a moved store finds its models"
    assert "registered models (digits)" in rebuild_views(moved), "nothing is lost in silence"


def test_a_name_that_mlflow_refuses_is_told_before_anything_is_written(tmp_path: Path, capsys) -> None:
    code, _, err = call(capsys, "export", tmp_path, "cosface", "--out", tmp_path / "out", "--register", "a/b")
    assert code == 2
    assert "a model's name has no slash" in err
    assert not (tmp_path / "out").exists()
