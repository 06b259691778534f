"""How numbers are written in a report."""

from __future__ import annotations

import math
from typing import Any

__all__ = ["FORMATS", "called", "number", "p_value", "seconds", "setting", "span", "valued"]


def number(value: Any, *, sign: bool = False, digits: int = 3) -> str:
    """Return a number with three decimals; a dash where there is none.

    >>> number(0.25), number(-0.25, sign=True), number(-0.0001, sign=True), number(float("nan"))
    ('0.250', '−0.250', '+0.000', '–')
    """
    if value is None or not math.isfinite(value):
        return "–"
    return f"{value:{'+' if sign else ''}z.{digits}f}".replace("-", "−")


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


def called(name: str, symbol: str = "", unit: str = "") -> str:
    """Return a hyperparameter's name with its symbol and its unit, as an axis shows it.

    >>> called("margin", "m", "cosine"), called("weight", "λ"), called("lr")
    ('margin m (cosine)', 'weight λ', 'lr')
    """
    return f"{name}{f' {symbol}' if symbol else ''}{f' ({unit})' if unit else ''}"


def valued(name: str, value: Any, symbol: str = "", unit: str = "", equals: str = "=") -> str:
    """Return a hyperparameter with its value, its symbol beside its name.

    >>> valued("margin", 0.2, "m", "cosine"), valued("lr", 0.001)
    ('margin m=0.2 cosine', 'lr=0.001')
    """
    return f"{name}{f' {symbol}' if symbol else ''}{equals}{setting(value)}{f' {unit}' if unit else ''}"


FORMATS = {"number": number, "p_value": p_value, "seconds": seconds, "setting": setting, "span": span, "valued": valued}
