"""HTML that escapes what it is given: tags, tables, numbers."""

from __future__ import annotations

import html
import math
from collections.abc import Iterable, Sequence
from typing import Any

__all__ = ["Html", "join", "number", "p_value", "seconds", "setting", "span", "table", "tag"]

VOID = frozenset({"img", "meta", "link", "br"})


class Html(str):
    """Text that is HTML already."""


def _escaped(part: Any) -> str:
    return part if isinstance(part, Html) else html.escape(str(part), quote=True)


def join(parts: Iterable[Any], separator: str = "\n") -> Html:
    """Join parts, escaping those that aren't HTML; None is left out.

    >>> join(["a < b", tag("b", "c"), None])
    'a &lt; b\\n<b>c</b>'
    """
    return Html(separator.join(_escaped(part) for part in parts if part is not None))


def tag(name: str, /, *children: Any, **attributes: Any) -> Html:
    """Return an element. ``class_`` and ``for_`` lose their underscore, others turn theirs into hyphens.

    >>> tag("a", "x & y", href="#x", aria_label=None)
    '<a href="#x">x &amp; y</a>'
    """
    shown = "".join(
        f" {key.rstrip('_').replace('_', '-')}" + ("" if value is True else f'="{html.escape(str(value), quote=True)}"')
        for key, value in attributes.items()
        if value is not None and value is not False
    )
    return Html(f"<{name}{shown}>" if name in VOID else f"<{name}{shown}>{join(children, '')}</{name}>")


def table(
    caption: str, header: Sequence[Any], rows: Iterable[Sequence[Any]], *, numeric: Iterable[int] = (),
    classes: Sequence[str] | None = None, kind: str | None = None,
) -> Html:  # fmt: skip
    """Return a captioned table in a region that scrolls by itself and can be reached by keyboard.

    Args:
        numeric: columns aligned to the right.
        classes: a class for each row.
        kind: a class for the table.
    """
    right = set(numeric)
    head = [tag("th", name, scope="col", class_="n" if i in right else None) for i, name in enumerate(header)]
    body = []
    for number_, row in enumerate(rows):
        cells = [
            tag("th", cell, scope="row") if i == 0 else tag("td", cell, class_="n" if i in right else None)
            for i, cell in enumerate(row)
        ]
        body.append(tag("tr", *cells, class_=(classes[number_] or None) if classes else None))
    parts = tag("caption", tag("span", caption)), tag("thead", tag("tr", *head)), tag("tbody", *body)
    return tag("div", tag("table", *parts, class_=kind), class_="scroll", role="region", aria_label=caption, tabindex=0)


def number(value: Any, *, sign: bool = False, digits: int = 3) -> str:
    """Return a number with three decimals; a dash where there is none.

    >>> number(0.25), number(-0.25, sign=True), number(float("nan"))
    ('0.250', '−0.250', '–')
    """
    if value is None or not math.isfinite(value):
        return "–"
    return f"{value:{'+' if sign else ''}.{digits}f}".replace("-", "−")


def span(low: Any, high: Any, *, sign: bool = False) -> str:
    """Return an interval, or a dash.

    >>> span(0.1, 0.25), span(None, None)
    ('0.100 to 0.250', '–')
    """
    if low is None or high is None or not (math.isfinite(low) and math.isfinite(high)):
        return "–"
    return f"{number(low, sign=sign)} to {number(high, sign=sign)}"


def p_value(value: Any) -> str:
    """Return a p-value with three decimals.

    >>> p_value(0.0123), p_value(0.00001), p_value(None)
    ('0.012', '<0.001', '–')
    """
    if value is None or not math.isfinite(value):
        return "–"
    return "<0.001" if value < 0.001 else f"{value:.3f}"


def seconds(value: Any) -> str:
    """Return a duration.

    >>> seconds(3.21), seconds(75), seconds(7260), seconds(None)
    ('3.2 s', '1 min 15 s', '2 h 1 min', '–')
    """
    if value is None or not math.isfinite(value):
        return "–"
    if value < 60:
        return f"{value:.1f} s"
    whole = round(value)
    minutes, rest = divmod(whole, 60)
    return f"{minutes} min {rest} s" if whole < 3600 else f"{minutes // 60} h {minutes % 60} min"


def setting(value: Any) -> str:
    """Return a hyperparameter's value: three figures of a number, anything else as it is.

    >>> setting(0.00123456), setting(True), setting("all"), setting(64.0)
    ('0.00123', 'True', 'all', '64')
    """
    return f"{value:.3g}" if isinstance(value, float) else str(value)
