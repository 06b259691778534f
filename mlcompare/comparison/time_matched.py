"""Who is ahead after equal seconds: a ranking at equal steps favours losses whose steps take long."""

from __future__ import annotations

import numpy as np
import pandas as pd

from mlcompare.comparison.still_rising import learning_curves
from mlcompare.metrics import higher_is_better

__all__ = ["time_matched"]

COLUMNS = ("loss", "seconds", "step", "value", "rank", "value_at_end", "rank_at_end")


def time_matched(results: pd.DataFrame) -> pd.DataFrame:
    """Return a row for each loss with a learning curve, the best after equal seconds first.

    The seconds are those of the fastest loss's training (the mean over final trainings of its selected setting). Each
    other loss is read from its curve, on validation samples, at the step that it reaches in that time.

    Returns:
        ``loss``; ``seconds``, of one whole training; ``step``, reached in the fastest loss's seconds; ``value`` there,
        NaN where the curve was not measured so early; its ``rank`` (1 is best, equal values share the better one); and
        ``value_at_end`` and ``rank_at_end`` after all steps.

    >>> final = {"kind": "final", "source": "selected", "split": "test", "metric": "map_at_r", "status": "ok"}
    >>> rows = [{**final, "loss": loss, "fold": 0, "seed": 0, "trial": 1, "seconds": s, "value": 0.5, "step": 4}
    ...         for loss, s in (("fast", 1.0), ("slow", 2.0))]
    >>> rows += [{**row, "kind": "curve", "split": "validation", "step": step, "value": value, "seconds": None}
    ...          for row, values in zip(list(rows), ((0.3, 0.4), (0.35, 0.5))) for step, value in zip((2, 4), values)]
    >>> time_matched(pd.DataFrame(rows))[["loss", "step", "value", "rank", "rank_at_end"]].to_numpy().tolist()
    [['fast', 4.0, 0.4, 1, 2], ['slow', 2.0, 0.35, 2, 1]]
    """
    curves = learning_curves(results)
    chosen = (results["kind"] == "final") & (results["source"] == "selected") & (results["status"] == "ok")
    finals = results[chosen].drop_duplicates(["loss", "fold", "seed"])
    seconds = finals.groupby("loss")["seconds"].mean()
    seconds = seconds[[loss in curves and value > 0 for loss, value in seconds.items()]].dropna()
    if seconds.empty:
        return pd.DataFrame(columns=list(COLUMNS))
    rows = []
    for loss, whole in seconds.items():
        curve = curves[str(loss)]
        step = curve.step[-1] * float(seconds.min()) / float(whole)
        value = float(np.interp(step, curve.step, curve.value, left=np.nan))
        rows.append((loss, float(whole), step, value, curve.value[-1]))
    frame = pd.DataFrame(rows, columns=["loss", "seconds", "step", "value", "value_at_end"])
    ascending = not higher_is_better(str(results.loc[results["kind"] == "curve", "metric"].iloc[0]))
    for name in ("rank", "rank_at_end"):
        values = frame[name.replace("rank", "value")]
        frame[name] = values.rank(ascending=ascending, method="min", na_option="bottom").astype(int)
    return frame.sort_values("rank", kind="stable", ignore_index=True)[list(COLUMNS)]
