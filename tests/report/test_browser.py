"""The report and the dashboard as a person sees them, in Debian's Chromium. Skipped where there is none."""

from __future__ import annotations

import itertools
import os
import shutil
import sys
import tomllib
from pathlib import Path

import pytest

from mlcompare.comparison import load_results
from mlcompare.report import write_report
from tests.servers import Server, free_port

sync_api = pytest.importorskip("playwright.sync_api")
CHROMIUM, ROOT = Path("/usr/bin/chromium"), Path(__file__).parent.parent.parent
pytestmark = pytest.mark.skipif(not CHROMIUM.exists(), reason="no /usr/bin/chromium")
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]


@pytest.fixture(scope="module")
def browser():
    with sync_api.sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=str(CHROMIUM), args=FLAGS)
        yield chromium
        chromium.close()


@pytest.fixture(scope="module")
def reports(finished, finished_too, tmp_path_factory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("reports")
    one = write_report([finished], folder / "one.html")
    return {"one": one, "two": write_report([finished, finished_too], folder / "two.html")}


class Opened:
    """A page with everything it complained about and asked for."""

    def __init__(self, browser, path: Path, width: int, scheme: str) -> None:
        self.context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
        self.page = self.context.new_page()
        self.complaints: list[str] = []
        self.requests: list[str] = []
        self.page.on("console", lambda message: self.complaints.append(f"{message.type}: {message.text}"))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.goto(path.as_uri())
        self.page.wait_for_selector("html[data-plots=drawn]", state="attached", timeout=120_000)


@pytest.fixture
def opened(browser, reports):
    pages = []

    def open_report(name: str, width: int = 1300, scheme: str = "light") -> Opened:
        pages.append(Opened(browser, reports[name], width, scheme))
        return pages[-1]

    yield open_report
    for page in pages:
        page.context.close()


@pytest.mark.parametrize(
    ("name", "width", "scheme"),
    [*itertools.product(["one"], [1300, 390], ["light", "dark"]), ("two", 1300, "light"), ("two", 390, "dark")],
)
def test_report_is_drawn_whole(opened, name, width, scheme) -> None:
    found = opened(name, width, scheme)
    page = found.page
    assert found.complaints == []
    assert [url for url in found.requests if not url.startswith(("file:", "data:", "blob:"))] == []
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.evaluate("document.body.scrollWidth") <= width
    plots = page.locator(".plot").count()
    assert plots >= 8
    assert page.locator(".plot svg.main-svg").count() >= plots
    assert page.evaluate(
        "[...document.querySelectorAll('.plot')].every(p => p.querySelector('.trace, .point, .errorbar'))"
    )
    outside = (
        "[...document.querySelectorAll('.plot')].filter(p => p.getBoundingClientRect().right > innerWidth + 1).length"
    )
    assert page.evaluate(outside) == 0


def test_tables_fit_the_page_or_scroll_in_sight(opened) -> None:
    page = opened("one").page
    wide = "[...document.querySelectorAll('.scroll')].filter(s => s.scrollWidth > s.clientWidth + 1)"
    assert page.evaluate(f"{wide}.map(s => s.ariaLabel)") == [], "at 1300 pixels every table fits"
    page.set_viewport_size({"width": 700, "height": 900})
    assert page.evaluate(f"{wide}.length") > 0
    shaded = "s => getComputedStyle(s).backgroundImage.includes('gradient') && getComputedStyle(s).overflowX === 'auto'"
    assert page.evaluate(f"{wide}.every({shaded})")


def test_charts_stand_on_paper_however_early_it_is_printed(browser, reports, tmp_path) -> None:
    page = browser.new_page(viewport={"width": 1300, "height": 900})
    page.goto(reports["one"].as_uri(), wait_until="commit")
    page.wait_for_selector("html[data-plots]", state="attached")
    widths = "[...document.querySelectorAll('.plot')].map(p => p.querySelector('svg.main-svg')?.clientWidth ?? 0)"
    page.evaluate(f"addEventListener('beforeprint', () => {{ window.printed = {widths} }})")
    page.pdf(path=str(tmp_path / "report.pdf"), format="A4")
    printed = page.evaluate("window.printed")
    assert len(printed) >= 8
    assert all(0 < width <= 700 for width in printed)
    page.wait_for_selector("html[data-plots=drawn]", state="attached")
    assert max(page.evaluate(widths)) > 700, "on the screen they are wide again"
    page.emulate_media(media="print")
    page.set_viewport_size({"width": 718, "height": 900})
    rights = "[...document.querySelectorAll('.scroll table, .sheet .row')].map(t => t.getBoundingClientRect().right)"
    assert max(page.evaluate(rights)) <= 718 + 1
    page.close()


def luminance(color: str) -> float:
    red, green, blue = (int(part) for part in color[color.index("(") + 1 : -1].split(",")[:3])
    return (0.2126 * red + 0.7152 * green + 0.0722 * blue) / 255


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_charts_follow_the_scheme(opened, scheme) -> None:
    page = opened("one", scheme=scheme).page
    paper = page.evaluate("getComputedStyle(document.body).backgroundColor")
    text = page.evaluate("getComputedStyle(document.querySelector('.plot .xtick text')).fill")
    assert abs(luminance(paper) - luminance(text)) > 0.6
    assert (luminance(paper) > 0.5) == (scheme == "light")


def test_charts_follow_a_change_of_scheme(opened) -> None:
    page, fill = opened("one").page, "getComputedStyle(document.querySelector('.plot .xtick text')).fill"
    before = page.evaluate(fill)
    page.emulate_media(color_scheme="dark")
    after, tries = before, 0  # asked again from here: a page that allows no eval can't be polled from inside
    while after == before and tries < 200:
        page.wait_for_timeout(50)
        page.wait_for_selector("html[data-plots=drawn] .plot .xtick text", state="attached")
        after, tries = page.evaluate(fill), tries + 1
    assert luminance(after) - luminance(before) > 0.5


def test_all_can_be_reached_by_keyboard(opened) -> None:
    page = opened("two").page
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "content"
    page.evaluate("document.querySelectorAll('details').forEach(details => { details.open = true })")
    wanted = "a[href], button, summary, [tabindex='0']"
    count = page.locator(wanted).count()
    page.evaluate(
        "document.activeElement.blur(); window.scrollTo(0, 0); document.body.tabIndex = -1; document.body.focus()"
    )
    seen = set()
    for _ in range(count + 20):
        page.keyboard.press("Tab")
        seen.add(page.evaluate(f"[...document.querySelectorAll({wanted!r})].indexOf(document.activeElement)"))
    assert set(range(count)) <= seen


def test_a_switch_hides_a_loss_by_keyboard(opened) -> None:
    page = opened("one").page
    shown = "document.getElementById('s0-search').data.filter(t => t.visible !== false).length"
    before = page.evaluate(shown)
    button = page.locator("button[data-plots=s0-search]").first
    button.focus()
    page.keyboard.press("Space")
    assert button.get_attribute("aria-pressed") == "false"
    assert page.evaluate(shown) == before - 1
    page.keyboard.press("Space")
    assert page.evaluate(shown) == before


@pytest.mark.parametrize("name", ["one", "two"])
def test_landmarks_headings_and_alternatives(opened, name) -> None:
    page = opened(name).page
    for landmark in ("header", "nav", "main", "footer"):
        assert page.locator(landmark).count() == 1
    levels = page.evaluate("[...document.querySelectorAll('h1, h2, h3, h4')].map(h => +h.tagName[1])")
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in itertools.pairwise(levels))
    assert page.evaluate("[...document.querySelectorAll('table')].every(t => t.caption && t.caption.textContent)")
    assert page.evaluate("[...document.images].every(i => i.alt && i.naturalWidth > 0)")
    assert page.evaluate("[...document.querySelectorAll('.plot')].every(p => p.ariaLabel.length > 20)")
    ids = page.evaluate("[...document.querySelectorAll('[id]')].map(e => e.id)")
    assert len(ids) == len(set(ids))
    assert page.evaluate("[...document.querySelectorAll('nav a')].every(a => document.querySelector(a.hash))")


@pytest.fixture(scope="module")
def dashboard(finished, tmp_path_factory):
    """``mlcompare dashboard`` on a free port; yields its address."""
    store = tmp_path_factory.mktemp("dashboard") / "store"
    shutil.copytree(finished, store)
    port = free_port()
    information = store.parent / "installed" / "mlcompare-0.dist-info"  # a checkout on the path has no entry points
    information.mkdir(parents=True)
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: mlcompare\nVersion: 0\n")
    points = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["entry-points"]["mlflow.app"]
    (information / "entry_points.txt").write_text(f"[mlflow.app]\nmlcompare = {points['mlcompare']}\n")
    path = os.pathsep.join([str(ROOT), str(information.parent), os.environ.get("PYTHONPATH", "")])
    command = [sys.executable, "-m", "mlcompare.cli", "dashboard", str(store), "--port", str(port)]
    server = Server(command, port, store / "server.log", env={**os.environ, "PYTHONPATH": path})
    server.start()
    yield server.address
    server.stop()


@pytest.mark.slow
def test_dashboard_has_charts_that_group_by_loss_and_hyperparameters(browser, dashboard) -> None:
    page = browser.new_page(viewport={"width": 1500, "height": 1100})
    query = "compareRunsMode=CHART&searchFilter=tags.kind%20%3D%20'trial'"
    page.goto(f"{dashboard}/#/experiments/1/runs?{query}")
    page.get_by_text("map_at_r", exact=False).first.wait_for(timeout=60_000)
    page.locator("svg.main-svg").first.wait_for(timeout=60_000)
    assert page.get_by_text("cosface trial 0").count() > 0
    page.get_by_text("Group by", exact=False).first.click()
    for name in ("loss", "family", "m_cos", "m_dist", "s", "lr"):
        page.get_by_role("menu").get_by_text(name, exact=True).first.wait_for(timeout=10_000)
    page.close()


@pytest.mark.slow
@pytest.mark.parametrize(("view", "kinds"), [("trials", ["trial"]), ("finals", ["final", "baseline"])])
def test_dashboard_opens_with_few_columns_and_the_best_run_first(browser, dashboard, finished, view, kinds) -> None:
    """The shared views that `run` and `dashboard` print: loss, objective and what was searched, sorted."""
    page = browser.new_page(viewport={"width": 1700, "height": 1100})
    page.goto(f"{dashboard}/#/experiments/1/runs?viewStateShareKey={view}")
    page.get_by_role("columnheader", name="loss").first.wait_for(timeout=60_000)
    headers = {text.strip() for text in page.get_by_role("columnheader").all_inner_texts() if text.strip()}
    assert {"loss", "map_at_r" if view == "trials" else "test_map_at_r"} <= headers
    assert len(headers) <= 22, "MLflow's four, three groups, and ours"
    results = load_results(finished)
    rows = results[results.kind.isin(kinds) & (results.metric == "map_at_r")]
    by = ["loss", "trial"] if view == "trials" else ["loss", "trial", "fold", "seed"]
    best = rows.groupby(by, dropna=False).value.mean().idxmax()[0]
    names = page.locator("a[href*='/runs/']")
    names.first.wait_for(timeout=30_000)
    assert names.first.inner_text().startswith(best)
    page.close()


@pytest.mark.slow
def test_the_learning_rate_is_in_sight_at_1300_pixels(browser, dashboard) -> None:
    page = browser.new_page(viewport={"width": 1300, "height": 900})
    page.goto(f"{dashboard}/#/experiments/1/runs?viewStateShareKey=trials")
    page.get_by_role("columnheader", name="loss").first.wait_for(timeout=60_000)
    page.wait_for_timeout(1_000)  # widths settle
    table = page.locator(".ag-root").first.bounding_box()
    for name in ("loss", "family", "map_at_r", "seconds", "m_cos", "m_dist", "s", "lr"):
        box = page.get_by_role("columnheader", name=name, exact=True).first.bounding_box()
        assert box["x"] + box["width"] <= table["x"] + table["width"] + 1, name
    page.close()


@pytest.mark.slow
def test_an_experiment_opens_on_training_runs_with_nothing_over_them(browser, dashboard) -> None:
    """MLflow 3 opens on traces of language models, with its assistant over a third of the page."""
    context = browser.new_context(viewport={"width": 1500, "height": 1000})
    page = context.new_page()
    page.goto(f"{dashboard}/#/experiments/1")
    page.locator("a[href*='/runs/']").first.wait_for(timeout=60_000)
    assert "/runs" in page.url
    assert page.get_by_role("button", name="Close").count() == 0
    assert page.locator(".ag-root").first.bounding_box()["width"] > 1200, "no panel takes a third of the page"
    assert page.get_by_text("Does margin beat metric?").first.is_visible()
    context.close()


@pytest.mark.slow
def test_charts_are_grouped_by_loss_and_folds_are_no_steps(browser, dashboard) -> None:
    context = browser.new_context(viewport={"width": 1500, "height": 1000})
    page = context.new_page()
    page.goto(f"{dashboard}/#/experiments/1/runs?viewStateShareKey=charts&compareRunsMode=CHART")
    page.locator("svg.main-svg").first.wait_for(timeout=60_000)
    assert page.get_by_text("Group: cosface").count() == 1
    assert page.get_by_text("by_fold").count() == 0
    context.close()
