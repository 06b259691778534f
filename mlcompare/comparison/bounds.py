"""An optimum on its bound: the search stopped where it should have gone on."""

from __future__ import annotations

import math
from collections.abc import Mapping

__all__ = ["at_bound", "wider_range"]

EDGE = 0.01  # share of the searched width that counts as "on the bound"


def at_bound(hyperparameters: Mapping, space: Mapping[str, Mapping]) -> list[str]:
    """Return the names whose value lies within 1 % of the searched width of a bound (on a log scale where searched so).

    Args:
        hyperparameters: the selected setting.
        space: name → ``{"low": …, "high": …, "log": …}``; names that aren't there were not searched.

    >>> space = {"margin": {"low": 0.0, "high": 0.5}, "scale": {"low": 4.0, "high": 128.0, "log": True}}
    >>> at_bound({"margin": 0.498, "scale": 20.0}, space)
    ['margin']
    """
    return [name for name in space if _side(hyperparameters.get(name), space[name]) is not None]


def wider_range(hyperparameters: Mapping, space: Mapping[str, Mapping]) -> dict[str, dict]:
    """Suggest a range for each name of :func:`at_bound`: as wide again beyond the bound (a log range: as many decades).

    A range of numbers from 0 up is never widened below 0, where losses have no meaning; nothing is suggested for a
    setting on 0 itself.

    >>> wider_range({"lr": 0.1}, {"lr": {"low": 1e-3, "high": 0.1, "log": True}})
    {'lr': {'low': 0.001, 'high': 10.0, 'log': True}}
    """
    wider = {}
    for name in at_bound(hyperparameters, space):
        low, high, log = _limits(space[name])
        if _side(hyperparameters[name], space[name]) == "low":
            if low == 0.0:
                continue
            beyond = float(f"{2 * low - high:.3g}")
            low = float(f"{low * low / high:.3g}") if log else max(beyond, 0.0) if low > 0.0 else beyond
        else:
            high = float(f"{high * high / low:.3g}") if log else float(f"{2 * high - low:.3g}")
        wider[name] = {"low": low, "high": high, "log": log}
    return wider


def _limits(space: Mapping) -> tuple[float, float, bool]:
    return float(space["low"]), float(space["high"]), bool(space.get("log", False))


def _side(value, space: Mapping) -> str | None:
    if isinstance(value, bool) or not isinstance(value, int | float) or space.get("low") is None:
        return None
    low, high, log = _limits(space)
    if not low < high or (log and min(low, value) <= 0):
        return None
    share = math.log(value / low) / math.log(high / low) if log else (value - low) / (high - low)
    return "low" if share <= EDGE else "high" if share >= 1.0 - EDGE else None
