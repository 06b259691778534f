"""What a person sees while a study runs: a bar, and the best value so far of each loss."""

from __future__ import annotations

import time
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from mlcompare.study.notebook import NotebookBar

__all__ = ["ProgressObserver"]

LINE_EVERY = 20.0  # seconds between lines where there is no terminal


class ProgressObserver:
    """A bar on a terminal and in a notebook; elsewhere a line now and then."""

    def __init__(self, console: Console, total: int, done: int, *, maximize: bool = True) -> None:
        self._console, self._better = console, (lambda a, b: a > b) if maximize else (lambda a, b: a < b)
        self._best: dict[str, float] = {}
        self._total, self._count, self._last_line, self._failed = total, done, time.monotonic(), 0
        self._bar = None
        self._cell = NotebookBar() if console.is_jupyter else None
        if console.is_terminal and not self._cell:
            columns = (
                BarColumn(bar_width=24), MofNCompleteColumn(), TimeElapsedColumn(), TextColumn("eta"),
                TimeRemainingColumn(), TextColumn("{task.description}", markup=False),
            )  # fmt: skip
            self._bar = Progress(*columns, console=console)
            self._task = self._bar.add_task("", total=total, completed=done)

    def __enter__(self) -> ProgressObserver:
        if self._bar:
            self._bar.start()
        return self

    def __exit__(self, *_exc: object) -> None:
        if self._bar:
            self._bar.stop()

    def job_done(self, record: dict[str, Any]) -> None:
        self._count += 1
        self._failed += record["status"] == "failed"
        self._total = max(self._total, self._count)
        if self._cell:
            self._cell.draw(self._count, self._total, self._summary(99))
        elif self._bar:
            self._bar.update(self._task, completed=self._count, total=self._total, description=self._summary())
        elif time.monotonic() - self._last_line > LINE_EVERY or self._count == self._total:
            self._last_line = time.monotonic()
            best = self._summary(99)
            told = f"{self._count}/{self._total} trainings" + (f", best so far: {best}" if best else "")
            self._console.print(told, soft_wrap=True, markup=False)

    def trial_done(self, loss: str, trial: int, objective: float | None, records: list[dict[str, Any]]) -> None:
        if objective is not None and (loss not in self._best or self._better(objective, self._best[loss])):
            self._best[loss] = objective

    def _summary(self, most: int = 3) -> str:
        ranked = sorted(self._best.items(), key=lambda item: item[1])
        ranked = ranked[::-1] if self._better(1, 0) else ranked
        text = "  ".join(f"{name} {value:.3f}" for name, value in ranked[:most])
        more = f"  +{len(ranked) - most}" if len(ranked) > most else ""
        return text + more + (f"  ({self._failed} failed)" if self._failed else "")
