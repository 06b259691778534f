"""The command line as a person meets it: one small study from launch to doctor, and every kind of mistake."""

from __future__ import annotations

import json
import re
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml
from mlflow.tracking import MlflowClient

from mlcompare.cli import main
from mlcompare.errors import StudyFileError
from mlcompare.execution import devices
from mlcompare.study import estimate
from mlcompare.tracking import database_uri
from mlcompare.training import BASELINES
from tests.study.conftest import TINY

FIELDS = {
    "loss", "family", "metric", "mean", "ci_low", "ci_high", "default_mean", "difference_to_best", "p_value",
    "indistinguishable_from_best", "hyperparameters", "at_bound", "trials", "seconds",
}  # fmt: skip


def call(capsys, *arguments: object) -> tuple[int, str, str]:
    """Run a command in this process; return exit code, output and errors."""
    with pytest.raises(SystemExit) as caught:
        main([str(argument) for argument in arguments])
    out, err = capsys.readouterr()
    return caught.value.code or 0, out, err


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A study file and the store that ``mlcompare run`` made of it, in processes of its own."""
    folder = tmp_path_factory.mktemp("cli")
    study = {key: value for key, value in TINY.items() if key != "baselines"}  # all that suit
    (folder / "tiny.yaml").write_text(yaml.safe_dump(study, sort_keys=False), encoding="utf-8")
    done = run_study_command(folder)
    assert done.returncode == 0, done.stderr
    (folder / "first.txt").write_text(done.stdout, encoding="utf-8")
    return folder


def run_study_command(folder: Path, *more: str) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "mlcompare.cli", "run", "tiny.yaml", *more]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300)


def test_run_ends_with_the_ranking_and_where_to_go_next(folder: Path) -> None:
    text = (folder / "first.txt").read_text()
    for word in ("contrastive", "cosface", "raw_pixels", "95 % interval", "untuned", "mlcompare dashboard runs/tiny"):
        assert word in text
    assert "mlcompare report runs/tiny" in text


def test_the_same_command_resumes_and_says_so(folder: Path) -> None:
    before = (folder / "runs/tiny/journal.jsonl").read_bytes()
    again = run_study_command(folder)
    assert again.returncode == 0
    assert "nothing left to do" in again.stdout
    assert (folder / "runs/tiny/journal.jsonl").read_bytes() == before


def test_another_budget_is_refused_with_the_difference(folder: Path) -> None:
    refused = run_study_command(folder, "--steps", "9")
    assert refused.returncode == 2
    assert "study.training.steps: 4 → 9" in refused.stderr
    assert refused.stderr.count("\n") == 1


def test_results_as_json(folder: Path, capsys) -> None:
    code, out, _ = call(capsys, "results", folder / "runs/tiny", "--format", "json")
    records = json.loads(out)
    assert code == 0
    assert all(set(record) >= FIELDS for record in records)
    assert {record["family"] for record in records} == {"metric", "margin", "baseline"}
    by_loss = {record["loss"]: record for record in records}
    assert set(by_loss) == {"contrastive", "cosface", *BASELINES}
    assert by_loss["cosface"]["hyperparameters"]["scale"] == 16.0
    assert by_loss["pca"]["hyperparameters"] is None
    assert by_loss["cosface"]["trials"] == 3
    for record in records:
        assert record["ci_low"] <= record["mean"] <= record["ci_high"]


def test_results_as_csv_and_table(folder: Path, capsys) -> None:
    _, out, _ = call(capsys, "results", folder / "runs/tiny", "--format", "csv")
    assert out.splitlines()[0].startswith("loss,family,metric,mean,ci_low,ci_high")
    assert len(out.splitlines()) == 1 + 2 + len(BASELINES)
    _, out, _ = call(capsys, "results", folder / "runs/tiny")
    assert max(map(len, out.splitlines()[:12])) <= 80, "it fits a narrow terminal"


def test_mlflow_shows_every_trial_as_one_flat_run(folder: Path) -> None:
    copy = folder / f"copy{time.monotonic_ns()}.db"  # MLflow caches its engines by address
    shutil.copy(folder / "runs/tiny/mlflow.db", copy)
    client = MlflowClient(tracking_uri=database_uri(copy))
    experiment = client.get_experiment_by_name("tiny")
    runs = client.search_runs([experiment.experiment_id], max_results=1000)
    kinds = [run.data.tags["kind"] for run in runs]
    assert kinds.count("trial") == 6
    assert kinds.count("final") >= 4
    assert kinds.count("baseline") == 3 + 3 * 2, "three descriptors once, three baselines on two folds"
    assert {run.info.status for run in runs} == {"FINISHED"}
    assert not any("mlflow.parentRunId" in run.data.tags for run in runs)
    trial = next(run for run in runs if run.data.tags["trial_key"] == "trial/cosface/0")
    assert trial.data.params["m_cos"] == "0.35"
    assert {"map_at_r", "map_at_r_std", "train_loss", "seconds"} <= set(trial.data.metrics)
    assert float(trial.data.params["log10_lr"]) == pytest.approx(-3)
    assert trial.data.tags.items() >= {"loss": "cosface", "family": "margin", "source": "default"}.items()


def test_doctor_finds_and_rebuilds(folder: Path, capsys) -> None:
    store = folder / "runs/tiny"
    code, out, _ = call(capsys, "doctor", store)
    assert code == 0
    assert "fault" not in out
    (store / "mlflow.db").write_bytes(b"not a database")
    (store / "results.parquet").unlink()
    before = (store / "per_class.parquet").read_bytes()
    code, out, _ = call(capsys, "doctor", store)
    assert code == 1
    assert "fault: mlflow.db" in out
    assert "missing: results.parquet" in out
    code, out, _ = call(capsys, "doctor", store, "--rebuild")
    assert code == 0
    assert "rebuilt" in out
    assert (store / "per_class.parquet").read_bytes() == before
    test_mlflow_shows_every_trial_as_one_flat_run(folder)
    assert call(capsys, "doctor", store)[0] == 0


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("losses: {cosface: }\nextra: 1", ["extra", "unknown key"]),
        ("losses: {cosfce: }", ["losses.cosfce", "did you mean cosface"]),
        ("losses: {cosface: {margin: {low: 0.9, high: 0.5}}}", ["losses.cosface.margin.low", "low=0.9, high=0.5"]),
        ("losses: {cosface: , cosface: }", ["a key stands once"]),
        ("losses: {cosface: }\nsearch: {trials: x}", ["search.trials", "'x'"]),
    ],
)
def test_a_wrong_study_is_one_line_and_writes_nothing(text: str, parts: list[str], tmp_path: Path, capsys) -> None:
    path = tmp_path / "wrong.yaml"
    path.write_text(f"name: wrong\ndataset: digits\n{text}", encoding="utf-8")
    code, out, err = call(capsys, "run", path, "--store", tmp_path / "store")
    assert code == 2
    assert out == ""
    assert err.count("\n") == 1
    assert all(part in err for part in [str(path), *parts]), err
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (["run", "none.yaml"], "must exist"),
        (["results", "none"], "no such directory"),
        (["doctor", "none"], "study.json"),
        (["dashboard", "none"], "mlflow.db"),
        (["losses", "cosfce"], "did you mean cosface"),
        (["cite", "cosfce"], "did you mean cosface"),
    ],
)
def test_other_mistakes_are_one_line(arguments: list[str], part: str, capsys) -> None:
    code, _, err = call(capsys, *arguments)
    assert code == 2
    assert part in err
    assert err.count("\n") == 1


def test_debug_shows_the_traceback() -> None:
    from mlcompare.errors import StudyFileError

    with pytest.raises(StudyFileError):
        main(["--debug", "run", "none.yaml"])


def test_check_prints_the_plan_and_writes_nothing(tmp_path: Path, capsys) -> None:
    path = tmp_path / "tiny.yaml"
    path.write_text(yaml.safe_dump(TINY), encoding="utf-8")
    code, out, _ = call(capsys, "check", path)
    assert code == 0
    for part in (
        "12 trainings in the search",
        "margin m [0, 0.65] cosine",
        "seconds of a training: contrastive",
        "MB a worker",
    ):
        assert part in out
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(("free", "told"), [(3, "give run --workers "), (0.9, "take a narrower encoder"), (1e6, None)])
def test_check_says_where_memory_does_not_suffice(tmp_path: Path, capsys, monkeypatch, free, told) -> None:
    """``free`` is how many trainings' memory is there, where as many as four run at a time."""
    path = tmp_path / "tiny.yaml"
    path.write_text(yaml.safe_dump(TINY), encoding="utf-8")
    monkeypatch.setattr(estimate, "_workers", lambda plan: 4)
    each = int(re.search(r"about (\d+) MB a worker", call(capsys, "check", path)[1])[1]) << 20
    monkeypatch.setattr(devices, "available_memory", lambda: int(each * free))
    out = call(capsys, "check", path)[1]
    assert (told in out) if told else ("note: 4 workers" not in out)


def test_memory_is_told_or_not_known(monkeypatch) -> None:
    known = devices.available_memory()
    assert known is None or known > 1 << 20
    monkeypatch.setattr(devices.Path, "read_text", lambda *args, **options: "MemTotal: 3 kB\n")
    assert devices.available_memory() is None


def test_check_says_what_a_training_has_beside_the_usual_and_what_does_nothing(tmp_path: Path, capsys) -> None:
    path = tmp_path / "tiny.yaml"
    training = {**TINY["training"], "class_sample": 0.1, "ema": 0.9, "clip_norm": 1.0}
    encoder = {"name": "conv", "embedding_dim": 8, "channels": [4], "freeze": ["0.*", "1.*"], "batch_norm": "eval"}
    path.write_text(yaml.safe_dump({**TINY, "training": training, "encoder": encoder}), encoding="utf-8")
    code, out, _ = call(capsys, "check", path)
    assert code == 0
    assert "also: class_sample 0.1, clip_norm 1.0, ema 0.9\n" in out
    assert "564 weights, 520 of which learn" in out
    assert "batch norm: eval" in out
    assert "`class_sample: 0.1` of 3 training classes is fewer than the 3 of a batch: such a step" in out
    assert "`class_sample` changes nothing for losses without class weights: contrastive\n" in out
    assert "`freeze` matches all" not in out
    path.write_text(yaml.safe_dump({**TINY, "encoder": {**encoder, "freeze": ["*"]}, "losses": {"cosface": None}}))
    assert "`freeze` matches all weights: the encoder learns nothing" in call(capsys, "check", path)[1]
    path.write_text(yaml.safe_dump(TINY), encoding="utf-8")
    assert "also:" not in call(capsys, "check", path)[1]


def test_a_share_of_classes_is_held_against_the_most_that_a_trial_may_ask_for(tmp_path: Path, capsys) -> None:
    path, note = tmp_path / "tiny.yaml", "fewer than the 3 of a batch (of the one with the most classes"
    training = {**TINY["training"], "classes_per_batch": 2, "samples_per_class": 6, "class_sample": 0.8}
    losses = {"cosface": {"samples_per_class": [4, 6]}}
    path.write_text(yaml.safe_dump({**TINY, "training": training, "losses": losses}), encoding="utf-8")
    assert note in call(capsys, "check", path)[1]
    losses = {"cosface": {"samples_per_class": 6}}
    path.write_text(yaml.safe_dump({**TINY, "training": training, "losses": losses}), encoding="utf-8")
    assert "fewer than" not in call(capsys, "check", path)[1]


def test_wrappers_have_pages(capsys) -> None:
    _, out, _ = call(capsys, "losses", "matryoshka")
    assert "nested prefixes" in out
    assert call(capsys, "show", "wrappers", "matryoshka")[1] == out
    assert call(capsys, "cite", "matryoshka")[1].startswith("@inproceedings{kusupati2022matryoshka")


def test_listings(capsys) -> None:
    from mlcompare import list_losses
    from mlcompare.registry import WRAPPERS

    _, out, _ = call(capsys, "losses", "--format", "json")
    known = [*list_losses(), *WRAPPERS.records()]
    assert [record["name"] for record in json.loads(out)] == [spec.name for spec in known]
    told = {record["name"]: record for record in json.loads(out)}
    assert (told["smooth_ap"]["idea"], told["smooth_ap"]["year"], told["smooth_ap"]["venue"]) == ("lists", 2020, "ECCV")
    assert sum(record["first_comparison"] for record in told.values()) == 10
    _, out, _ = call(capsys, "losses", "cosface")
    for part in ("margin", "cosine", "0.35", "0 – 0.6", "Wang"):
        assert part in out
    _, out, _ = call(capsys, "losses", "--family", "metric", "--format", "csv")
    assert {line.split(",")[1] for line in out.splitlines()[1:] if line} == {"metric"}
    _, out, _ = call(capsys, "cite", "cosface")
    assert out.startswith("@")
    _, out, _ = call(capsys, "datasets")
    assert "orl_faces" in out
    _, out, _ = call(capsys, "datasets", "--format", "json")
    readers = {record["name"]: record for record in json.loads(out)}
    assert readers["image_folder"]["needed"] == ["path"], "an option whose default is none is not needed"
    assert {"max_pixels", "skip_corrupt"} <= readers["image_folder"]["options"].keys()
    assert readers["features"]["options"]["ignore"] == []


def test_an_unfinished_study_is_named_everywhere(folder: Path, tmp_path: Path, capsys) -> None:
    whole, store = folder / "runs/tiny", tmp_path / "cut"
    store.mkdir()
    shutil.copy(whole / "study.json", store)
    lines = (whole / "journal.jsonl").read_text().splitlines(keepends=True)
    (store / "journal.jsonl").write_text("".join(line for line in lines if '"final/cosface/' not in line))
    _, out, _ = call(capsys, "doctor", store, "--rebuild")
    assert "unfinished: cosface has 0 of " in out
    _, out, _ = call(capsys, "results", store)
    assert "the study is unfinished" in out


def test_a_port_in_use_is_refused(folder: Path, capsys) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        code, out, error = call(capsys, "dashboard", folder / "runs/tiny", "--port", port)
    assert code == 2
    assert "the address must be free" in error
    assert out == "", "nothing says that it is served"


def test_failed_trainings_are_counted_with_where_to_look(tmp_path: Path, capsys) -> None:
    study = {**TINY, "losses": {"cosface": {"lr": 1e30}, "softmax": None}}
    study["training"] = {**TINY["training"], "optimizer": "sgd"}
    (tmp_path / "study.yaml").write_text(yaml.safe_dump(study))
    code, out, _ = call(
        capsys, "run", tmp_path / "study.yaml", "--store", tmp_path / "a store", "--executor", "in-process"
    )
    assert code == 0
    assert "trainings failed: `mlcompare doctor" in out
    assert "--retry-failed" in out
    assert f"'{tmp_path / 'a store'}'" in out, "quoted"


def test_every_command_is_in_the_readme() -> None:
    from mlcompare.cli import app

    readme = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
    names = [command.name or command.callback.__name__ for command in app.registered_commands]
    assert [name for name in names if f"mlcompare {name}" not in readme] == []


def test_check_plans_for_the_device_that_run_takes(folder: Path, capsys, monkeypatch) -> None:
    def planned(_study: object, *, place: str, device: str) -> None:
        raise StudyFileError(f"planned for {device}", place=place)

    monkeypatch.setattr("mlcompare.execution.devices.resolve_devices", lambda devices, device: ("cuda:0",))
    monkeypatch.setattr("mlcompare.study.plan.make_plan", planned)
    code, _, err = call(capsys, "check", folder / "tiny.yaml")
    assert (code, "planned for cuda:0" in err) == (2, True)
