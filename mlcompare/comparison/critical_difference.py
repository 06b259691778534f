"""Several datasets: mean ranks, Friedman's test, and which losses a critical-difference diagram joins (Demšar 2006)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from mlcompare.comparison.rows import final_scores
from mlcompare.comparison.table import RESULT_COLUMNS, check_columns, choose_metric
from mlcompare.errors import DataError

__all__ = ["CriticalDifference", "critical_difference", "scores_by_study"]


@dataclass(frozen=True)
class CriticalDifference:
    """The data of a critical-difference diagram.

    Attributes:
        ranks: loss → mean rank over the datasets (1 is best), best first.
        critical_difference: mean ranks closer than this aren't told apart (Nemenyi); None for fewer than two datasets.
        p_value: Friedman's test that all losses rank alike; None when it isn't defined.
        p_values: ``losses × losses``, Nemenyi's pairwise p-values; None likewise.
        groups: maximal sets of losses that aren't told apart, each in rank order.
        datasets: the datasets that count: those on which every loss has a score.
        studies: how many studies that is; more than datasets where several ran on the same data.
    """

    ranks: pd.Series
    critical_difference: float | None
    p_value: float | None
    p_values: pd.DataFrame | None
    groups: tuple[tuple[str, ...], ...]
    datasets: tuple[str, ...]
    studies: int


def critical_difference(
    scores: pd.DataFrame, *, higher: bool = True, level: float = 0.05, data: Mapping[str, str] | None = None
) -> CriticalDifference:
    """Rank losses over datasets.

    Args:
        scores: ``studies × losses``, one mean score each; studies with a missing score are left out.
        higher: whether larger scores are better.
        data: study → what it ran on (a name or fingerprint). Studies on the same data aren't independent: their scores
            are averaged, and they count once. Without it every study counts as a dataset of its own.

    Raises:
        DataError: fewer than two losses, or no study in which all of them have a score.
    """
    from scipy.stats import friedmanchisquare, studentized_range  # a second to import; the rest does without

    complete = scores.dropna(axis=0)
    if scores.shape[1] < 2 or complete.empty:
        raise DataError(
            "two losses and a dataset on which all of them have a score are needed",
            value=f"{scores.shape[1]} losses, {len(complete)} complete datasets", place="critical_difference",
        )  # fmt: skip
    studies = len(complete)
    if data is not None:
        complete = complete.groupby([data.get(study, study) for study in complete.index], sort=False).mean()
    ranks = complete.rank(axis=1, ascending=not higher).mean().sort_values(kind="stable")
    n, k = complete.shape
    datasets = tuple(map(str, complete.index))
    if n < 2:
        return CriticalDifference(ranks, None, None, None, (tuple(ranks.index),), datasets, studies)
    unit = math.sqrt(k * (k + 1) / (12 * n))  # Nemenyi: rank differences in this unit have a studentized range
    width = float(studentized_range.ppf(1 - level, k, np.inf)) * unit
    p_value = float(friedmanchisquare(*complete.to_numpy().T).pvalue) if k > 2 else None
    apart = np.abs(ranks.to_numpy()[:, None] - ranks.to_numpy()) / unit
    p_values = pd.DataFrame(studentized_range.sf(apart, k, np.inf), index=ranks.index, columns=ranks.index)
    return CriticalDifference(ranks, width, p_value, p_values, _groups(ranks, width), datasets, studies)


def scores_by_study(results: pd.DataFrame, metric: str | None = None) -> pd.DataFrame:
    """Return the mean test score of each tuned loss in each study, ``studies × losses``, NaN where it has none.

    Args:
        results: the results tables of several studies, one below the other.
        metric: by default the objective that the trials share.
    """
    check_columns(results, RESULT_COLUMNS, place="scores_by_study")
    scores = final_scores(results[results["family"] != "baseline"], choose_metric(results, metric), "selected")
    of_folds = scores.groupby(["study", "loss", "fold"], dropna=False, sort=False)["value"].mean().reset_index()
    return of_folds.pivot_table(index="study", columns="loss", values="value", aggfunc="mean", sort=False)


def _groups(ranks: pd.Series, width: float) -> tuple[tuple[str, ...], ...]:
    names, values, groups, reached = list(ranks.index), ranks.to_numpy(), [], 0
    for start in range(len(names)):
        end = int(np.searchsorted(values, values[start] + width, side="right"))
        if end > reached:  # not inside the group before it
            groups.append(tuple(names[start:end]))
            reached = end
    return tuple(groups)
