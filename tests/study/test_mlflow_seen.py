"""What those see who only look at MLflow: names with units, columns, steps, origins and the page's description."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from mlflow.tracking import MlflowClient
from rich.console import Console

from mlcompare.cli.ranking import leave_report
from mlcompare.registry import list_losses
from mlcompare.study import run_study
from mlcompare.study.config import with_defaults
from mlcompare.tracking import Run, Tracker, local_uri
from mlcompare.tracking.dashboard import shared_views, where_to_browse
from mlcompare.tracking.description import describe
from mlcompare.tracking.parameters import parameter_names
from tests.study.conftest import TINY

LOSSES = {"triplet": None, "cosface": None, "arcface": None}
QUESTION = "Does {run_id} matter, or {x}?"
NOTE = "mlflow.note.content"


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> Path:
    """A finished store whose report was logged."""
    path = tmp_path_factory.mktemp("seen") / "store"
    search = {"trials": 2, "parallel": 2}
    run_study({**TINY, "losses": LOSSES, "question": "Which?", "search": search}, path, executor="in-process")
    leave_report(path, None, Console(quiet=True))
    return path


@pytest.fixture(scope="module")
def client(store: Path) -> MlflowClient:
    return MlflowClient(tracking_uri=local_uri(store))


@pytest.fixture(scope="module")
def runs(client: MlflowClient) -> dict:
    return {run.data.tags["trial_key"]: run for run in client.search_runs(["1"], max_results=1000)}


def test_units_share_no_column(runs: dict) -> None:
    shown = {loss: set(runs[f"trial/{loss}/0"].data.params) for loss in LOSSES}
    assert {loss: sorted(name for name in shown[loss] if name.startswith("m_")) for loss in LOSSES} == {
        "triplet": ["m_dist"], "cosface": ["m_cos"], "arcface": ["m_rad"],
    }  # fmt: skip
    assert {"s", "log10_s", "lr"} <= shown["arcface"]
    assert not {"margin", "scale"} & set().union(*shown.values())


@pytest.mark.parametrize("spec", list_losses(), ids=lambda spec: spec.name)
def test_every_number_of_a_loss_has_a_name_of_its_own(spec) -> None:
    names = parameter_names(spec.hyperparameters)
    assert len(set(names.values())) == len(names)
    assert all(name.isascii() for name in names.values())


def test_steps_are_those_of_trainings(client: MlflowClient, runs: dict) -> None:
    """A fold is no step: its value stands in a tag; learning curves have steps."""
    trial = runs["trial/cosface/0"]
    history = {name: client.get_metric_history(trial.info.run_id, name) for name in trial.data.metrics}
    stepped = {name for name, points in history.items() if {point.step for point in points} != {0}}
    assert stepped == {"train_loss", "validation_map_at_r"}
    folds = [float(value) for value in trial.data.tags["by_fold"].split()]
    assert sum(folds) / len(folds) == pytest.approx(trial.data.metrics["map_at_r"], abs=1e-4)


def test_runs_say_where_they_come_from(store: Path, runs: dict) -> None:
    for run in runs.values():
        tags = run.data.tags
        assert tags["store"] == str(store.resolve())
        assert tags["author"] == tags["mlflow.user"]
        assert tags["machine"]
        assert len(tags["study_fingerprint"]) == 16


def test_the_page_answers_the_question_and_its_links_lead_on(client: MlflowClient, runs: dict) -> None:
    tags = client.get_experiment("1").tags
    comparison = next(run for key, run in runs.items() if key.startswith("comparison/"))
    first, links, *_ = tags[NOTE].split("\n\n")
    assert first == f"**Which?** {comparison.data.tags['answer']}"
    for view in ("trials", "finals", "charts"):
        assert f"(#/experiments/1/runs?viewStateShareKey={view}&" in links
        assert f"mlflow.sharedViewState.{view}" in tags
    assert f"/runs/{comparison.info.run_id}/artifacts/report.html?" in links
    assert links.count("workflowType=machine_learning") == 4
    assert "report.html" in {file.path for file in client.list_artifacts(comparison.info.run_id)}


def test_a_description_that_a_person_edited_stays(tmp_path: Path) -> None:
    study = with_defaults({**TINY, "question": QUESTION, "dataset": {"name": "digits"}})
    comparison = Run("comparison/1", "comparison", {}, {}, (), page=describe(study, "Yes."))
    uri, notes = local_uri(tmp_path), []

    def log(*runs: Run) -> MlflowClient:
        tracker = Tracker(uri, "study", description=describe(study), artifacts=tmp_path / "artifacts")
        for run in (Run("a", "a", {}, {}, ()), *runs):
            tracker.log(run)
        assert tracker.close() is None
        notes.append(MlflowClient(tracking_uri=uri).get_experiment("1").tags[NOTE])
        return MlflowClient(tracking_uri=uri)

    log()
    log(comparison)
    client = log()
    client.set_experiment_tag("1", NOTE, "mine")
    log(comparison)
    assert "Not finished yet." in notes[0]
    assert notes[1].startswith(f"**{QUESTION}** Yes.")
    assert notes[2] == notes[1]
    assert notes[3] == "mine"


def test_first_columns_are_loss_family_score_and_the_fields_symbols() -> None:
    spaces = {"arcface": {"margin": {"low": 0, "high": 1}, "scale": 64.0, "lr": {"low": 0, "high": 1}}, "tri": {}}
    names = {"arcface": {"margin": "m_rad", "scale": "s"}}
    views = shared_views("map_at_r", spaces, names)
    state = json.loads(views["mlflow.sharedViewState.trials"])
    assert state["selectedColumns"][:7] == [
        "tags.`loss`", "tags.`family`", "metrics.`map_at_r`", "metrics.`seconds`", "params.`m_rad`", "params.`s`",
        "params.`lr`",
    ]  # fmt: skip
    assert json.loads(views["mlflow.sharedViewState.charts"])["groupBy"]["groupByKeys"][0]["groupByData"] == "loss"


def test_1300_pixels_hold_every_leading_column() -> None:
    """MLflow draws 1046 pixels of table in a window of 1300, 73 of them for boxes to tick."""
    of = {"triplet": "m_dist", "cosface": "m_cos", "arcface": "m_rad"}
    spaces = {loss: dict.fromkeys(("margin", "scale", "weight", "alpha", "lr", "beta"), 0.1) for loss in of}
    symbols = {"scale": "s", "weight": "lambda"}
    views = shared_views("map_at_r", spaces, {loss: {**symbols, "margin": margin} for loss, margin in of.items()})
    for name in ("trials", "finals"):
        state = json.loads(views[f"mlflow.sharedViewState.{name}"])
        assert state["columnOrder"][:2] == ["attributes.`Run Name`", "runDateAndNestInfo"], "as MLflow calls them"
        held = state["columnOrder"][: state["columnOrder"].index("params.`lr`") + 1]
        assert len(held) == 2 + 2 + 2 + 3 + 3 + 1, "name, status, loss, family, score, seconds, margins, s, λ, α, lr"
        assert 73 + sum(state["columnWidths"][column] for column in held) <= 1046


def test_a_servers_link_shows_the_runs_of_this_study_alone(tmp_path: Path) -> None:
    """Two stores of one name log to one experiment of a server."""
    fingerprint = "0123456789abcdef"
    (name, state), *_ = shared_views("map_at_r", {}, {}, fingerprint).items()
    assert f"tags.study_fingerprint = '{fingerprint}'" in json.loads(state)["searchFilter"]
    link = where_to_browse(tmp_path, "http://host:1", "7", fingerprint)
    assert link == (
        f"http://host:1/#/experiments/7/runs?viewStateShareKey={name.removeprefix('mlflow.sharedViewState.')}"
        "&workflowType=machine_learning"
    )


def test_new_words_reach_the_page_and_the_report(tiny: dict, tmp_path: Path) -> None:
    for question in ("Which one?", "Who is it?"):
        run_study({**tiny, "question": question, "search": {"trials": 1}}, tmp_path, executor="in-process")
        report = leave_report(tmp_path, None, Console(quiet=True))
    note = MlflowClient(tracking_uri=local_uri(tmp_path)).get_experiment("1").tags[NOTE]
    assert note.startswith("**Who is it?** ")
    assert "Who is it?" in report.read_text(encoding="utf-8")
