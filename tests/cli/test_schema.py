"""``mlcompare schema`` as a person calls it."""

from __future__ import annotations

import csv
import io
import json
import subprocess
import sys
from pathlib import Path

from jsonschema import Draft202012Validator

from mlcompare.study import StudyConfig
from mlcompare.training import TrainingConfig
from tests.cli.test_cli import call
from tests.study.conftest import TINY

PLUGIN = """
from mlcompare import register_dataset, register_encoder
from mlcompare.registry import register_loss, Hyperparameter
from mlcompare.losses.pair import PairLoss

@register_loss("mine", family="metric", reference="none")
class Mine(PairLoss):
    margin: float = Hyperparameter(0.5, low=0.0, high=1.0, symbol="m", unit="cosine")

@register_dataset("ours")
def ours(path: str, size: int = 8):
    "Ours."
"""


def test_the_schema_is_json_and_the_list_is_a_table_or_csv(capsys) -> None:
    code, out, err = call(capsys, "schema")
    assert (code, err) == (0, "")
    assert Draft202012Validator(json.loads(out)).is_valid(TINY)
    code, out, _ = call(capsys, "schema", "--format", "table")
    assert code == 0
    assert "protocol.folds" in out
    rows = list(csv.DictReader(io.StringIO(call(capsys, "schema", "-f", "csv")[1])))
    folds = next(row for row in rows if row["key"] == "protocol.folds")
    assert (folds["default"], folds["takes"]) == ("4", "a whole number ≥ 2 and ≤ 100")
    assert folds["description"].startswith("ways to part")


def test_keys_are_listed_with_type_default_unit_and_a_line(capsys) -> None:
    code, out, err = call(capsys, "keys", "-f", "json")
    assert (code, err) == (0, "")
    records = {record["key"]: record for record in json.loads(out)}
    fields = {f"training.{name}" for name in TrainingConfig.model_fields} | set(StudyConfig.model_fields)
    assert fields <= set(records)
    assert all(record["description"] and record["takes"] for record in records.values())
    assert records["training.checkpoint_minutes"]["unit"] == "minutes"
    assert records["search.trials"] | {"description": ""} == {
        "key": "search.trials", "takes": "a whole number ≥ 1 and ≤ 100000", "default": 20, "unit": "settings",
        "description": "",
    }  # fmt: skip


def test_keys_of_a_section_alone(capsys) -> None:
    _, out, _ = call(capsys, "keys", "search", "-f", "csv")
    names = [row["key"] for row in csv.DictReader(io.StringIO(out))]
    assert names[0] == "search"
    assert all(name == "search" or name.startswith("search.") for name in names)
    assert "search.trials" in names
    assert "search.trials" in call(capsys, "keys", "search.trials")[1]
    code, _, err = call(capsys, "keys", "serch")
    assert code == 2
    assert "did you mean search" in err


def test_a_plug_in_is_in_it(tmp_path: Path) -> None:
    (tmp_path / "my_models.py").write_text(PLUGIN, encoding="utf-8")
    command = [sys.executable, "-m", "mlcompare.cli", "schema", "--plugin", str(tmp_path / "my_models.py")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    validator = Draft202012Validator(json.loads(done.stdout))
    for dataset, entry, valid in [
        ({"name": "ours", "path": "x"}, {"m": 0.2}, True),
        ({"name": "ours"}, None, False),
        ({"name": "ours", "path": "x", "sise": 3}, None, False),
        ("digits", {"margin": "wide"}, False),
        ("digits", {"scale": 2}, False),
    ]:
        assert validator.is_valid({**TINY, "dataset": dataset, "losses": {"mine": entry}}) is valid, (dataset, entry)


def test_completion_can_be_installed(capsys) -> None:
    assert "--install-completion" in call(capsys, "--help")[1]
