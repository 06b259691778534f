"""A search that starts from what other situations found, and believes them as far as its own trials agree.

Each earlier situation is smoothed over the unit cube of what is searched (a Gaussian process with one fixed length
scale) and told as gains: 0 for its median setting, 1 for its best. Their weighted mean is the expectation of a new
situation: ``score ≈ a + b · mean gain + deviation``. The weights are how well each situation ranks the trials told so
far (Spearman), as in ensembles of surrogates (Feurer et al. 2018, arXiv:1802.02219); a and b are fitted with b drawn to
the spread seen so far; the deviation is a Gaussian process of its own. What is tried next has the largest expected
improvement over the best trial. Nothing is random but the points that candidates are drawn from.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from scipy.special import ndtr

from mlcompare.search.earlier import Earlier, gains, position, within
from mlcompare.search.space import Choice, Range, Space

__all__ = ["Transfer"]

LENGTH = 0.3  # of both processes, in units of the cube's side times the root of its dimensions
SMOOTHING, NOISE = 0.3, 0.1  # noise over signal: of what situations tell, and of the own trials
DRAWN = 256  # candidates beside the settings that were trained elsewhere
TRUST = 0.1  # what a situation counts that ranks the trials told no better than chance
USUAL_SPREAD, PULL = 0.1, 0.3  # of gains over the trials told; how strongly b is drawn to what that would give


class Transfer:
    """Proposes settings of one loss in a space, given earlier situations.

    Args:
        space: what is searched and what is fixed; what no earlier setting speaks of is drawn.
        earlier: situations with four settings or more; others tell nothing.
        seed: draws the candidates that nobody trained before.
    """

    def __init__(self, space: Space, earlier: Sequence[Earlier], *, seed: int = 0) -> None:
        from scipy.stats import qmc  # a second to import

        self._space = space
        self._dimensions = sum(isinstance(dimension, Range | Choice) for dimension in space.values())
        told = [table for table in earlier if len(table.settings) >= 4 and self._dimensions]
        self._told = [(self._points(table.settings), gains(table.scores)) for table in told]
        drawn = [self._at(point) for point in qmc.Sobol(max(self._dimensions, 1), seed=seed).random(DRAWN)]
        every = [values for table in told for values in table.settings]
        found = {
            repr(values): values
            for values in (within(space, {**drawn[n % DRAWN], **values}) for n, values in enumerate(every))
        }
        self._candidates = [*found.values(), *drawn]
        self._cube = self._points(self._candidates)
        self._fits = [
            self._smoothed(points, values, self._known(table)) for table, (points, values) in zip(told, self._told)
        ]

    @property
    def knows(self) -> bool:
        """Whether there is any situation to learn from."""
        return bool(self._told)

    def next(self, tried: Sequence[Mapping[str, Any]], scores: Sequence[float]) -> tuple[dict[str, Any], float]:
        """Return the setting to try next, and the score that is expected of it.

        Args:
            tried: settings that were told before, or that are running.
            scores: theirs, larger is better, every one a number.
        """
        points, values = self._points(tried), np.asarray(scores, dtype=float)
        expected, uncertain = self._expectation(points, values)
        best = values.max() if len(values) else 0.0
        above = (expected - best) / uncertain
        worth = (expected - best) * ndtr(above) + uncertain * np.exp(-above * above / 2) / np.sqrt(2 * np.pi)
        known = {repr(within(self._space, setting)) for setting in tried}
        fresh = np.array([repr(candidate) not in known for candidate in self._candidates])
        number = int(np.where(fresh, worth, -np.inf).argmax())
        return dict(self._candidates[number]), float(expected[number])

    def _expectation(self, points: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return mean and standard deviation of each candidate's score, given the trials told."""
        of_candidates = np.array([fit(self._cube) for fit in self._fits])  # (situations, N)
        if len(values) < 2:
            mean = of_candidates.mean(axis=0)
            return (values.mean() if len(values) else 0.0) + mean, np.full(len(mean), 1e-9)
        of_tried = np.array([fit(points) for fit in self._fits])  # (situations, n)
        weights = np.array([TRUST + max(0.0, _rank_correlation(told, values)) for told in of_tried])
        weights /= weights.sum()
        mean, told = weights @ of_candidates, weights @ of_tried
        spread = values.std() + 1e-9
        centred = told - told.mean()
        usual = spread / max(float(told.std()), USUAL_SPREAD)
        slope = (centred @ (values - values.mean()) + PULL * usual) / (centred @ centred + PULL)
        slope = max(0.0, float(slope))
        level = values.mean() - slope * told.mean()
        left = values - level - slope * told
        variance = max(float(left.var()), (0.2 * spread) ** 2)
        to_tried = self._kernel(self._cube, points)
        solved = np.linalg.solve(
            self._kernel(points, points) + NOISE * np.eye(len(values)), np.column_stack([left, to_tried.T])
        )
        expected = level + slope * mean + to_tried @ solved[:, 0]
        share = np.clip(1 + NOISE - (to_tried * solved[:, 1:].T).sum(axis=1), 1e-6, None)
        return expected, np.sqrt(variance * share)

    def _known(self, table: Earlier) -> np.ndarray:
        """Return which dimensions a situation's settings speak of, ``(d,)``; of the others it tells nothing."""
        said = {name for values in table.settings for name in values}
        searched = (name for name, dimension in self._space.items() if isinstance(dimension, Range | Choice))
        return np.array([name in said for name in searched])

    def _smoothed(
        self, points: np.ndarray, values: np.ndarray, known: np.ndarray
    ) -> Callable[[np.ndarray], np.ndarray]:
        """Return the function of points ``(n, d)`` that smooths a situation's gains, along what is ``known (d,)``."""
        mean, points = float(values.mean()), points[:, known]
        weights = np.linalg.solve(self._kernel(points, points) + SMOOTHING * np.eye(len(points)), values - mean)
        return lambda at: mean + self._kernel(at[:, known], points) @ weights

    def _kernel(self, left: np.ndarray, right: np.ndarray) -> np.ndarray:
        squared = ((left[:, None] - right[None]) ** 2).sum(axis=-1)
        return np.exp(-squared / (2 * LENGTH**2 * self._dimensions))

    def _points(self, settings: Sequence[Mapping[str, Any]]) -> np.ndarray:
        """Return where settings stand in the unit cube, ``(n, d)``."""
        return np.array([position(self._space, values) for values in settings]).reshape(len(settings), -1)

    def _at(self, point: np.ndarray) -> dict[str, Any]:
        """Return the setting at a point of the unit cube."""
        shares = iter(point)
        values: dict[str, Any] = {}
        for name, dimension in self._space.items():
            if isinstance(dimension, Choice):
                place = min(int(next(shares) * len(dimension.values)), len(dimension.values) - 1)
                values[name] = dimension.values[place]
            elif isinstance(dimension, Range):
                share, low, high = float(next(shares)), dimension.low, dimension.high
                values[name] = low * (high / low) ** share if dimension.log else low + (high - low) * share
        return within(self._space, values)


def _rank_correlation(left: np.ndarray, right: np.ndarray) -> float:
    """Spearman's, 0 where one side is constant."""
    from scipy.stats import rankdata

    a, b = rankdata(left), rankdata(right)
    a, b = a - a.mean(), b - b.mean()
    size = float(np.sqrt((a @ a) * (b @ b)))
    return float(a @ b) / size if size > 0 else 0.0
