"""What a person sees while a study runs: a bar, the time that is left, and the best value so far of each loss."""

from __future__ import annotations

import time
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn, TimeElapsedColumn
from rich.text import Text

from mlcompare.study.notebook import NotebookBar
from mlcompare.study.remaining import Remaining

__all__ = ["ProgressObserver"]

LINE_EVERY = 20.0  # seconds between lines where there is no terminal
COUNT_EVERY = 1.0  # seconds between two counts of what is left


def clock(seconds: float) -> str:
    """Return a duration as a clock shows it.

    >>> clock(75.4)
    '1:15'
    >>> clock(3600 + 75)
    '1:01:15'
    """
    minutes, rest = divmod(round(max(seconds, 0.0)), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


class _LeftColumn(ProgressColumn):
    """The time that is left, counted down between two trainings."""

    def render(self, task: Task) -> Text:
        ends = task.fields["ends"]
        return Text("" if ends is None else f"{clock(ends - time.monotonic())} left", style="cyan")


class ProgressObserver:
    """A bar on a terminal and in a notebook; elsewhere a line now and then."""

    def __init__(self, console: Console, remaining: Remaining, done: int, *, maximize: bool = True) -> None:
        self._console, self._better = console, (lambda a, b: a > b) if maximize else (lambda a, b: a < b)
        self._best: dict[str, float] = {}
        self._remaining, self._total, self._counted = remaining, remaining.total, time.monotonic()
        self._ends: float | None = None
        self._count, self._last_line, self._failed = done, time.monotonic(), 0
        self._bar = None
        self._cell = NotebookBar() if console.is_jupyter else None
        if console.is_terminal and not self._cell:
            columns = (
                BarColumn(bar_width=24), MofNCompleteColumn(), TimeElapsedColumn(), _LeftColumn(),
                TextColumn("{task.description}", markup=False),
            )  # fmt: skip
            self._bar = Progress(*columns, console=console)
            self._task = self._bar.add_task("", total=self._total, completed=done, ends=None)

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
        self._count_left()
        if self._cell:
            self._cell.draw(self._count, self._total, " ".join(filter(None, (self._left(), self._summary(99)))))
        elif self._bar:
            described = self._summary()
            self._bar.update(
                self._task, completed=self._count, total=self._total, description=described, ends=self._ends
            )
        elif time.monotonic() - self._last_line > LINE_EVERY or self._count == self._total:
            self._last_line = time.monotonic()
            best = self._summary(99)
            parts = [f"{self._count}/{self._total} trainings", self._left(), f"best so far: {best}" if best else ""]
            self._console.print(", ".join(filter(None, parts)), soft_wrap=True, markup=False)

    def _count_left(self) -> None:
        """Ask now and then, and at the end, how much is left: large studies take a while to count."""
        now = time.monotonic()
        if self._ends is None or now - self._counted > COUNT_EVERY or self._count >= self._total:
            seconds = self._remaining.seconds()
            self._total, self._ends = self._remaining.total, None if seconds is None else now + seconds
            self._counted = now

    def _left(self) -> str:
        if self._ends is None or self._count >= self._total:
            return ""
        return f"about {clock(self._ends - time.monotonic())} left"

    def trial_done(self, loss: str, trial: int, objective: float | None, records: list[dict[str, Any]]) -> None:
        if objective is not None and (loss not in self._best or self._better(objective, self._best[loss])):
            self._best[loss] = objective

    def _summary(self, most: int = 3) -> str:
        ranked = sorted(self._best.items(), key=lambda item: item[1])
        ranked = ranked[::-1] if self._better(1, 0) else ranked
        text = "  ".join(f"{name} {value:.3f}" for name, value in ranked[:most])
        more = f"  +{len(ranked) - most}" if len(ranked) > most else ""
        return text + more + (f"  ({self._failed} failed)" if self._failed else "")
