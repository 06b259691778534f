"""What earlier studies teach a search: settings in the order in which to try them, from what they scored elsewhere."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mlcompare.search.space import Choice, Range, Space

__all__ = [
    "Earlier", "Suggestion", "complements", "expected_gains", "gains", "portfolio", "position", "within",
]  # fmt: skip

TREES, LEAF = 100, 2
FEWEST = 4  # settings that tell anything about a situation
SOLIDITY = 0.05  # what the mean over situations counts beside the gain on what is reached already


@dataclass(frozen=True)
class Earlier:
    """What one loss scored at several settings in one situation; larger is better, NaN where a training failed."""

    situation: str
    settings: tuple[Mapping[str, Any], ...]
    scores: np.ndarray  # (N,)


@dataclass(frozen=True)
class Suggestion:
    """A setting to start from.

    ``gain`` is the mean over situations of where it stands there between the median setting (0) and the best (1), as a
    forest smooths it; ``spread`` is its standard deviation over them; ``situation`` is where the setting was trained.
    """

    values: dict[str, Any]
    gain: float
    spread: float
    situation: str


def position(space: Space, values: Mapping[str, Any]) -> np.ndarray:
    """Return where a setting stands in the unit cube of what is searched, ``(d,)`` in the order of the space.

    What lies outside a range counts as its end, what a setting doesn't say as the default.

    >>> position({"lr": Range(1e-4, 1e-2, 1e-3, log=True), "k": Choice((1, 2, 4), 4)}, {"k": 2})
    array([0.5, 0.5])
    """
    point = []
    for name, dimension in space.items():
        if isinstance(dimension, Choice):
            value = _choice(dimension, values.get(name, dimension.default))
            point.append((dimension.values.index(value) + 0.5) / len(dimension.values))
        elif isinstance(dimension, Range):
            value = min(max(values.get(name, dimension.default), dimension.low), dimension.high)
            low, high = dimension.low, dimension.high
            share = np.log(value / low) / np.log(high / low) if dimension.log else (value - low) / (high - low)
            point.append(float(share))
    return np.array(point)


def _choice(dimension: Choice, value: Any) -> Any:
    """The value, the nearest number where it isn't among the choices, else the default."""
    if value in dimension.values:
        return value
    if isinstance(value, int | float) and all(isinstance(known, int | float) for known in dimension.values):
        return min(dimension.values, key=lambda known: abs(known - value))
    return dimension.default


def within(space: Space, values: Mapping[str, Any]) -> dict[str, Any]:
    """Return a setting of this space: fixed values as they are, the others taken over, or a range's end."""
    found: dict[str, Any] = {}
    for name, dimension in space.items():
        if isinstance(dimension, Choice):
            found[name] = _choice(dimension, values.get(name, dimension.default))
        elif isinstance(dimension, Range):
            value = min(max(values.get(name, dimension.default), dimension.low), dimension.high)
            found[name] = round(value) if dimension.integer else float(value)
        else:
            found[name] = dimension
    return found


def gains(scores: np.ndarray) -> np.ndarray:
    """Return scores as gains: 0 for the median setting and whatever is worse or failed, 1 for the best.

    >>> gains(np.array([.2, .5, .6, .7, np.nan]))
    array([0. , 0. , 0.5, 1. , 0. ])
    """
    known = np.nan_to_num(scores, nan=float(np.nanmin(scores)) if np.isfinite(scores).any() else 0.0)
    low, high = float(np.median(known)), float(known.max())
    return np.clip((known - low) / (high - low), 0, 1) if high > low else np.zeros(len(known))


def expected_gains(
    space: Space, earlier: Sequence[Earlier], *, seed: int = 0
) -> tuple[list[tuple[dict[str, Any], str]], np.ndarray]:
    """Return every setting that was trained, with its situation, and what to expect of each: gains ``(situations, N)``.

    A forest smooths each situation's gains over the unit cube. Situations of fewer than four settings tell nothing.
    """
    from sklearn.ensemble import RandomForestRegressor  # heavy, and most studies start from the shipped priors

    told = [table for table in earlier if len(table.settings) >= FEWEST]
    found = [(within(space, values), table.situation) for table in told for values in table.settings]
    candidates = list({repr(values): (values, where) for values, where in reversed(found)}.values())[::-1]
    points = np.array([position(space, values) for values, _ in candidates])
    expected = []
    for table in told:
        forest = RandomForestRegressor(TREES, min_samples_leaf=LEAF, random_state=seed)
        forest.fit(np.array([position(space, values) for values in table.settings]), gains(table.scores))
        expected.append(forest.predict(points))
    return candidates, np.array(expected).reshape(len(told), len(candidates))


def complements(gain: np.ndarray, size: int, weights: np.ndarray | None = None) -> list[int]:
    """Return columns of ``gain (situations, N)`` in the order in which each adds most to what those before reach.

    The mean over situations is weighted; what adds nothing to any is ordered by its own mean.

    >>> complements(np.array([[.9, .8, 0], [.9, .8, 0], [0, .1, 1]]), 3)
    [0, 2, 1]
    """
    share = np.ones(len(gain)) if weights is None else np.asarray(weights, dtype=float)
    share = share / share.sum()
    chosen: list[int] = []
    reached = np.zeros(len(gain))
    for _ in range(min(size, gain.shape[1])):
        worth = share @ np.maximum(reached[:, None], gain) + SOLIDITY * (share @ gain)
        worth[chosen] = -1.0
        chosen.append(int(worth.argmax()))
        reached = np.maximum(reached, gain[:, chosen[-1]])
    return chosen


def portfolio(
    space: Space, earlier: Sequence[Earlier], size: int, *, weights: np.ndarray | None = None, seed: int = 0
) -> list[Suggestion]:
    """Return up to ``size`` settings that complement each other, the one that is good in most situations first.

    Pfisterer et al. 2018 ("Learning Multiple Defaults for Machine Learning Algorithms") build defaults in this way.
    ``weights`` says how much each of the situations that tell anything counts; alike by default.
    """
    candidates, gain = expected_gains(space, earlier, seed=seed)
    if not candidates:
        return []
    return [
        Suggestion(candidates[n][0], float(gain[:, n].mean()), float(gain[:, n].std()), candidates[n][1])
        for n in complements(gain, size, weights)
    ]
