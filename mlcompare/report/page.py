"""The document: head, navigation, sections, and everything it needs inside it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from mlcompare.report.formats import FORMATS
from mlcompare.report.plots import Plot

__all__ = ["Part", "document", "render"]

# The page may not fetch anything: it opens without a network, and no server learns that it was opened.
POLICY = "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data: blob:"


@dataclass(frozen=True)
class Part:
    """A section of the report: ``id``, ``title``, its content, and the charts that stand in it."""

    id: str
    title: str
    body: Markup
    plots: Sequence[Plot] = field(default_factory=list)
    level: int = 2


@cache
def _templates() -> Environment:
    """The templates: every value is escaped, and a name that isn't given is an error."""
    templates = Environment(
        loader=PackageLoader("mlcompare.report"), autoescape=True, undefined=StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    templates.filters |= FORMATS
    templates.policies["json.dumps_kwargs"] = {"allow_nan": False, "separators": (",", ":"), "ensure_ascii": False}
    return templates


def render(template: str, **values: Any) -> Markup:
    """Return ``templates/<template>.html`` filled in.

    >>> render("paragraph", text="a < b")
    Markup('<p>a &lt; b</p>')
    """
    return Markup(_templates().get_template(f"{template}.html").render(values))


@cache
def _asset(name: str) -> Markup:
    return Markup(files("mlcompare.report").joinpath("assets", name).read_text(encoding="utf-8"))


def document(title: str, head: Markup, parts: Sequence[Part], versions: Sequence[str]) -> str:
    """Return the whole file: plotly.js once, the charts as data, no request to anywhere."""
    charts = [{"id": plot.id, "data": plot.data, "layout": plot.layout} for part in parts for plot in part.plots]
    given = {"title": title, "head": head, "parts": parts, "charts": charts, "versions": versions}
    return render("page", **given, policy=POLICY, asset=_asset) + "\n"
