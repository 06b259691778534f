"""Too little memory is said before anything is trained, with what would fit."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from mlcompare.cli import main
from mlcompare.execution import devices
from mlcompare.study import estimate
from mlcompare.study.memory import free_memory, least_memory, too_little_memory
from mlcompare.study.plan import make_plan
from mlcompare.training import memory_need


@pytest.fixture
def only_trainings(monkeypatch) -> None:
    """Let a process take nothing, so that a small training's own memory shows."""
    monkeypatch.setattr(memory_need, "PROCESS", 0)


def free(monkeypatch, number: int | None) -> None:
    monkeypatch.setattr(devices, "available_memory", lambda: number)


def wide(tiny: dict, **training) -> dict:
    tiny["encoder"] = {"name": "conv", "embedding_dim": 8}
    tiny["training"] |= {"classes_per_batch": 3, "samples_per_class": 32} | training
    return tiny


@pytest.mark.usefixtures("only_trainings")
def test_what_would_fit_does(tiny: dict, monkeypatch) -> None:
    plan = make_plan(wide(tiny))
    need = least_memory(plan)
    assert need is not None
    each = need.of(96)
    free(monkeypatch, 4 * each)
    assert too_little_memory(plan, 4) == ""
    assert too_little_memory(plan, 5).endswith("give run --workers 4")
    free(monkeypatch, each - 1)
    told = too_little_memory(plan, 1)
    assert told.startswith("note: a training needs at least ")
    assert told.endswith("training.microbatch: 64 would fit")
    assert too_little_memory(make_plan(wide(tiny, microbatch=64)), 1) == ""
    free(monkeypatch, need.weights)
    assert too_little_memory(plan, 1).endswith("take a narrower encoder or smaller samples")
    free(monkeypatch, None)
    assert too_little_memory(plan, 1000) == ""


@pytest.mark.usefixtures("only_trainings")
def test_each_rank_embeds_its_share_and_holds_all_weights(tiny: dict, monkeypatch) -> None:
    plan = make_plan(wide(tiny, ranks=2))
    need = least_memory(plan)
    free(monkeypatch, 2 * need.of(48))
    assert too_little_memory(plan, 1) == ""
    free(monkeypatch, 2 * need.of(48) - 1)
    assert too_little_memory(plan, 1).endswith("training.microbatch: 32 would fit")


def test_class_weights_count_and_pairs_have_none(tiny: dict) -> None:
    both, pairs = make_plan(tiny), make_plan(tiny | {"losses": {"contrastive": None}})
    classes, dims, copies = 3, 8, 3  # half of the six that are not sealed; the weights, and AdamW's two of each
    assert least_memory(both).weights - least_memory(pairs).weights == 4 * copies * classes * dims


def test_class_weights_count_as_they_are_held(tiny: dict) -> None:
    tiny["losses"] = {"cosface": {"scale": 16}}
    pairs, whole = make_plan(tiny | {"losses": {"contrastive": None}}), make_plan(tiny)
    tiny["training"] |= {"class_sample": 0.4}
    some = make_plan(tiny)
    tiny["training"] |= {"class_sample": 1.0, "ranks": 3, "class_weights": "sharded"}
    apart, of_classes = make_plan(tiny), 4 * 3 * 8
    own = {name: least_memory(plan).weights - least_memory(pairs).weights
           for name, plan in (("whole", whole), ("some", some), ("apart", apart))}  # fmt: skip
    assert own == {"whole": 3 * of_classes, "some": of_classes, "apart": of_classes}
    assert least_memory(some).gradients == least_memory(pairs).gradients


def test_a_gpus_memory_is_not_asked_for(tiny: dict, monkeypatch) -> None:
    free(monkeypatch, 1)
    assert free_memory(make_plan(tiny, device="cuda")) is None


def said(capsys, *arguments: str | Path) -> str:
    with pytest.raises(SystemExit) as ended:
        main([str(argument) for argument in arguments])
    assert not ended.value.code
    return capsys.readouterr().out


def test_run_says_so_first_and_check_does_not_train(tiny: dict, tmp_path: Path, monkeypatch, capsys) -> None:
    tiny |= {"losses": {"contrastive": None}, "search": {"trials": 1}, "baselines": []}
    path = tmp_path / "tiny.yaml"
    path.write_text(yaml.safe_dump(tiny), encoding="utf-8")
    free(monkeypatch, 100 << 20)
    out = said(capsys, "run", path, "--store", tmp_path / "store", "--executor", "in-process")
    note = "note: a training needs at least 250 MB, and 100 MB are free: take a narrower encoder or smaller samples"
    assert out.index("at most") < out.index(note) < out.index("1 worker")
    monkeypatch.setattr(estimate, "measure", lambda plan, name: pytest.fail("trained"))
    assert f"{note}; it isn't timed" in said(capsys, "check", path)
