"""How long a worker may take before it is taken to hang."""

from __future__ import annotations

import statistics
import time
from collections import defaultdict, deque
from collections.abc import Iterable
from dataclasses import dataclass, field

from runner.records import Report, Trial

_REMEMBERED = 101  # turns of a trial
_PART_OF_LIMIT = 0.9
_TIMES_MEDIAN = 10
_TIMES_LONGEST = 2  # a turn with validation takes longer than the median


def answer_by_s(limit_s: float) -> float:
    """Seconds since the epoch by which a worker that is asked now has to answer, to be heard within the limit."""
    return time.time() + _PART_OF_LIMIT * limit_s


@dataclass(kw_only=True)
class Patience:
    """Limits from what a trial's turns have taken so far.

    Args:
        first_s: for work that builds, traces or compiles: a seat's first turn and first validation, a check, an export.
        later_s: least limit of the other turns.
    """

    first_s: float = 600.0
    later_s: float = 30.0
    _turns: dict[str, deque[float]] = field(default_factory=lambda: defaultdict(lambda: deque(maxlen=_REMEMBERED)))
    _steps_per_epoch: dict[str, int] = field(default_factory=dict)
    _last: dict[str, Report] = field(default_factory=dict)
    _seated: dict[str, int] = field(default_factory=dict)  # epochs that were over before what its seat has reported

    def limit_s(self, trials: Iterable[Trial]) -> float:
        """Most seconds for the turns of these trials, one after another."""
        return sum(self._limit_s(trial) for trial in trials)

    def learn(self, report: Report) -> None:
        """Takes in a turn that has ended."""
        self._turns[report.trial_id].append(report.turn.ended_s - report.turn.started_s)
        self._last[report.trial_id] = report
        self._seated.setdefault(report.trial_id, report.epoch - len(report.epochs))
        if report.facts is not None:
            self._steps_per_epoch[report.trial_id] = report.facts.steps_per_epoch

    def learn_all(self, answers: Iterable[object]) -> None:
        """Takes in the turns among these answers."""
        for answer in answers:
            if isinstance(answer, Report):
                self.learn(answer)

    def forget(self, trial: Trial) -> None:
        """The trial has lost its seat: its next turn is a first one."""
        self._turns.pop(trial.id, None)
        self._last.pop(trial.id, None)
        self._seated.pop(trial.id, None)

    def _limit_s(self, trial: Trial) -> float:
        turns = self._turns.get(trial.id)
        if not turns or self._validates_first(trial):
            return self.first_s
        return max(self.later_s, _TIMES_MEDIAN * statistics.median(turns), _TIMES_LONGEST * max(turns))

    def _validates_first(self, trial: Trial) -> bool:
        """Whether the next turn may be the first of its seat to end with a validation, which is traced there."""
        last, train = self._last[trial.id], trial.train
        validations = last.epoch // train.validate_every
        if validations > self._seated[trial.id] // train.validate_every:
            return False
        length = self._steps_per_epoch.get(trial.id)
        if length is None:
            return True
        return last.step + train.steps_in_turn(length, last.step) >= length * train.validate_every * (validations + 1)
