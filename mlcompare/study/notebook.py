"""What a notebook shows of a study: a bar below the cell while it runs, and its results as a table."""

from __future__ import annotations

import time
from html import escape
from pathlib import Path
from typing import Any

import pandas as pd
from rich.console import Console

__all__ = ["NotebookBar", "notebook_console", "results_html"]

DRAW_EVERY = 0.5  # seconds


def notebook_console() -> Console | None:
    """Return where a notebook shows progress; None outside of one."""
    console = Console()
    return console if console.is_jupyter else None


class NotebookBar:
    """A bar that is drawn over itself."""

    def __init__(self) -> None:
        self._shown: Any = None
        self._drawn = 0.0

    def draw(self, count: int, total: int, told: str) -> None:
        """Show how much is done, at most twice a second, and the end always."""
        if self._shown is not None and count < total and time.monotonic() - self._drawn < DRAW_EVERY:
            return
        from IPython.display import HTML, display

        self._drawn = time.monotonic()
        bar = HTML(f'<progress value="{count}" max="{total}"></progress> {count}/{total} trainings {escape(told)}')
        if self._shown is None:
            self._shown = display(bar, display_id=True)
        else:
            self._shown.update(bar)


def results_html(store: Path, objective: str) -> str:
    """Return the mean of each loss on the sealed samples, selected and default setting, the best first."""
    from mlcompare.metrics import higher_is_better

    try:
        rows = pd.read_parquet(store / "results.parquet")
    except OSError:
        return ""
    rows = rows[rows["kind"].isin(["final", "baseline"]) & (rows["status"] == "ok") & (rows["metric"] == objective)]
    if rows.empty:
        return "<p>No final training has a result.</p>"
    tuned = rows[rows["source"].fillna("").str.contains("selected") | (rows["kind"] == "baseline")]
    table = pd.DataFrame(
        {
            "selected": tuned.groupby("loss")["value"].mean(),
            "default": rows[rows["source"].fillna("").str.contains("default")].groupby("loss")["value"].mean(),
        }
    ).sort_values("selected", ascending=not higher_is_better(objective))
    table.insert(0, "family", rows.groupby("loss")["family"].first())
    caption = f"<p>Mean {escape(objective)} on the sealed samples; "
    caption += "<code>compare(outcome.store)</code> tells which can be told apart.</p>"
    return caption + table.rename_axis("loss").reset_index().to_html(index=False, float_format="%.3f", na_rep="–")
