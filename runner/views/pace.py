"""The speed of a sweep and the time that it has left, measured from barrier to barrier. Pure but for its clock."""

from __future__ import annotations

import heapq
import math
from collections import deque
from collections.abc import Callable, Iterable
from statistics import median
from typing import NamedTuple

_HALF_LIFE_S = 10.0  # of a round's weight, at least
_HALF_LIFE = 0.15  # of the time since training began: noise averages out, and a lasting change shows
_MOST_ROUNDS = 1000
_BUILDS = 3  # the last rounds with new models, by which those to come are estimated


class _Round(NamedTuple):
    ended_s: float
    seconds: float
    steps: int
    slots: int


class Pace:
    """Rounds with their times; recent ones weigh more.

    The first round counts only until there is a second one, because it builds and traces the first models.

    Args:
        clock: monotonic seconds.
        slots: how many trials train at the same time, at most; None if unknown.
    """

    def __init__(self, clock: Callable[[], float], slots: int | None = None) -> None:
        self._clock, self._slots = clock, slots
        self._rounds: deque[_Round] = deque(maxlen=_MOST_ROUNDS)
        self._began_s: float | None = None
        self._last_s: float | None = None
        self._barriers = 0
        self._builds: deque[float] = deque(maxlen=_BUILDS)

    def begin(self) -> None:
        """Notes that a round begins."""
        if self._last_s is None:
            self._began_s = self._last_s = self._clock()

    def end(self, steps: int, trials: int, build_s: float = 0.0) -> None:
        """Takes a round.

        Args:
            steps: optimizer steps of all trials in it.
            trials: how many had a turn.
            build_s: seconds in which its models were built and traced. They count apart, because a later trial may use
                what an earlier one has traced.
        """
        now = self._clock()
        if self._barriers == 1:
            self._rounds.clear()  # of the first round
        if self._last_s is not None and steps > 0 and now > self._last_s:
            slots = trials if self._slots is None else min(trials, self._slots)
            self._rounds.append(_Round(now, max(now - self._last_s - build_s, 1e-6), steps, max(1, slots)))
        if build_s > 0:
            self._builds.append(build_s)
        self._barriers += 1
        self._last_s = now
        self._began_s = now if self._began_s is None else self._began_s

    @property
    def steps_per_s(self) -> float | None:
        """Steps per second of all trials together; None before the first barrier."""
        steps, seconds, _ = self._sums()
        return steps / seconds if seconds else None

    def left_s(self, lengths: Iterable[float], new: int = 0) -> float | None:
        """Seconds until trials with this many steps left have ended, one a slot; `new` are not built yet."""
        steps, _, slot_seconds = self._sums()
        if not steps:
            return None
        ends = [0.0] * (self._slots or self._rounds[-1].slots)
        for length in lengths:
            heapq.heapreplace(ends, ends[0] + length)
        build_s = median(self._builds) if self._builds else 0.0
        return max(ends) * slot_seconds / steps + math.ceil(new / len(ends)) * build_s

    @property
    def knows_only_the_first(self) -> bool:
        """Whether only the first round has been measured, in which models are traced too."""
        return self._barriers == 1

    @property
    def since_s(self) -> float:
        """Seconds since the last barrier."""
        return 0.0 if self._last_s is None else self._clock() - self._last_s

    @property
    def elapsed_s(self) -> float:
        """Seconds since the first round began."""
        return 0.0 if self._began_s is None else self._clock() - self._began_s

    def _sums(self) -> tuple[float, float, float]:
        """Steps, seconds, and seconds of slots, weighted."""
        if not self._rounds or self._began_s is None:
            return 0.0, 0.0, 0.0
        now = self._rounds[-1].ended_s
        half_life_s = max(_HALF_LIFE_S, _HALF_LIFE * (now - self._began_s))
        sums = [0.0, 0.0, 0.0]
        for one in list(self._rounds):  # another thread may ask
            weight = 0.5 ** ((now - one.ended_s) / half_life_s)
            for place, value in enumerate((one.steps, one.seconds, one.seconds * one.slots)):
                sums[place] += weight * value
        return sums[0], sums[1], sums[2]
