"""How long steps take, when a call ends and when a turn ends."""

from __future__ import annotations

import math
import time
from collections.abc import Callable

CALL_S = 0.5  # a turn runs as calls of about this length, so that it can be interrupted between two of them
LONGEST_S = 5.0  # a turn of several epochs ends with the epoch in which it passes this: its size was another trial's
_MEASURE_S = 0.25  # long enough to tell graph from XLA, and models from each other: they differ by factors

Clock = Callable[[], float]
"""Returns seconds since any fixed moment."""


class TurnClock:
    """Decides how many steps a call has and whether a turn is overdue, from the seconds that it is given.

    Args:
        now: the clock that those who measure for it use.

    Attributes:
        compute_s: seconds of the turn inside training steps.
        evaluate_s: seconds of the turn inside validation.
    """

    def __init__(self, now: Clock = time.perf_counter) -> None:
        self.now = now
        self.compute_s, self.evaluate_s = 0.0, 0.0
        self._step_s: float | None = None  # of the last call; it stays from turn to turn
        self._longest_s = math.inf

    def begin(self, *, is_limited: bool) -> None:
        """Begins a turn, or the rest of an interrupted one.

        Args:
            is_limited: the turn is overdue after `LONGEST_S`; otherwise never.
        """
        self.compute_s, self.evaluate_s = 0.0, 0.0
        self._longest_s = LONGEST_S if is_limited else math.inf

    def steps_of_call(self) -> int:
        """How many steps the next call should have: one if none has been timed yet."""
        return 1 if self._step_s is None else max(1, int(CALL_S / self._step_s))

    def add_call(self, steps: int, *, steps_s: float, whole_s: float) -> None:
        """Adds a call.

        Args:
            steps: its number of steps.
            steps_s: seconds that these took.
            whole_s: seconds of the call with what comes before its steps.
        """
        self._step_s = steps_s / steps
        self.compute_s += whole_s

    def add_validation(self, seconds: float) -> None:
        """Adds a validation."""
        self.evaluate_s += seconds

    @property
    def is_overdue(self) -> bool:
        """Whether the turn should end with the epoch that has just ended."""
        return self.compute_s + self.evaluate_s > self._longest_s


def step_time_s(run: Callable[[int], object], now: Clock = time.perf_counter) -> float:
    """Seconds a step: the least of several calls, each of twice as many steps, that take `_MEASURE_S` together.

    The first call may wait for a pipeline that begins to read, and any call for another process.

    Args:
        run: runs this number of steps and waits until they are done.
        now: the clock.
    """
    least_s, total_s, count = math.inf, 0.0, 1
    while total_s < _MEASURE_S:
        began = now()
        run(count)
        seconds = now() - began
        least_s, total_s, count = min(least_s, seconds / count), total_s + seconds, 2 * count
    return least_s
