"""The document: head, navigation, sections, and everything it needs inside it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files

from mlcompare.report.markup import Html, join, tag
from mlcompare.report.plots import Plot, plot_json

__all__ = ["Part", "document"]

# The page may not fetch anything: it opens without a network, and no server learns that it was opened.
POLICY = "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data: blob:"


@dataclass(frozen=True)
class Part:
    """A section of the report: ``id``, ``title``, its content, and the charts that stand in it."""

    id: str
    title: str
    body: Html
    plots: list[Plot] = field(default_factory=list)
    level: int = 2


@cache
def _asset(name: str) -> str:
    return files("mlcompare.report").joinpath(name).read_text(encoding="utf-8")


def document(title: str, head: Html, parts: Sequence[Part], foot: Html) -> str:
    """Return the whole file: plotly.js once, the charts as data, no request to anywhere."""
    from plotly.offline import get_plotlyjs

    plots = [plot for part in parts for plot in part.plots]
    links = [tag("li", tag("a", part.title, href=f"#{part.id}"), class_=f"l{part.level}") for part in parts]
    sections = [
        tag("section", tag(f"h{part.level}", part.title, id=f"{part.id}-h"), part.body, id=part.id,
            aria_labelledby=f"{part.id}-h", class_=f"level{part.level}")
        for part in parts
    ]  # fmt: skip
    nav = tag("nav", tag("ul", *links), aria_label="Contents")
    body = join([
        tag("a", "Skip to the content", href="#content", class_="skip"),
        tag("header", head), tag("div", nav, tag("main", *sections, id="content", tabindex=-1), class_="columns"),
        tag("footer", foot),
        tag("noscript", tag("p", "The charts need JavaScript; every number also stands in a table.", class_="notice")),
        tag("script", Html(plot_json(plots)), type="application/json", id="plots"),
        tag("script", Html(get_plotlyjs())) if plots else None,
        tag("script", Html(_asset("page.js"))),
    ])  # fmt: skip
    meta = join([
        tag("meta", charset="utf-8"), tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="color-scheme", content="light dark"),
        tag("meta", http_equiv="Content-Security-Policy", content=POLICY), tag("link", rel="icon", href="data:,"),
        tag("title", title), tag("style", Html(_asset("style.css"))),
    ])  # fmt: skip
    return f'<!doctype html>\n<html lang="en">\n<head>\n{meta}\n</head>\n<body>\n{body}\n</body>\n</html>\n'
