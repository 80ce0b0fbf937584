"""Reports what a store still lacks at a sweep's end, and how fast it takes it."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from time import monotonic

from runner.tracking.ledger import HOME, Ledger, is_ready

_PAUSE_S = 1.0
_LOOK_SHARE = 20  # a look takes at most a twentieth of the time


class BacklogReporter:
    """Measures the backlog of a sweep's own store from time to time.

    Args:
        folder: the sweep's folder.
        on_backlog: called with a line for a person.
        clock: monotonic seconds.
    """

    def __init__(self, folder: Path, on_backlog: Callable[[str], None], clock: Callable[[], float] = monotonic) -> None:
        self._folder, self._on_backlog, self._clock = folder, on_backlog, clock
        self._first: tuple[float, int, int] | None = None
        self.pause_s = _PAUSE_S
        """Seconds until the next report is due."""

    def report(self) -> None:
        """Reports the backlog; does nothing if the journal cannot be read at the moment."""
        began_s = self._clock()
        with suppress(sqlite3.OperationalError):
            if is_ready(self._folder):
                with Ledger(self._folder, HOME) as ledger:
                    metrics, runs = ledger.missing()
                self._on_backlog(self._line(began_s, metrics, runs))
        self.pause_s = max(_PAUSE_S, _LOOK_SHARE * (self._clock() - began_s))

    def _line(self, now_s: float, metrics: int, runs: int) -> str:
        if self._first is None:
            self._first = now_s, metrics, runs
        began_s, metrics_then, runs_then = self._first
        took_s = now_s - began_s
        counts = [f"the end of {_counted(runs, 'run')}"] if runs else []
        counts += [_counted(metrics, "metric value")] if metrics else []
        line = f"left to send to MLflow: {', '.join(counts or ['the run of the sweep'])}"
        if took_s <= 0:
            return line
        rates = [(runs_then - runs) / took_s, (metrics_then - metrics) / took_s]
        speeds = [f"{rates[0]:.1f} runs/s"] if runs and rates[0] > 0 else []
        speeds += [f"{rates[1]:.0f} values/s"] if metrics and rates[1] > 0 else []
        line += f" · {', '.join(speeds)}" if speeds else ""
        left_s = [count / rate for count, rate in zip((runs, metrics), rates, strict=True) if count and rate > 0]
        return line + (f" · about {max(left_s):.0f} s left" if left_s else "")


def _counted(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"
