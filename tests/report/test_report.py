"""The report as a document: what it quotes is what the comparison says, and what it needs is inside it."""

from __future__ import annotations

import json
import re
import shutil
from collections import Counter
from html import unescape
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from mlcompare import report
from mlcompare.comparison import compare, load_per_class, load_results
from mlcompare.errors import DataError, InvalidValueError, MLCompareError, StoreError
from mlcompare.report import write_report
from mlcompare.report.about import about
from mlcompare.report.formats import number, p_value, span
from mlcompare.report.paper import markdown
from mlcompare.report.search_plots import slice_groups
from mlcompare.report.study import open_study
from mlcompare.report.write import report_html
from tests.report.conftest import Tables, change_results, change_study, charts, without_scripts


@pytest.fixture(autouse=True, scope="module")
def few_points():
    """Small views: the projections cost more than everything else here."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("mlcompare.report.embedding_plots.MOST_POINTS", 40)
        yield


@pytest.fixture(scope="module")
def html(finished: Path) -> str:
    return report_html([open_study(finished)])


@pytest.fixture(scope="module")
def comparison(finished: Path):
    return compare(load_results(finished), load_per_class(finished))


def test_leaderboard_quotes_the_comparison(html, comparison) -> None:
    header, *rows = Tables(html).named("map_at_r on the sealed")
    assert header[:4] == ["loss", "family", "mean", "95 % interval"]
    for row, record in zip(rows, comparison.records(), strict=True):
        assert row[0].strip("★≈ \N{FIGURE SPACE}\N{NO-BREAK SPACE}") == record["loss"]
        assert row[2] == number(record["mean"])
        assert row[3] == span(record["ci_low"], record["ci_high"])
        assert row[4] == number(record["default_mean"])
        if record["loss"] != comparison.best:
            assert row[5] == number(record["difference_to_best"], sign=True)
            assert row[6] == span(record["difference_low"], record["difference_high"], sign=True)
            assert row[7] == p_value(record["p_value"])


def test_selected_settings_show_every_number(html, comparison) -> None:
    """Whole numbers, too: how many samples of a class a batch has decides as much as a margin."""
    shown = re.findall(r'class="setting">([^<]*?)\*?<', html)
    for record in comparison.records():
        for name, value in (record["hyperparameters"] or {}).items():
            if isinstance(value, int | float) and not isinstance(value, bool):
                assert any(re.match(rf"{name}(?: \w+)? = ", text) for text in shown), name
    assert any(text.startswith("samples_per_class = ") for text in shown)
    assert "samples_per_class=" in comparison._repr_html_()


def test_pairwise_matrix_quotes_the_comparison(html, comparison) -> None:
    header, *rows = Tables(html).named("Difference in map_at_r")
    cells = {(row[0], name): cell for row in rows for name, cell in zip(header[1:], row[1:], strict=True)}
    for pair in comparison.pairwise.itertuples():
        assert cells[pair.a, pair.b] == number(pair.difference, sign=True) + p_value(pair.p_holm)
        assert cells[pair.b, pair.a] == number(-pair.difference, sign=True) + p_value(pair.p_holm)


def test_tunability_quotes_the_comparison(html, comparison) -> None:
    rows = {row[0]: row for row in Tables(html).named("map_at_r of the default and of the tuned")[1:]}
    for gain in comparison.tunability.itertuples():
        assert rows[gain.loss][1:] == [
            number(gain.default_mean), number(gain.tuned_mean), number(gain.gain, sign=True),
            span(gain.simultaneous_low, gain.simultaneous_high, sign=True), p_value(gain.p_holm),
        ]  # fmt: skip


def test_every_metric_is_the_mean_of_the_results(html, finished) -> None:
    results = load_results(finished)
    header, *rows = Tables(html).named("Every metric on the sealed")
    chosen = (results["source"] == "selected") & (results["kind"] == "final") | (results["kind"] == "baseline")
    means = results[chosen].groupby(["loss", "metric"])["value"].mean()
    for row in rows:
        assert row[1:] == [number(means[row[0], metric]) for metric in header[1:]]


def test_forest_plot_draws_the_comparison(html, comparison) -> None:
    drawn = {}
    for trace in charts(html)["s0-forest"]["data"]:
        if trace["name"] != "untuned":
            errors = zip(trace["error_x"]["array"], trace["error_x"]["arrayminus"], strict=True)
            drawn |= {y: (x, *e) for y, x, e in zip(trace["y"], trace["x"], errors, strict=True)}
    for record in comparison.records():
        mean, up, down = drawn[record["loss"]]
        assert mean == pytest.approx(record["mean"], rel=1e-5)
        assert mean + up == pytest.approx(record["ci_high"], rel=1e-4)
        assert mean - down == pytest.approx(record["ci_low"], rel=1e-4)


def test_answer_stands_on_top_with_its_uncertainty(html, comparison) -> None:
    top = without_scripts(html).split("<main")[0]
    assert "Does margin beat metric?" in top
    assert comparison.family.best_margin in top
    assert "95% interval" in top
    assert "Rule not met" in top or "Rule met" in top


def test_sections_are_there(html) -> None:
    titles = re.findall(r"<h2[^>]*>([^<]+)</h2>", html)
    assert titles == [
        "Leaderboard", "Pairs", "What tuning bought", "The search", "Learning curves", "Hyperparameters",
        "Verification and retrieval", "Embeddings", "Nearest neighbours", "Cost and quality", "Failures", "Protocol",
    ]  # fmt: skip


def test_protocol_names_hashes_and_versions(html, finished) -> None:
    known = open_study(finished).known
    for text in (known["splits"], known["dataset"], known["versions"]["torch"]):
        assert text in html


def test_nothing_is_fetched(html) -> None:
    page = without_scripts(html)
    assert "default-src 'none'" in unescape(page)
    assert not re.findall(r'(?:src|href)="(?!data:|#)[^"]*"', page)
    assert "url(" not in page
    assert html.count("plotly.js (basic - minified) v") == 1


def test_charts_are_of_the_kinds_that_the_bundle_draws(html) -> None:
    kinds = {trace["type"] for chart in charts(html).values() for trace in chart["data"]}
    assert kinds == {"scatter"}  # the basic bundle draws scatter, bar and pie
    assert len(html) < 2_000_000


def test_same_store_same_text(html, finished) -> None:
    assert report_html([open_study(finished)]) == html


HOSTILE = "</title></script><b onclick='x'>&amp;\"\u2028{{ 7 * 7 }}"


def hostile(value):
    """Append the hostile text to every text inside; keys of a mapping, too."""
    if isinstance(value, dict):
        return {f"{key}{HOSTILE}": hostile(item) for key, item in value.items()} | value
    if isinstance(value, list):
        return [hostile(item) for item in value]
    return f"{value}{HOSTILE}" if isinstance(value, str) else value


class Elements(HTMLParser):
    """Counts what a browser would see as elements, and collects attributes that run code."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: Counter[str] = Counter()
        self.handlers: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.tags[tag] += 1
        self.handlers += [name for name, _ in attrs if name.startswith("on")]


def test_text_is_escaped_wherever_it_comes_from(store) -> None:
    known = json.loads((store / "study.json").read_text())
    question = {"question": HOSTILE, "decision_rule": HOSTILE, "name": f"x{HOSTILE}"}
    spaces = {loss: hostile(space) for loss, space in known["spaces"].items()}
    (store / "study.json").write_text(json.dumps({
        **known, "study": hostile(known["study"]) | question | {"search": known["study"]["search"]}, "spaces": spaces,
        "splits": HOSTILE, "dataset": HOSTILE, "versions": hostile(known["versions"]),
    }))  # fmt: skip
    (store / "artifacts" / "data_notes.json").write_text(json.dumps([HOSTILE]))
    with np.load(store / "artifacts" / "test_samples.npz") as file:
        samples = dict(file.items())
    samples["class_names"] = np.array([f"{name}{HOSTILE}" for name in samples["class_names"]])
    np.savez(store / "artifacts" / "test_samples.npz", **samples)

    def hurt(frame):
        failed = frame[frame["kind"] == "trial"].assign(status="failed", reason=HOSTILE, value=None, trial=9)
        hurt = pd.concat([frame, failed])
        return hurt.assign(device=HOSTILE, loss=hurt["loss"].where(hurt["kind"] != "baseline", hurt["loss"] + HOSTILE))

    before = Elements(report_html([open_study(store)]))
    change_results(store, hurt)
    page = report_html([open_study(store)])
    after = Elements(page)
    assert after.handlers == []
    assert after.tags["b"] == 0
    assert before.tags["script"] == after.tags["script"] == 3
    seen = unescape(without_scripts(page))
    assert page.count("&lt;/title&gt;&lt;/script&gt;&lt;b onclick=&#39;x&#39;&gt;&amp;amp;&#34;\u2028{{ 7 * 7 }}") > 40
    assert seen.count(HOSTILE) > 40


def test_nothing_but_the_page_calls_text_html_already() -> None:
    folder = Path(report.__file__).parent
    assert [path.name for path in folder.glob("*.py") if "Markup(" in path.read_text(encoding="utf-8")] == ["page.py"]
    assert [path.name for path in folder.rglob("*.html") if re.search(r"\|\s*safe|autoescape", path.read_text())] == []


def test_several_stores_are_ranked_together(finished, finished_too, tmp_path) -> None:
    page = write_report([finished, finished_too], tmp_path / "both.html").read_text()
    header, *rows = Tables(page).named("Mean map_at_r of the tuned losses")
    assert header == ["loss", "mean rank", "one", "two"]
    for row in rows:
        for store, cell in zip((finished, finished_too), row[2:], strict=True):
            records = {r["loss"]: r for r in compare(load_results(store), load_per_class(store)).records()}
            assert cell == number(records[row[0]]["mean"])
    assert "Left out, for not every study has them: softmax" in page
    assert {"ranks-cd", "s0-forest", "s1-forest"} <= set(charts(page))
    assert not (finished / "report.html").exists()


def test_studies_on_the_same_data_count_once(finished, finished_too, store, tmp_path) -> None:
    page = unescape(write_report([finished, finished_too], tmp_path / "both.html").read_text())
    assert "Studies on the same data aren't independent: one and two are averaged and count once." in page
    assert "over 2 studies on 1 dataset. One dataset is too few for a test." in page
    known = json.loads((store / "study.json").read_text())
    (store / "study.json").write_text(json.dumps({**known, "dataset": "another"}))
    change_study(store, name="elsewhere")
    page = write_report([finished, finished_too, store], tmp_path / "three.html").read_text()
    assert "one and two are averaged" in page
    assert "over 3 studies on 2 datasets" in page


def test_equal_mean_ranks_are_ties(finished, store, tmp_path) -> None:
    change_results(store, lambda frame: frame.assign(value=0.5))
    known = json.loads((store / "study.json").read_text())
    (store / "study.json").write_text(json.dumps({**known, "dataset": "another"}))
    (store / "per_class.parquet").unlink()
    page = write_report([store, shutil.copytree(store, tmp_path / "again")], tmp_path / "ties.html").read_text()
    assert "contrastive and cosface share the best mean rank, 1.50" in page


def test_stores_of_one_name_are_told_apart(finished, store, tmp_path) -> None:
    page = write_report([finished, store], tmp_path / "both.html").read_text()
    assert "one (one, 1)" in page
    assert "one (store, 2)" in page


def test_other_objectives_are_not_ranked_together(finished, store, tmp_path) -> None:
    change_study(store, search={"objective": "auc"})
    change_results(store, lambda frame: frame[frame["metric"] != "map_at_r"])
    page = write_report([finished, store], tmp_path / "both.html").read_text()
    assert "different objectives" in page


def fail(frame, loss: str):
    """Every final run of a loss, and one of its trials, fail."""
    mine = (frame["loss"] == loss) & ((frame["kind"] == "final") | (frame["trial"] == 1))
    frame.loc[mine, ["status", "reason"]] = ["failed", "loss is NaN at step 3"]
    frame.loc[mine, "value"] = float("nan")
    return frame


def test_the_number_of_dimensions_stands_beside_the_budget(store) -> None:
    page = report_html([open_study(store)])
    spaces = json.loads((store / "study.json").read_text())["spaces"]
    counts = {loss: sum(isinstance(d, dict) for d in space.values()) for loss, space in spaces.items()}
    assert ", ".join(f"{loss} {count}" for loss, count in counts.items()) in page


def test_failed_losses_are_named_with_their_reason(store) -> None:
    change_results(store, lambda frame: fail(frame, "cosface"))
    (store / "per_class.parquet").unlink()
    page = report_html([open_study(store)])
    frame = pd.read_parquet(store / "results.parquet").query("status == 'failed' and kind != 'curve'")
    count = len(frame.drop_duplicates(["kind", "trial", "fold", "seed"]))  # a selected default was trained once
    rows = Tables(page).named(f"{count} trainings failed")
    assert {row[0] for row in rows[1:]} == {"cosface"}
    assert {row[-1] for row in rows[1:]} == {"loss is NaN at step 3"}


def test_a_study_in_which_all_fails_has_a_report(store) -> None:
    change_results(store, lambda frame: fail(fail(frame, "cosface"), "contrastive"))
    change_results(store, lambda frame: frame.assign(status="failed", value=float("nan"), reason="out of memory"))
    (store / "per_class.parquet").unlink()
    page = report_html([open_study(store)])
    assert "No loss has a score on the sealed test classes yet (out of memory)." in page


def test_one_family_only(store) -> None:
    change_results(store, lambda frame: frame[frame["loss"] != "contrastive"])
    page = report_html([open_study(store)])
    assert "The best tuned loss is cosface" in page
    assert "only one of them has a score" in page


def test_without_artifacts_the_rest_is_there(store) -> None:
    for path in (store / "artifacts").rglob("*.npz"):
        path.write_bytes(path.read_bytes()[:100])  # half copied
    page = report_html([open_study(store)])
    assert "Nearest neighbours" not in page
    assert "Every metric on the sealed" in page


def test_a_store_that_goes_on_says_so(store) -> None:
    line = '{"type":"job","key":"final/x/0/fold0/seed1","time":1.0}\n'
    with (store / "journal.jsonl").open("a") as journal:
        journal.write(line * 3 + '{"type":"jo')
    assert "still running or was interrupted" in report_html([open_study(store)])


def test_stores_that_have_no_report(store, tmp_path) -> None:
    with pytest.raises(InvalidValueError, match="needs a store"):
        write_report([])
    with pytest.raises(InvalidValueError, match="named once"):
        write_report([store, tmp_path / "." / "store"])
    with pytest.raises(StoreError, match="no such directory"):
        write_report([tmp_path / "none"])
    change_results(store, lambda frame: frame.iloc[:0])
    with pytest.raises(DataError, match="must have rows"):
        write_report([store])
    (store / "results.parquet").unlink()
    with pytest.raises(StoreError, match="wait for it to finish"):
        write_report([store])
    (store / "study.json").write_text("{")
    with pytest.raises(StoreError, match="JSON object"):
        write_report([store])


@pytest.mark.parametrize("out", ["none/report.html", "."])
def test_nothing_half_written_is_left(store, tmp_path, out) -> None:
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(MLCompareError, match="must be writable"):
        write_report([store], tmp_path / out)
    assert sorted(tmp_path.rglob("*")) == before


def test_learning_curves_are_the_means_of_the_table(html, finished) -> None:
    results = load_results(finished)
    curves = results[(results["kind"] == "curve") & (results["source"] == "selected")]
    means = curves.groupby(["loss", "step"])["value"].mean()
    traces = charts(html)["s0-learning"]["data"]
    assert {trace["legendgroup"] for trace in traces} == set(curves["loss"])
    for trace in traces:
        assert trace["y"] == pytest.approx([means[trace["legendgroup"], step] for step in trace["x"]], rel=1e-5)


def test_the_verdict_is_cautious_where_a_loss_was_still_rising(store) -> None:
    def rise(frame):
        mine = (frame["kind"] == "curve") & (frame["loss"] == "cosface")
        return frame.assign(value=frame["value"].where(~mine, 0.1 * frame["step"].astype(float)))

    change_results(store, rise)
    page = report_html([open_study(store)])
    assert re.search(r"Caution:.*cosface.* still rising when training stopped", page.split("<main")[0])
    rows = {row[0] for row in Tables(page).named("The last stretch")[1:]}
    assert "cosface ↗" in rows


def test_a_loss_that_fell_at_the_end_is_named_past_its_best(store) -> None:
    def fall(frame):
        mine = (frame["kind"] == "curve") & (frame["loss"] == "cosface")
        return frame.assign(value=frame["value"].where(~mine, 0.9 - 0.1 * frame["step"].astype(float)))

    change_results(store, fall)
    study = open_study(store)
    page = report_html([study])
    assert "cosface is past its best: its validation mean fell by" in page.split("Learning curves")[-1]
    assert "cosface ↘" in {row[0] for row in Tables(page).named("The last stretch")[1:]}
    assert "cosface is past its best" in markdown([study])


def test_a_store_without_curves_has_no_section_of_them(store) -> None:
    change_results(store, lambda frame: frame[frame["kind"] != "curve"].drop(columns="step"))
    page = report_html([open_study(store)])
    assert "Learning curves" not in page
    assert "Caution" not in page.split("<main")[0]


def test_the_page_says_to_strangers_what_was_compared_on_what_and_what_it_cannot_say(store) -> None:
    study = open_study(store)
    told = about(study)
    assert list(told) == ["compared", "on", "by", "can't say"]
    assert "1 metric loss (contrastive), which compare" in told["compared"]
    assert "best of 3 settings" in told["compared"]
    assert "digits, tested on 4 classes that no training and no search saw" in told["on"]
    assert "Mean average precision" in told["by"]
    assert "more than 4 steps" in told["can't say"]
    assert "one search of 3 trials found" in told["can't say"]
    page, text = (write_report([store], format=kind).read_text(encoding="utf-8") for kind in ("html", "markdown"))
    for sentence in told.values():
        assert sentence in unescape(page)
    assert "- **compared:** " in text


def test_selected_settings_have_symbol_and_unit_and_choices_their_own_ticks(store) -> None:
    page = write_report([store]).read_text(encoding="utf-8")
    assert "margin m = " in page
    assert " distance</span>" in page
    (store / "artifacts" / "symbols.json").unlink()  # a store of an older version
    assert "margin = " in write_report([store]).read_text(encoding="utf-8")
    change_known = json.loads((store / "study.json").read_text())
    change_known["spaces"]["cosface"]["margin"] = {"values": [0.1, 0.35, 0.5], "default": 0.35}
    (store / "study.json").write_text(json.dumps(change_known))
    groups = dict(slice_groups(open_study(store), "s"))
    (cosface,) = (plot for plot in groups["m"] if plot.title == "cosface")
    assert cosface.layout["xaxis"]["ticktext"] == ["0.1", "0.35", "0.5"]
