"""The state of a running sweep, updated at each barrier. Pure: `live` draws it."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from runner.records import Clone, Failure, Goal, Report, Trial, Verdict
from runner.views.pace import Pace, Part

State = Literal["queued", "running", "paused", "complete", "stopped", "failed"]
OPEN = ("queued", "running", "paused")
_ENDED: dict[str, State] = {"complete": "complete", "stop": "stopped", "fail": "failed"}
_MOST_VALUES = 400  # of a trial's curve


@dataclass(kw_only=True, slots=True)
class Row:
    """One trial's row.

    Args:
        value: the sweep's metric at the last epoch that reported it.
        score: the metric of the model that the trial would have if it ended now: with the last epoch's weights, or with
            the best epoch's if `early_stopping.restore_best` is set. None if there is no finite value.
        kept: whether a best epoch's weights are kept.
        values: the sweep's metric by epoch, thinned out if there are many.
    """

    trial: Trial
    state: State = "queued"
    round: int = 0
    step: int = 0
    total_steps: int | None = None
    epoch: int = 0
    loss: float | None = None
    value: float | None = None
    score: float | None = None
    kept: bool = False
    steps_per_s: float | None = None
    message: str = ""
    values: list[float] = field(default_factory=list)

    @property
    def has_ended(self) -> bool:
        """Whether the trial trains no more."""
        return self.state not in OPEN

    @property
    def restores_best(self) -> bool:
        """Whether the model may have the weights of an earlier epoch than the last."""
        rule = self.trial.train.early_stopping
        return rule is not None and rule.restore_best


@dataclass(kw_only=True)
class Progress:
    """All trials' rows and the sweep's speed.

    Args:
        trials: all trials of the sweep, in order.
        metric: the sweep's metric.
        goal: whether a larger value of it is better.
        clock: monotonic seconds.
        slots: how many trials train at the same time, at most; None if unknown.
        most_trials: how many trials there will be, with those that are proposed later.
        may_end_early: a rule may end trials before their last epoch, so that the time left is an upper bound.
        steps_per_epoch: of each member's first trial, by member, as the check has found it.
    """

    trials: Sequence[Trial]
    metric: str
    goal: Goal
    clock: Callable[[], float]
    slots: int | None = None
    most_trials: int = 0
    may_end_early: bool = False
    steps_per_epoch: Mapping[str, int] = field(default_factory=dict)
    rows: dict[str, Row] = field(init=False)

    def __post_init__(self) -> None:
        self.rows = {trial.id: Row(trial=trial) for trial in self.trials}
        for row in self.rows.values():
            self._estimate(row)
        self._pace = Pace(self.clock, self.slots)
        self._left_s: float | None = None  # as of the last barrier
        self._parts: list[Part] = []  # of the round that ends

    def add(self, trials: Sequence[Trial]) -> None:
        """Takes in trials that have joined the sweep."""
        for trial in trials:
            row = Row(trial=trial)
            self._estimate(row)
            self.rows[trial.id] = row

    def clone(self, trial: Trial, clone: Clone) -> None:
        """Takes note of a trial that goes on from another one's state, with its new values."""
        row = self.rows[trial.id]
        row.trial, row.step, row.epoch = trial, clone.step, clone.epoch

    def begin(self, trial_ids: Sequence[str]) -> bool:
        """Marks trials that begin a turn as running; returns whether that changes any row."""
        self._pace.begin()
        began = [row for row in map(self.rows.__getitem__, trial_ids) if row.state in ("queued", "paused")]
        for row in began:
            row.state = "running"
        return bool(began)

    def update(self, reports: Mapping[str, Report | Failure], verdicts: Mapping[str, Verdict]) -> None:
        """Takes the reports and verdicts of one barrier."""
        for trial_id, verdict in verdicts.items():
            row, report = self.rows[trial_id], reports.get(trial_id)
            if isinstance(report, Failure):
                row.message = f"{report.kind}: {report.message}"
                self._take_epochs(row, report)
            elif report is not None:
                self._take(row, report)
            self._take_score(row, verdict)
            row.state = _ENDED.get(verdict.kind, "paused" if row.state == "paused" else "running")
            row.message = row.message or verdict.reason
        self._pace.end(self._parts)
        self._parts.clear()
        self._left_s = self._pace.left_s(self._lengths(), self.counts()["queued"] + self.expected - len(self.rows))

    def take_over(
        self,
        trial_id: str,
        reports: Sequence[Report],
        state: State,
        steps_per_epoch: int | None = None,
        score: float | None = None,
        kept: bool = False,
    ) -> None:
        """Takes what an earlier driver has trained of a trial; `score` and `kept` are as in `Row`."""
        row = self.rows[trial_id]
        row.total_steps = None if steps_per_epoch is None else steps_per_epoch * row.trial.train.epochs
        for report in reports:
            self._take(row, report)
        row.state, row.steps_per_s, row.score, row.kept = state, None, score, kept
        self._parts.clear()

    def pause(self, trial_ids: Iterable[str]) -> None:
        """Marks trials that have no turn until a user lets them go on."""
        for trial_id in trial_ids:
            if not self.rows[trial_id].has_ended:
                self.rows[trial_id].state = "paused"

    def steps_per_s(self) -> float | None:
        """Steps per second of all models together; recent rounds weigh more."""
        return self._pace.steps_per_s

    def eta_s(self) -> float | None:
        """Seconds to the end at the measured speed; None before the first barrier."""
        return None if self._left_s is None else max(0.0, self._left_s - self._pace.since_s)

    @property
    def is_upper_bound(self) -> bool:
        """Whether less time may be left: rules may end trials early, or only first, slow turns are known."""
        return self.may_end_early or self._pace.is_rough

    @property
    def elapsed_s(self) -> float:
        """Seconds since the first round began."""
        return self._pace.elapsed_s

    @property
    def expected(self) -> int:
        """How many trials there are, with those that are proposed later."""
        return max(len(self.rows), self.most_trials)

    def counts(self) -> Counter[State]:
        """The number of trials in each state."""
        return Counter(row.state for row in list(self.rows.values()))

    def share_done(self) -> float:
        """The share of all steps that is done; trials that have ended count whole."""
        rows = list(self.rows.values())  # another thread may ask
        done = sum(
            1.0 if row.has_ended else min(1.0, row.step / row.total_steps) if row.total_steps else 0.0 for row in rows
        )
        return done / self.expected if rows else 0.0

    def _lengths(self) -> Iterator[tuple[str, float]]:
        """Member and steps left of each trial that has not ended, also of those to come; unknown ones are average."""
        known = [row.total_steps for row in self.rows.values() if row.total_steps]
        average = sum(known) / len(known) if known else 0.0
        for state in ("running", "queued"):
            for row in self.rows.values():
                if row.state == state:
                    yield row.trial.member, max(0.0, (row.total_steps or average) - row.step)
        yield from [("", average)] * (self.expected - len(self.rows))

    def _estimate(self, row: Row) -> None:
        length = self.steps_per_epoch.get(row.trial.member)
        row.total_steps = None if length is None else length * row.trial.train.epochs

    def is_better(self, value: float, than: float | None) -> bool:
        """Whether a value of the sweep's metric is better than another."""
        return than is None or (value > than if self.goal == "maximize" else value < than)

    def best_so_far(self) -> tuple[Row, ...]:
        """Each member's trial with the best score so far. Members do not compare, because their data differ."""
        found: dict[str, Row] = {}
        for row in list(self.rows.values()):  # another thread may ask
            leader = found.get(row.trial.member)
            if row.score is not None and (leader is None or self.is_better(row.score, leader.score)):
                found[row.trial.member] = row
        return tuple(found.values())

    def _take(self, row: Row, report: Report) -> None:
        turn, steps = report.turn, report.step - row.step
        busy_s, is_first = turn.compute_s + turn.evaluate_s + turn.swap_s, turn.seat_s > 0 or report.facts is not None
        self._parts.append(Part(row.trial.member, turn.pid, steps, busy_s, turn.seat_s, is_first))
        row.steps_per_s = steps / turn.compute_s if turn.compute_s > 0 else None
        row.round, row.step, row.epoch = report.round, report.step, report.epoch
        row.loss = report.running.get("loss")
        if report.facts is not None:
            row.total_steps = report.facts.steps_per_epoch * row.trial.train.epochs
        self._take_epochs(row, report)

    def _take_epochs(self, row: Row, report: Report | Failure) -> None:
        for value in (epoch.metrics[self.metric] for epoch in report.epochs if self.metric in epoch.metrics):
            row.value = value
            row.values.append(value)
        if len(row.values) > _MOST_VALUES:
            del row.values[1:-1:2]
        if report.epochs:
            row.epoch = report.epochs[-1].number

    def _take_score(self, row: Row, verdict: Verdict) -> None:
        """Sets the score to what `TrialRecord.score` will read from the journal."""
        if verdict.kind == "fail" or not verdict.keeps_model:
            row.score = None
        elif verdict.keep_best or not (row.restores_best and row.kept):
            row.kept = row.kept or verdict.keep_best
            row.score = row.value if row.value is not None and math.isfinite(row.value) else None
