"""How much time is left, and what fits into it. Pure but for an injectable clock."""

from __future__ import annotations

import time
from collections.abc import Callable

from benchmarks.gpu.cases import Case

_FIRST_GUESS_S = {"fit": 30.0, "in turns": 40.0, "stacked": 50.0, "time slicing": 60.0, "MPS": 60.0}
_PART = 0.25  # of the time, which no case exceeds: XLA may take minutes to compile one
_LEAST_S = 60.0  # which every case may take


class Budget:
    """The time of a whole benchmark, and the seconds that its cases took.

    Args:
        seconds: of all.
        clock: seconds that only grow.
    """

    def __init__(self, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock, self._end = clock, clock() + seconds
        self._most_s = max(_LEAST_S, seconds * _PART)
        self._took: dict[tuple[str, str, int], float] = {}

    @property
    def left_s(self) -> float:
        """Seconds left, never below 0."""
        return max(0.0, self._end - self._clock())

    @property
    def limit_s(self) -> float:
        """Seconds after which a case that begins now must have ended."""
        return min(self._most_s, self.left_s)

    def fits(self, case: Case) -> bool:
        """Whether a case probably ends in time."""
        return self.expected_s(case) <= self.left_s

    def expected_s(self, case: Case) -> float:
        """Seconds that a case probably takes: as before; else as the longest of the same way; else a guess."""
        key = (case.workload, case.how, case.models)
        alike = [seconds for (_, how, _), seconds in self._took.items() if how == case.how]
        return self._took.get(key) or max(alike, default=_FIRST_GUESS_S[case.how])

    def took(self, case: Case, seconds: float) -> None:
        """Learns what a case took."""
        key = (case.workload, case.how, case.models)
        self._took[key] = max(seconds, self._took.get(key, 0.0))
