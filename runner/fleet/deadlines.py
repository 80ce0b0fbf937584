"""Time limits of workers' calls: a worker that takes longer is considered hung."""

from __future__ import annotations

import statistics
import time
from collections import defaultdict, deque
from collections.abc import Iterable
from dataclasses import dataclass, field

from runner.records import Report, Trial

_WINDOW = 101  # last turns of a trial
_ANSWER_FRACTION = 0.9  # of the limit
_TIMES_MEDIAN = 10
_TIMES_LONGEST = 2  # a turn with validation takes longer than the median


def answer_by_s(limit_s: float) -> float:
    """Unix time in seconds by which a worker that is called now must answer to be within the limit."""
    return time.time() + _ANSWER_FRACTION * limit_s


@dataclass(kw_only=True)
class Deadlines:
    """Time limits of turns, from the durations of each trial's earlier turns in its present seat.

    Args:
        first_s: limit of work that builds, traces or compiles: a seat's first turn and first validation, a check, an
            export.
        later_s: lower bound for the limits of all other turns.
    """

    first_s: float = 600.0
    later_s: float = 30.0
    _turns: dict[str, deque[float]] = field(default_factory=lambda: defaultdict(lambda: deque(maxlen=_WINDOW)))
    _steps_per_epoch: dict[str, int] = field(default_factory=dict)
    _last: dict[str, Report] = field(default_factory=dict)
    _seated: dict[str, int] = field(default_factory=dict)  # epochs completed before the seat's first report

    def limit_s(self, trials: Iterable[Trial]) -> float:
        """Limit in seconds for a turn of each of these trials, one after another."""
        return sum(self._limit_s(trial) for trial in trials)

    def learn(self, report: Report) -> None:
        """Records the duration of a completed turn."""
        self._turns[report.trial_id].append(report.turn.ended_s - report.turn.started_s)
        self._last[report.trial_id] = report
        self._seated.setdefault(report.trial_id, report.epoch - len(report.epochs))
        if report.facts is not None:
            self._steps_per_epoch[report.trial_id] = report.facts.steps_per_epoch

    def learn_all(self, answers: Iterable[object]) -> None:
        """Records the completed turns among these answers."""
        for answer in answers:
            if isinstance(answer, Report):
                self.learn(answer)

    def forget(self, trial: Trial) -> None:
        """Drops the trial's turns because it lost its seat: its next turn is the first of a new seat."""
        self._turns.pop(trial.id, None)
        self._last.pop(trial.id, None)
        self._seated.pop(trial.id, None)

    def _limit_s(self, trial: Trial) -> float:
        turns = self._turns.get(trial.id)
        if not turns or self._validates_first(trial):
            return self.first_s
        return max(self.later_s, _TIMES_MEDIAN * statistics.median(turns), _TIMES_LONGEST * max(turns))

    def _validates_first(self, trial: Trial) -> bool:
        """Whether the next turn may end with the first validation of its seat, which TensorFlow traces."""
        last, train = self._last[trial.id], trial.train
        validations = last.epoch // train.validate_every
        if validations > self._seated[trial.id] // train.validate_every:
            return False
        length = self._steps_per_epoch.get(trial.id)
        if length is None:
            return True
        return last.step + train.steps_in_turn(length, last.step) >= length * train.validate_every * (validations + 1)
