"""The part of a run that counts: from the first mark, after everything is compiled, to the last."""

from __future__ import annotations

import time
from collections.abc import Callable


class Window:
    """Marks points in time, with the energy taken until then.

    Args:
        seconds: it is full once this time lies between two marks.
        energy_j: reads the energy, joules; None if it is unknown.
        clock: seconds that only grow.
    """

    def __init__(
        self, seconds: float, energy_j: Callable[[], float | None], clock: Callable[[], float] = time.perf_counter
    ) -> None:
        self._wanted_s, self._energy_j, self._clock = seconds, energy_j, clock
        self._marks: list[tuple[float, float | None]] = []

    def mark(self) -> None:
        """Marks this moment; the first and the last mark bound the window."""
        self._marks = [*self._marks[:1], (self._clock(), self._energy_j())]

    @property
    def is_full(self) -> bool:
        """Whether it is as long as wanted."""
        return len(self._marks) == 2 and self.seconds >= self._wanted_s

    @property
    def seconds(self) -> float:
        """Its length.

        Raises:
            ValueError: it has no two marks.
        """
        if len(self._marks) < 2:
            raise ValueError(f"{len(self._marks)} marks: nothing was measured after the first round")
        return self._marks[-1][0] - self._marks[0][0]

    @property
    def joules(self) -> float | None:
        """The energy taken; None if the GPU does not count it."""
        before, after = self._marks[0][1], self._marks[-1][1]
        return None if before is None or after is None else after - before
