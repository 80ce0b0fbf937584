"""The state of a running sweep, updated at each barrier. Pure: `live` draws it."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from runner.records import Clone, Failure, Goal, Report, Trial, Verdict

State = Literal["queued", "running", "complete", "stopped", "failed"]
_ENDED: dict[str, State] = {"complete": "complete", "stop": "stopped", "fail": "failed"}
_RATE_WINDOW_S = 10.0


@dataclass(kw_only=True, slots=True)
class Row:
    """One trial's row.

    Args:
        value: the sweep's metric at the last epoch that reported it.
        score: the metric of the model that the trial would have if it ended now: with the last epoch's weights, or with
            the best epoch's if `early_stopping.restore_best` is set. None if there is no finite value.
        kept: whether a best epoch's weights are kept.
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
    """

    trials: Sequence[Trial]
    metric: str
    goal: Goal
    clock: Callable[[], float]
    rows: dict[str, Row] = field(init=False)

    def __post_init__(self) -> None:
        self.rows = {trial.id: Row(trial=trial) for trial in self.trials}
        self._window: deque[tuple[float, int]] = deque()  # since the first barrier, because models are built before it
        self._steps_done = 0

    def add(self, trials: Sequence[Trial]) -> None:
        """Takes in trials that have joined the sweep."""
        self.rows |= {trial.id: Row(trial=trial) for trial in trials}

    def clone(self, trial: Trial, clone: Clone) -> None:
        """Takes note of a trial that goes on from another one's state, with its new values."""
        row = self.rows[trial.id]
        row.trial, row.step, row.epoch = trial, clone.step, clone.epoch

    def begin(self, trial_ids: Sequence[str]) -> bool:
        """Marks trials that begin a turn as running; returns whether that changes any row."""
        began = [row for row in map(self.rows.__getitem__, trial_ids) if row.state == "queued"]
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
            row.state = _ENDED.get(verdict.kind, "running")
            row.message = row.message or verdict.reason
        now = self.clock()
        self._window.append((now, self._steps_done))
        while len(self._window) > 2 and now - self._window[1][0] >= _RATE_WINDOW_S:
            self._window.popleft()

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
        self._steps_done = 0

    def steps_per_s(self) -> float | None:
        """Steps per second of all models together, over the last ten seconds."""
        if len(self._window) < 2:
            return None
        (began, before), (ended, after) = self._window[0], self._window[-1]
        return (after - before) / (ended - began) if ended > began and after > before else None

    def eta_s(self) -> float | None:
        """Seconds to the end at the current speed; trials of unknown length count with the average of the others."""
        rows = list(self.rows.values())  # another thread may ask
        speed, known = self.steps_per_s(), [row for row in rows if row.total_steps]
        if speed is None or not known:
            return None
        average = sum(row.total_steps or 0 for row in known) / len(known)
        left = sum((row.total_steps or average) - row.step for row in rows if row.state in ("queued", "running"))
        return left / speed

    def share_done(self) -> float:
        """The share of all steps that is done; trials that have ended count whole."""
        rows = list(self.rows.values())  # another thread may ask
        shares = [
            1.0 if row.state not in ("queued", "running") else row.step / row.total_steps if row.total_steps else 0.0
            for row in rows
        ]
        return sum(shares) / len(shares) if shares else 0.0

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
        self._steps_done += report.step - row.step
        duration = report.turn.compute_s
        row.steps_per_s = (report.step - row.step) / duration if duration > 0 else None
        row.round, row.step, row.epoch = report.round, report.step, report.epoch
        row.loss = report.running.get("loss")
        if report.facts is not None:
            row.total_steps = report.facts.steps_per_epoch * row.trial.train.epochs
        self._take_epochs(row, report)

    def _take_epochs(self, row: Row, report: Report | Failure) -> None:
        for value in (epoch.metrics[self.metric] for epoch in report.epochs if self.metric in epoch.metrics):
            row.value = value
        if report.epochs:
            row.epoch = report.epochs[-1].number

    def _take_score(self, row: Row, verdict: Verdict) -> None:
        """Sets the score to what `TrialRecord.score` will read from the journal."""
        if verdict.kind == "fail" or not verdict.keeps_model:
            row.score = None
        elif verdict.keep_best or not (row.restores_best and row.kept):
            row.kept = row.kept or verdict.keep_best
            row.score = row.value if row.value is not None and math.isfinite(row.value) else None
