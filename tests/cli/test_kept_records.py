"""What is registered is kept between commands, and made anew where it may have changed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from mlcompare.cli import kept_records
from mlcompare.cli.kept_records import kept_records as kept
from mlcompare.kinds import KINDS, registry_of
from mlcompare.registry import LOSSES, REGISTRIES, WRAPPERS
from mlcompare.registry.registry import Record, Registry
from mlcompare.report.listings import record_rows
from tests.test_imports import loaded_by


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "mlcompare" / "registered"


@pytest.fixture
def tools():
    registry = Registry("tool", "tools", Record)
    registry.register(Record(name="saw", factory=int, provider="native", doc="Cuts.", options={"teeth": 8}))
    yield registry
    REGISTRIES.pop("tools")


@pytest.mark.parametrize("registry", [LOSSES, WRAPPERS], ids=["losses", "wrappers"])
def test_what_is_kept_reads_like_what_is_registered(registry) -> None:
    for _ in range(2):  # made, then read
        for mine, true in zip(kept(registry), registry.records(), strict=True):
            shown, known = vars(mine) | {"factory": None}, vars(true) | {"factory": None}
            assert {k: dict(v) if hasattr(v, "keys") else v for k, v in shown.items()} == {
                k: dict(v) if hasattr(v, "keys") else v for k, v in known.items()
            }
            assert (mine.summary, mine.year, mine.venue) == (true.summary, true.year, true.venue)
            sources = [getattr(setting, "reference", "") for setting in mine.published]
            assert sources == [getattr(setting, "reference", "") for setting in true.published]


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_is_listed_alike_twice(kind: str) -> None:
    """Some records can't be pickled: they are listed nevertheless."""
    registry = registry_of(kind)
    shown = [record_rows(kept(registry)) for _ in range(2)]
    assert shown[0] == shown[1] == record_rows(registry.records())
    assert shown[0] or kind == "trainers"  # those are all users' own


def test_what_a_plugin_registers_is_never_kept(tools, cache: Path) -> None:
    assert [record.name for record in kept(tools)] == ["saw"]
    assert len(list(cache.glob("tools-*"))) == 1
    tools.register(Record(name="mine", factory=int, provider="plugin"))
    assert [record.name for record in kept(tools)] == ["mine", "saw"]


def test_an_installed_plugin_is_asked_each_time(tools, cache: Path, monkeypatch) -> None:
    kept(tools)
    tools.register(Record(name="plane", factory=int, provider="native"))
    assert [record.name for record in kept(tools)] == ["saw"]
    monkeypatch.setattr(kept_records.importlib.metadata, "entry_points", lambda *, group: [group])
    assert [record.name for record in kept(tools)] == ["plane", "saw"]


def test_a_changed_source_file_makes_it_anew(tools, cache: Path, monkeypatch) -> None:
    kept(tools)
    tools.register(Record(name="plane", factory=int, provider="native"))
    monkeypatch.setattr(kept_records, "_sources", lambda: "later")
    assert [record.name for record in kept(tools)] == ["plane", "saw"]
    assert [path.name for path in cache.glob("tools-*")] == ["tools-later.pickle"]


@pytest.mark.parametrize("content", [b"", b"torn", b"\x80\x05K\x01."])
def test_what_cannot_be_read_is_made_anew(tools, cache: Path, content: bytes) -> None:
    kept(tools)
    (path,) = cache.glob("tools-*")
    path.write_bytes(content)
    assert [record.name for record in kept(tools)] == ["saw"]
    assert path.read_bytes() != content


def test_a_cache_that_cannot_be_written_is_done_without(tools, monkeypatch, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert [record.name for record in kept(tools)] == ["saw"]


def test_a_second_listing_loads_no_torch(tmp_path: Path) -> None:
    listing = "from mlcompare.cli import main\ntry: main(['losses'])\nexcept SystemExit: pass"
    code = f"{listing}\nimport sys; print('torch' in sys.modules)"
    environment = {**os.environ, "XDG_CACHE_HOME": str(tmp_path)}
    shown = [subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
             for _ in range(2)]  # fmt: skip
    lists, loaded = zip(*(done.stdout.strip().rsplit("\n", 1) for done in shown))
    assert loaded == ("True", "False")
    assert lists[0] == lists[1]


def test_a_ranking_loads_no_torch() -> None:
    modules = "mlcompare.study.interim, mlcompare.comparison, mlcompare.report.tables, mlcompare.report.dimensions"
    assert not {"torch", "optuna", "mlflow", "pydantic"} & loaded_by(f"import {modules}")
