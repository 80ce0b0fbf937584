"""A running sweep as plain lines, for logs and pipes: few, each with its time, easy to search."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Self

from rich.console import Console

from runner.records import Clone, Failure, Report, Trial, Verdict
from runner.views.numbers import number
from runner.views.progress import Progress, Row
from runner.views.table import settings_text, summary_line

_BETWEEN_S = 30.0


class Lines:
    """A line for each trial that ends or goes on from another, and one for the whole sweep every thirty seconds.

    Args:
        console: of the log.
        progress: what it shows.
        clock: monotonic seconds.
        stamp: the time that each line begins with.
    """

    def __init__(
        self,
        console: Console,
        progress: Progress,
        clock: Callable[[], float] = time.monotonic,
        stamp: Callable[[], str] = lambda: time.strftime("%Y-%m-%d %H:%M:%S"),
    ) -> None:
        self._console, self._progress, self._clock, self._stamp = console, progress, clock, stamp
        self._said_s = clock()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        pass

    def begin(self, trial_ids: Sequence[str]) -> None:
        """As `Watcher.begin`."""
        self._progress.begin(trial_ids)

    def add(self, trials: Sequence[Trial]) -> None:
        """As `Watcher.add`."""
        self._progress.add(trials)

    def clone(self, trial: Trial, clone: Clone) -> None:
        """As `Watcher.clone`."""
        self._progress.clone(trial, clone)
        settings = settings_text(self._progress.rows[trial.id])
        self.line(f"trial {trial.id} goes on from {clone.parent} after epoch {clone.epoch}: {settings}")

    def show(self, reports: Mapping[str, Report | Failure], verdicts: Mapping[str, Verdict]) -> None:
        """As `Watcher.show`."""
        self._progress.update(reports, verdicts)
        for row in map(self._progress.rows.__getitem__, verdicts):
            if row.has_ended:
                self.line(_ended(row, self._progress.metric))
        if self._clock() - self._said_s >= _BETWEEN_S:
            self._said_s = self._clock()
            self.line(f"progress {self._progress.share_done():.0%} · {summary_line(self._progress)}")

    def line(self, text: str) -> None:
        """Prints a line with the time."""
        self._console.print(f"{self._stamp()} {text}", markup=False, highlight=False, soft_wrap=True)


def _ended(row: Row, metric: str) -> str:
    if row.state == "failed":
        return f"trial {row.trial.id} FAILED {row.message}"
    head = f"trial {row.trial.id} {row.state} after epoch {row.epoch}/{row.trial.train.epochs}"
    parts = [head, f"{metric} {number(row.score)}", settings_text(row), row.message]
    return " · ".join(filter(None, parts))
