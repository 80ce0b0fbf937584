"""What a store still lacks at a sweep's end, and how fast it takes it: a line, from time to time."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from time import monotonic

from runner.tracking.ledger import HOME, Ledger, is_ready

_PAUSE_S = 1.0
_SHARE = 20  # a look takes at most so small a part of the time


class Left:
    """Looks into the journal of `folder` and tells what is left.

    Args:
        folder: the sweep's folder.
        tell: called with a line.
        clock: monotonic seconds.
    """

    def __init__(self, folder: Path, tell: Callable[[str], None], clock: Callable[[], float] = monotonic) -> None:
        self._folder, self._tell, self._clock = folder, tell, clock
        self._first: tuple[float, int, int] | None = None
        self.pause_s = _PAUSE_S
        """Seconds until the next look is due."""

    def look(self) -> None:
        """Tells what is left now; nothing where the journal cannot be read just now."""
        began_s = self._clock()
        with suppress(sqlite3.OperationalError):
            if is_ready(self._folder):
                with Ledger(self._folder, HOME) as ledger:
                    metrics, runs = ledger.missing()
                self._tell(self._line(began_s, metrics, runs))
        self.pause_s = max(_PAUSE_S, _SHARE * (self._clock() - began_s))

    def _line(self, now_s: float, metrics: int, runs: int) -> str:
        if self._first is None:
            self._first = now_s, metrics, runs
        began_s, metrics_then, runs_then = self._first
        took_s = now_s - began_s
        line = f"left to send to MLflow: the end of {_counted(runs, 'run')}, {_counted(metrics, 'metric value')}"
        if took_s <= 0:
            return line
        paces = [(runs_then - runs) / took_s, (metrics_then - metrics) / took_s]
        line += f" · {max(0.0, paces[0]):.1f} runs/s, {max(0.0, paces[1]):.0f} values/s"
        left = [count / pace for count, pace in zip((runs, metrics), paces, strict=True) if count and pace > 0]
        return line + (f" · about {max(left):.0f} s left" if left else "")


def _counted(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"
