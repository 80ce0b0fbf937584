"""The speed of a sweep and the time that it has left, measured from barrier to barrier. Pure but for its clock."""

from __future__ import annotations

import heapq
import math
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from statistics import median
from typing import NamedTuple

_START_S = 3.0  # while the first rounds run, MLflow's runs are made, which takes their processors
_HALF_LIFE_S = 10.0  # of a round's weight, at least
_HALF_LIFE = 0.15  # of the time since training began: noise averages out, and a lasting change shows
_MOST_ROUNDS = 300
_EVERY_S = 0.25  # between two looks at all rounds: short rounds should not wait for them
_BUILDS = 3  # the last rounds with new models, by which those to come are estimated
_OF_PROCESS, _OF_TRIAL, _LATER = range(3)  # the first turn of its process; of its trial; neither: the fairest is last


class Part(NamedTuple):
    """One trial's turn in a round.

    Args:
        member: whose steps take about equally long.
        process: the one that ran it; processes run at the same time.
        steps: of the optimizer.
        busy_s: seconds in training and validation. In a first turn some of them may be of tracing.
        seat_s: seconds in which the model was built and traced.
        is_first: the model was built in this turn.
    """

    member: str
    process: int
    steps: int
    busy_s: float
    seat_s: float = 0.0
    is_first: bool = False


class _Round(NamedTuple):
    ended_s: float  # since training began
    seconds: float
    parts: Sequence[tuple[Part, int]]  # each with what its turn is the first of


class _Measured(NamedTuple):
    steps_per_s: float
    step_s: Mapping[str, float]  # by member
    stretch: float  # seconds of a round for each second of steps in the process that has most of them
    build_s: float  # that a new model adds to its round
    lanes: int  # trials that train at the same time
    is_rough: bool


class Pace:
    """Rounds with their times; recent ones weigh more.

    A round takes as long as the steps of its busiest process, longer by a factor for barriers and waiting, and by what
    its new models cost. Steps are timed in turns that are not the first of a trial, because first ones trace; if there
    are none, in those that are not the first of a process. The first seconds count only until there are later rounds.

    Args:
        clock: monotonic seconds.
        slots: how many trials train at the same time, at most; None if unknown.
    """

    def __init__(self, clock: Callable[[], float], slots: int | None = None) -> None:
        self._clock, self._slots = clock, slots
        self._rounds: deque[_Round] = deque(maxlen=_MOST_ROUNDS)
        self._began_s: float | None = None
        self._last_s: float | None = None
        self._processes: set[int] = set()
        self._measured: _Measured | None = None
        self._measured_s = 0.0

    def begin(self) -> None:
        """Notes that a round begins."""
        if self._last_s is None:
            self._began_s = self._last_s = self._clock()

    def end(self, parts: Sequence[Part]) -> None:
        """Takes the turns of a round that ends now."""
        self.begin()
        now, before_s = self._clock(), self._last_s or 0.0
        if now > before_s and any(part.steps > 0 for part in parts):
            graded = [(part, self._grade(part)) for part in parts if part.steps > 0]
            self._rounds.append(_Round(self.elapsed_s, now - before_s, graded))
            self._processes |= {part.process for part in parts}
            if self._measured is None or now - self._measured_s >= _EVERY_S:
                self._measured, self._measured_s = self._measure(), now
        self._last_s = now

    @property
    def steps_per_s(self) -> float | None:
        """Steps per second of all trials together, without the building of models; None before the first barrier."""
        return None if self._measured is None else self._measured.steps_per_s

    def left_s(self, lengths: Iterable[tuple[str, float]], new: int = 0) -> float | None:
        """Seconds until all trials have ended; None before the first barrier.

        Args:
            lengths: each trial's member and steps left; a free slot takes the next one.
            new: how many of them are not built yet.
        """
        if self._measured is None:
            return None
        step_s = self._measured.step_s
        average = sum(step_s.values()) / len(step_s)
        ends = [0.0] * self._measured.lanes
        for member, steps in lengths:
            heapq.heapreplace(ends, ends[0] + steps * step_s.get(member, average))
        return max(ends) * self._measured.stretch + math.ceil(new / len(ends)) * self._measured.build_s

    @property
    def is_rough(self) -> bool:
        """Whether only rounds of the first seconds, or first turns of processes, have been timed, which are slow."""
        return self._measured is not None and self._measured.is_rough

    @property
    def since_s(self) -> float:
        """Seconds since the last barrier."""
        return 0.0 if self._last_s is None else self._clock() - self._last_s

    @property
    def elapsed_s(self) -> float:
        """Seconds since the first round began."""
        return 0.0 if self._began_s is None else self._clock() - self._began_s

    def _grade(self, part: Part) -> int:
        if part.process not in self._processes:
            return _OF_PROCESS
        return _OF_TRIAL if part.is_first else _LATER

    def _measure(self) -> _Measured:
        now = self._rounds[-1].ended_s
        half_life_s = max(_HALF_LIFE_S, _HALF_LIFE * now)
        usual = [one for one in self._rounds if _is_usual(one)]
        weighted = [(one, 0.5 ** ((now - one.ended_s) / half_life_s)) for one in usual or self._rounds]
        step_s = _step_times([(one, 1.0) for one in self._rounds]) | _step_times(weighted)
        costs, seconds, steps = [], 0.0, 0.0
        work: defaultdict[int, float] = defaultdict(float)  # seconds of steps, by process
        for one, weight in weighted:
            build_s, models = _builds(one, step_s)
            costs += [build_s / models] if models else []
            seconds += weight * max(one.seconds - build_s, 1e-6)
            for part, _ in one.parts:
                steps += weight * part.steps
                work[part.process] += weight * part.steps * step_s[part.member]
        return _Measured(
            steps_per_s=steps / seconds,
            step_s=step_s,
            stretch=seconds / max(work.values()),
            build_s=median(costs[-_BUILDS:]) if costs else 0.0,
            lanes=self._lanes(),
            is_rough=not usual,
        )

    def _lanes(self) -> int:
        """How many trials train at the same time: all slots, unless several of them share a process."""
        lanes = max(len({part.process for part, _ in one.parts}) for one in self._rounds)
        trials = max(len(one.parts) for one in self._rounds)
        return lanes if self._slots is None or lanes < min(trials, self._slots) else self._slots


def _is_usual(one: _Round) -> bool:
    """Whether a round is like those to come: it began after the start, and not all of its processes traced."""
    return one.ended_s - one.seconds >= _START_S and any(grade > _OF_PROCESS for _, grade in one.parts)


def _step_times(weighted: Sequence[tuple[_Round, float]]) -> dict[str, float]:
    """Seconds a step of each member, from its fairest turns."""
    sums: dict[tuple[str, int], list[float]] = defaultdict(lambda: [0.0, 0.0])
    for one, weight in weighted:
        for part, grade in one.parts:
            both = sums[part.member, grade]
            both[0] += weight * part.busy_s
            both[1] += weight * part.steps
    return {member: max(busy_s / steps, 1e-9) for (member, _), (busy_s, steps) in sorted(sums.items())}


def _builds(one: _Round, step_s: Mapping[str, float]) -> tuple[float, int]:
    """Seconds by which new models have made a round longer, and how many the process with most of them had."""
    whole_s: defaultdict[int, float] = defaultdict(float)
    steps_s: defaultdict[int, float] = defaultdict(float)
    models: Counter[int] = Counter()
    for part, grade in one.parts:
        is_new = grade < _LATER
        models[part.process] += is_new
        whole_s[part.process] += part.seat_s + part.busy_s
        steps_s[part.process] += part.steps * step_s[part.member] if is_new else part.busy_s
    most = max(models.values())
    excess_s = max(whole_s.values()) - max(steps_s.values())
    return (min(max(0.0, excess_s), one.seconds), most) if most else (0.0, 0)
