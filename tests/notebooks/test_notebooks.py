"""The notebooks run, what is committed of them is whole, and the figures in their text are those that were measured."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

nbformat = pytest.importorskip("nbformat")
pytest.importorskip("nbclient")
pytest.importorskip("ipykernel")
pytest.importorskip("matplotlib")

FOLDER = Path(__file__).parents[2] / "notebooks"
STUDIES = FOLDER.parent / "studies"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))
MOST_BYTES = 260_000  # of a notebook with its figures
BOLD = re.compile(r"\*\*([+−-]?\d[\d.]*(?: ?[%×])?)\*\*")  # a measured figure in the text

sys.path.insert(0, str(FOLDER))
import figures  # noqa: E402  # stands beside the notebooks, which import it from their own folder
import rebuild  # noqa: E402


@pytest.fixture(params=NOTEBOOKS, ids=lambda path: path.stem)
def path(request) -> Path:
    return request.param


def outputs(notebook) -> list[dict]:
    return [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]


def each_executed() -> list:
    """Every notebook; all but one are slow (a minute and more in all), and that one needs no data of its own."""
    return [
        pytest.param(path, id=path.stem, marks=() if path.stem.startswith("04") else pytest.mark.slow)
        for path in NOTEBOOKS
    ]


@pytest.mark.parametrize("path", each_executed())
def test_it_runs_with_the_small_budget(path: Path) -> None:
    if "mnist(" in path.read_text(encoding="utf-8") and figures.mnist_folder() is None:
        pytest.skip("MNIST is not here")
    notebook = rebuild.execute(path, "small")
    assert not [output.text for output in outputs(notebook) if output.get("name") == "stderr"]


def test_what_is_committed_is_whole(path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1)), "run in order, from the top"
    kinds = {output.output_type for output in outputs(notebook)}
    assert kinds <= {"display_data", "execute_result", "stream"}
    assert any("image/png" in output.get("data", {}) for output in outputs(notebook))
    assert not [output for output in outputs(notebook) if output.get("name") == "stderr"]
    assert path.stat().st_size < MOST_BYTES


def test_nothing_of_a_machine_is_in_it(path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)
    text = json.dumps([{k: v for k, v in o.get("data", {}).items() if k != "image/png"} for o in outputs(notebook)])
    text += json.dumps([output.get("text", "") for output in outputs(notebook)])
    text += json.dumps([cell.source for cell in notebook.cells])
    assert not re.findall(r"(?:^|[\s\"'(])/(?:home|root|tmp|work|usr|mnt|opt|var)/", text)


def test_it_opens_with_what_one_learns_and_ends_with_its_command(path: Path) -> None:
    cells = nbformat.read(path, as_version=4).cells
    assert cells[0].cell_type == cells[-1].cell_type == "markdown"
    assert cells[0].source.startswith("# ")
    assert f"python notebooks/rebuild.py {path.stem[:2]}" in cells[-1].source.splitlines()[-1]


def test_every_figure_quoted_in_the_text_is_checked_by_the_notebook(path: Path) -> None:
    cells = nbformat.read(path, as_version=4).cells
    quoted = {figure for cell in cells if cell.cell_type == "markdown" for figure in BOLD.findall(cell.source)}
    checks = "\n".join(cell.source for cell in cells if cell.cell_type == "code" and "holds(" in cell.source)
    assert not [figure for figure in quoted if f'"{figure}"' not in checks]


def test_figures_and_pictures_in_the_readme_come_from_the_notebooks() -> None:
    readme = (FOLDER.parent / "README.md").read_text(encoding="utf-8")
    cells = [cell for path in NOTEBOOKS for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]
    checks = "\n".join(cell.source for cell in cells if "holds(" in cell.source)
    assert not [figure for figure in BOLD.findall(readme) if f'"{figure}"' not in checks]
    pictures = re.findall(r"!\[[^\]]+\]\(notebooks/(pictures/[^)]+)\)", readme)
    assert len(pictures) == 2
    for picture in pictures:
        assert any(f'savefig("{picture}"' in cell.source for cell in cells), "a notebook draws it"
        assert (FOLDER / picture).stat().st_size < 100_000


def test_the_readmes_table_is_what_the_quickstart_printed() -> None:
    command = [sys.executable, "-m", "mlcompare.cli", "results", str(FOLDER / "results" / "faces-quickstart")]
    printed = subprocess.run(command, capture_output=True, text=True, check=True, env={**os.environ, "COLUMNS": "80"})
    readme = (FOLDER.parent / "README.md").read_text(encoding="utf-8")
    quoted = readme.partition("```text\nfaces-quickstart")[2].partition("```")[0]
    told = [line.strip() for line in ("faces-quickstart" + quoted).splitlines() if line.strip()]
    assert len(told) > 15
    lines = [line.strip() for line in printed.stdout.splitlines() if line.strip()]
    assert told == lines[: len(told)]


def test_the_readmes_glyphs_are_those_of_the_kept_tables() -> None:
    """What the README says of ArcFace and the hardest triplets with both numbers searched, and of its challenges."""
    from mlcompare import compare

    readme = " ".join((FOLDER.parent / "README.md").read_text(encoding="utf-8").split())
    text = readme.partition("Today's default search has both numbers in it")[2].partition("### What tuning is worth")[0]
    store = FOLDER / "results" / "glyphs200"
    found = compare(store)
    rows = {row["loss"]: row for row in found.records()}
    arcface, trihard = rows["arcface"], rows["trihard"]

    def short(value: float, digits: int = 3) -> str:
        return f"{value:.{digits}f}".removeprefix("0")

    assert f"ArcFace reaches **{short(arcface['mean'])}** and `trihard` **{short(trihard['mean'])}**" in text
    assert f"(untuned {short(arcface['default_mean'])} and {short(trihard['default_mean'])})" in text
    assert f"can't be told apart (p = {short(found.family.best.p_value, 2)}); both were still rising" in text
    assert arcface["still_rising"] and trihard["still_rising"]  # noqa: PT018
    kept = json.loads((store / "challenges.json").read_text(encoding="utf-8"))
    by_verdict = {v: [c for c in kept["challenges"] if c["verdict"] == v] for v in ("holds", "weaker", "falls")}
    numbers = {7: "seven", 11: "eleven"}
    assert f"under {numbers[sum(map(len, by_verdict.values()))]} other conditions" in text
    assert f"level in {numbers[len(by_verdict['holds'])]}" in text
    assert kept["leaders"] == ["arcface", "trihard"]
    ahead = {c["name"]: c for c in by_verdict["falls"]}
    assert ahead.keys() == {"steps-x4", "wider", "other-classes", "head-rate-third"}
    assert all(c["difference"] > 0 for c in ahead.values()), "ArcFace is ahead in each"
    means = ahead["steps-x4"]["means"]
    assert f"({short(means[0])} against {short(means[1])})" in text


DATA_OF = {
    "digits": "digits", "mnist": "MNIST", "fashion": "Fashion-MNIST", "fashion-disjoint": "Fashion-MNIST, new kinds",
    "faces": "ORL faces, 28", "pretrained-faces": "ORL faces", "persons": "text records of people",
    "glyphs": "1000 characters",
}  # fmt: skip


@pytest.mark.parametrize("steps", [75, 150, 300])
def test_no_family_leads_on_known_classes_that_are_all_there_are(steps: int) -> None:
    from mlcompare import compare, load_results
    from mlcompare.comparison import holm
    from mlcompare.comparison.stored import load_study

    readme = " ".join((FOLDER.parent / "README.md").read_text(encoding="utf-8").split())
    assert "taken as all that there are, by both rules no family leads on them either, at any length" in readme
    stores = {data: FOLDER / "results" / f"metric-or-margin-{data}-{steps}" for data in DATA_OF}
    kinds = {d: load_study(store)["study"]["protocol"]["kind"] for d, store in stores.items() if store.is_dir()}
    found = {d: compare(load_results(stores[d]) if kind == "closed_set" else stores[d]) for d, kind in kinds.items()}
    corrected = dict(zip(found, holm([comparison.family.p_value for comparison in found.values()])))
    known = [data for data, kind in kinds.items() if kind == "closed_set"]
    assert len(known) == 3
    for data in known:
        assert found[data].unit == "run"
        assert found[data].family.leader is None
        assert corrected[data] > 0.05


def test_the_readmes_table_of_data_sets_is_that_of_the_kept_tables() -> None:
    from mlcompare import compare
    from mlcompare.comparison import holm
    from mlcompare.comparison.pairwise import pair

    readme = (FOLDER.parent / "README.md").read_text(encoding="utf-8")
    lines = readme.partition("### Metric or margin losses")[2].partition("![")[0].splitlines()
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines if line.startswith("| ")][1:]
    assert len(rows) == len(DATA_OF)
    found, p_values, shown = {}, {}, set()
    for steps in (75, 150, 300):
        stores = {d: FOLDER / "results" / f"metric-or-margin-{d}-{steps}" for d in DATA_OF}
        there = {d: compare(store) for d, store in stores.items() if store.is_dir()}
        found |= {(d, steps): comparison for d, comparison in there.items()}
        corrected = holm([comparison.family.p_value for comparison in there.values()])
        p_values |= {(d, steps): p for d, p in zip(there, corrected)}
    for (data, name), row in zip(DATA_OF.items(), rows):
        assert row[0].startswith(name)
        comparison = found[data, 300]
        best = comparison.family.best
        ends = [f"{value:+.3f}" for value in (best.difference, best.ci_low, best.ci_high)]
        ends = ["0.000" if float(end) == 0 else end for end in ends]
        assert row[3] == f"{ends[0]} ({ends[1]} to {ends[2]})"
        assert row[4] == f"{p_values[data, 300]:.3f}"
        told = comparison.records()
        first = max((r for r in told if r["family"] != "baseline"), key=lambda r: r["mean"])
        assert row[5] == f"{first['mean']:.3f} {first['loss']}"
        assert row[6] == f"{next(r['mean'] for r in told if r['loss'] == 'raw_pixels'):.3f}"
    for (data, _), comparison in found.items():
        best = max((r for r in comparison.records() if r["family"] != "baseline"), key=lambda r: r["mean"])["loss"]
        if pair(comparison.pairwise, best, "raw_pixels")["ci_low"] > 0:
            shown.add(data)
    assert DATA_OF.keys() - shown == {"fashion-disjoint", "pretrained-faces", "persons"}
    assert "three data sets no loss is shown to be better than the features" in " ".join(readme.split())
    assert [row[0] for row in rows if float(row[5].split()[0]) < float(row[6])] == [rows[3][0], rows[5][0]]


def test_what_the_readme_says_of_each_person_sealed_once() -> None:
    from mlcompare import compare

    readme = " ".join((FOLDER.parent / "README.md").read_text(encoding="utf-8").split())
    text = readme.partition("Twenty test people separate little.")[2].partition("## What we found")[0]
    told, widths = {}, {}
    for name in ("faces-nested", "faces-quickstart"):
        found = compare(FOLDER / "results" / name)
        rows = {row["loss"]: row for row in found.records() if row["family"] != "baseline"}
        pairs = found.pairwise[found.pairwise["a"].isin(rows) & found.pairwise["b"].isin(rows)]
        assert len(pairs) == 45
        told[name] = pairs[pairs["p_holm"] <= 0.05]
        widths[name] = rows["trihard"]["ci_high"] - rows["trihard"]["ci_low"]
        assert found.family.leader is None
    nested, quick = (f"{widths[name]:.3f}".removeprefix("0") for name in ("faces-nested", "faces-quickstart"))
    assert f"is {nested} wide there and {quick} here" in text
    assert len(told["faces-quickstart"]) == 0
    behind = {(r.a, r.b) if r.difference < 0 else (r.b, r.a) for r in told["faces-nested"].itertuples()}
    assert behind == {
        ("arcface", "margin_based"), ("arcface", "trihard"), ("arcface", "triplet"), ("lifted_structure", "trihard"),
        ("lifted_structure", "triplet"),
    }  # fmt: skip
    assert "five of the 45 pairs" in text


def as_then(config, known: dict) -> dict:
    """A study as version 0.1 would have written it: what it now fixes of the head and the batch was fixed for all."""
    told = config.model_dump(mode="json")
    of_batch = told["search"]["space"].get("samples_per_class")
    if of_batch == told["training"]["samples_per_class"] and "samples_per_class" not in known["search"]["space"]:
        del told["search"]["space"]["samples_per_class"]
    head, same = known["training"].get("head_weight_decay"), told["training"]["weight_decay"]
    if head is None and told["training"]["head_weight_decay"] == same:
        told["training"]["head_weight_decay"] = None
    return told


def differing(config, known: dict) -> list[str]:
    """What a committed study asks otherwise than the stored one did; keys added later must stand at their default."""
    told = as_then(config, known)
    found = [key for key in ("losses", "question", "decision_rule", "dataset") if told[key] != known[key]]
    for section in ("corruption", "encoder", "training", "search", "protocol", "final"):
        fields = type(getattr(config, section)).model_fields
        added = (told[section].keys() - known[section]) & fields.keys()
        later = {key: json.loads(json.dumps(fields[key].get_default(call_default_factory=True))) for key in added}
        later |= dict.fromkeys(added & {"racing"}, False)  # there was none then
        if told[section] != {**known[section], **later}:
            found.append(section)
    return found


@pytest.mark.parametrize("folder", sorted((FOLDER / "results").glob("*")), ids=lambda folder: folder.name)
def test_stored_tables_belong_to_a_study_with_a_question(folder: Path) -> None:
    from mlcompare.study import read_study

    known = json.loads((folder / "study.json").read_text(encoding="utf-8"))["study"]
    name, steps = known["name"], known["training"]["steps"]
    files = [file for file in STUDIES.rglob("*.yaml") if read_study(file).name == name]
    assert len(files) == 1
    config = read_study(files[0])
    if folder.name != name:  # run with `--steps`
        assert folder.name == f"{name}-{steps}"
        config = config.replaced(steps=steps)
    assert config.question
    assert config.decision_rule
    assert differing(config, known) == []
    figures.StoredStudy(folder.name)


@pytest.mark.parametrize(
    ("section", "key", "value"),
    [
        ("question", None, "Another one?"), ("dataset", "classes", 201), ("corruption", "label_noise", 0.1),
        ("final", "seeds", 3), ("training", "steps", 61), ("training", "precision", "bfloat16"),
    ],
)  # fmt: skip
def test_a_study_file_changed_after_its_run_is_noticed(section: str, key: str | None, value: object) -> None:
    from mlcompare.study import read_study

    config = read_study(STUDIES / "literature" / "metric_versus_margin_glyphs_noise.yaml")
    stored = FOLDER / "results" / config.name / "study.json"
    told = getattr(config, section)
    if isinstance(told, dict):
        value = {**told, key: value}
    elif key is not None:
        value = told.model_copy(update={key: value})
    changed = config.model_copy(update={section: value})
    assert differing(changed, json.loads(stored.read_text(encoding="utf-8"))["study"]) == [section]


def test_a_wrong_quotation_is_refused() -> None:
    figures.holds({"0.93": 0.934, "25 %": 0.2511, "−1.5": -1.52}, stored=True)
    with pytest.raises(AssertionError, match="the text says"):
        figures.holds({"0.93": 0.936}, stored=True)


@pytest.mark.parametrize(
    ("low", "high", "prediction", "expected"),
    [
        (0.1, 0.3, "above 0", "yes"), (-0.3, -0.1, "above 0", "no"), (-0.1, 0.3, "above 0", "can't tell"),
        (-0.3, -0.1, "below 0", "yes"), (0.1, 0.3, "below 0", "no"), (-0.02, 0.03, "within ±0.05", "yes"),
        (0.06, 0.09, "within ±0.05", "no"), (-0.09, -0.06, "within ±0.05", "no"),
        (0.01, 0.09, "within ±0.05", "can't tell"),
    ],
)  # fmt: skip
def test_verdicts_follow_the_interval(low: float, high: float, prediction: str, expected: str) -> None:
    assert figures.verdict(figures.Estimate((low + high) / 2, low, high), prediction) == expected


def test_intervals_over_seeds_are_students() -> None:
    from scipy import stats

    values = [0.2, 0.5, 0.35, 0.4]
    found = figures.over_seeds(values)
    low, high = stats.t.interval(0.95, 3, loc=0.3625, scale=stats.sem(values))
    assert (found.low, found.high) == pytest.approx((low, high))
    assert figures.over_seeds([0.2]).high == float("inf")


@pytest.mark.slow
def test_a_study_leaves_the_tables_that_notebooks_read(tmp_path: Path, monkeypatch) -> None:
    file = tmp_path / "tiny.yaml"
    file.write_text(
        "{name: tiny, dataset: digits, protocol: {folds: 2}, encoder: {name: conv, channels: [2], embedding_dim: 4},"
        " training: {steps: 2, classes_per_batch: 2, lr: 0.01}, search: {trials: 1}, final: {seeds: 1},"
        " losses: {softmax: null}}",
        encoding="utf-8",
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(rebuild, "HERE", tmp_path)
    monkeypatch.setattr(figures, "HERE", tmp_path)
    rebuild.run_study_tables(file)
    study = figures.StoredStudy("tiny")
    found = study.of("softmax")
    finals = study.results.query("kind == 'final' and metric == 'map_at_r' and source == 'selected'")
    assert found.value == pytest.approx(finals["value"].mean(), abs=0.02)  # of classes, not of samples
    assert found.low < found.value < found.high
    assert study.difference("softmax", "softmax").value == 0


def test_an_unknown_notebook_is_named() -> None:
    with pytest.raises(SystemExit, match="zebra"):
        rebuild.notebooks(["zebra"])
