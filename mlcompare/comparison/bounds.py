"""Selected settings that lie on the bound of their range, and the wider range to search next."""

from __future__ import annotations

import math
from collections.abc import Mapping

__all__ = ["at_bound", "wider_range"]

EDGE = 0.01  # share of the searched width that counts as "on the bound"


def at_bound(hyperparameters: Mapping, space: Mapping[str, Mapping]) -> list[str]:
    """Return the names whose value lies within 1 % of the searched width of a bound (on a log scale where searched so).

    A default that lies there doesn't count: the search preferred it to all further inside.

    Args:
        hyperparameters: the selected setting.
        space: name → ``{"low": …, "high": …, "log": …, "default": …}``; names that aren't there were not searched.

    >>> space = {"margin": {"low": 0.0, "high": 0.5}, "scale": {"low": 4.0, "high": 128.0, "log": True}}
    >>> at_bound({"margin": 0.498, "scale": 20.0}, space)
    ['margin']
    """
    chosen = {name: value for name, value in hyperparameters.items() if value != space.get(name, {}).get("default")}
    return [name for name in space if _side(chosen.get(name), space[name]) is not None]


def wider_range(hyperparameters: Mapping, space: Mapping[str, Mapping]) -> dict[str, dict]:
    """Suggest a range for each name of :func:`at_bound`: as wide again beyond the bound (a log range: as many decades).

    The suggestion ends where the domain does: at ``minimum`` and ``maximum``, where the space names them, and above 0
    where it says ``positive``. Where it names no ``minimum``, a range of numbers from 0 up stays from 0 up. Nothing is
    suggested where the range ends with the domain already.

    >>> wider_range({"lr": 0.1}, {"lr": {"low": 1e-3, "high": 0.1, "log": True}})
    {'lr': {'low': 0.001, 'high': 10.0, 'log': True}}
    >>> wider_range({"momentum": 0.99}, {"momentum": {"low": 0.5, "high": 0.99, "maximum": 1.0}})
    {'momentum': {'low': 0.5, 'high': 1.0, 'log': False}}
    """
    wider = {}
    for name in at_bound(hyperparameters, space):
        low, high, log = _limits(space[name])
        least, most = _domain(space[name])
        if _side(hyperparameters[name], space[name]) == "low":
            beyond = _rounded(low * low / high if log else 2 * low - high, space[name])
            if beyond <= 0 and (log or space[name].get("positive")):
                beyond = 1.0 if space[name].get("integer") else _rounded(low / 10, space[name])
            ends = max(beyond, least), high
        else:
            beyond = high * high / low if log else 2 * high - low
            ends = low, min(_rounded(beyond, space[name]), most)
        if ends != (low, high):
            wider[name] = {"low": ends[0], "high": ends[1], "log": log}
    return wider


def _domain(space: Mapping) -> tuple[float, float]:
    least, most = space.get("minimum"), space.get("maximum")
    if least is None:
        least = 0.0 if float(space["low"]) >= 0 else -math.inf
    return float(least), math.inf if most is None else float(most)


def _rounded(value: float, space: Mapping) -> float:
    return float(round(value)) if space.get("integer") else float(f"{value:.3g}")


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
