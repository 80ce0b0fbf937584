"""Ends trials at the barrier: losers of a comparison, and all once a target or a budget is reached."""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from runner.records import BUDGET, MAX_HOURS, TARGET, Clone, Decision, Epoch, Failure, Report, Trial, Verdict
from runner.search.cohorts import Cohorts, Scoring
from runner.search.population import Population


class Limit(Protocol):
    """Ends a whole sweep."""

    @property
    def by(self) -> str:
        """The author of the decision, as the journal has it."""

    def take(self, trial: Trial, epochs: Sequence[Epoch], steps: int) -> None:
        """Takes a trial's turn: its epochs, and the optimizer steps of its state."""

    def start(self, trial_id: str, steps: int) -> None:
        """Takes note of a trial that goes on from a state with these optimizer steps, which others have taken."""

    def reason(self) -> str | None:
        """Why the sweep ends; None while it goes on."""


@dataclass
class TargetReached:
    """Ends a sweep once a model is good enough.

    Args:
        scoring: of the sweep.
        target: value of the metric.
    """

    scoring: Scoring
    target: float
    by: str = TARGET
    _reached: list[tuple[float, str]] = field(default_factory=list)

    def take(self, trial: Trial, epochs: Sequence[Epoch], steps: int) -> None:
        """Compares the epochs with the target."""
        sign = self.scoring.sign
        for epoch in epochs:
            value = epoch.metrics.get(self.scoring.metric, math.nan)
            if sign * value <= sign * self.target:
                self._reached.append((sign * value, trial.id))

    def start(self, trial_id: str, steps: int) -> None:
        """Needs no steps."""

    def reason(self) -> str | None:
        """Names the best trial of the barrier at which the target was reached."""
        if not self._reached:
            return None
        cost, trial_id = min(self._reached)
        return f"trial {trial_id} reached {self.scoring.metric} {self.scoring.sign * cost:.6g} (target {self.target:g})"


@dataclass
class StepBudget:
    """Ends a sweep after this number of optimizer steps of all trials together."""

    max_steps: int
    by: str = BUDGET
    _steps: dict[str, int] = field(default_factory=dict)  # of each trial's state
    _done: int = 0

    def take(self, trial: Trial, epochs: Sequence[Epoch], steps: int) -> None:
        """Counts the steps."""
        self._done += steps - self._steps.get(trial.id, 0)
        self._steps[trial.id] = steps

    def start(self, trial_id: str, steps: int) -> None:
        """Begins to count there."""
        self._steps[trial_id] = steps

    def reason(self) -> str | None:
        """Names the number of steps."""
        done = self._done
        return f"{done} steps were taken, search.max_steps={self.max_steps}" if done >= self.max_steps else None


@dataclass
class TimeBudget:
    """Ends a sweep after some hours of training, without the pauses between drivers.

    Args:
        max_hours: the budget.
        spent_s: seconds that earlier drivers took.
        clock: monotonic seconds.
    """

    max_hours: float
    spent_s: float = 0.0
    clock: Callable[[], float] = time.monotonic
    by: str = MAX_HOURS
    _began_s: float = field(init=False)

    def __post_init__(self) -> None:
        self._began_s = self.clock()

    def take(self, trial: Trial, epochs: Sequence[Epoch], steps: int) -> None:
        """Needs no reports."""

    def start(self, trial_id: str, steps: int) -> None:
        """Needs no steps."""

    def reason(self) -> str | None:
        """Names the hours."""
        hours = (self.spent_s + self.clock() - self._began_s) / 3600
        return (
            f"{hours:.3g} hours have passed, search.max_hours={self.max_hours:g}" if hours >= self.max_hours else None
        )


class SearchPolicy:
    """Ends trials of a sweep; without cohorts and limits none.

    Args:
        cohorts: compare trials; None if no rule does.
        limits: end the whole sweep.
        populations: whose trials go on from each other's states, by member.
    """

    def __init__(
        self,
        cohorts: Cohorts | None = None,
        limits: Sequence[Limit] = (),
        populations: Mapping[str, Population] | None = None,
    ) -> None:
        self._cohorts, self._limits = cohorts, tuple(limits)
        self._populations = dict(populations or {})
        self._clones: dict[str, Decision] = {}
        self._decides_each_epoch = any(isinstance(limit, TargetReached) for limit in self._limits)
        self._epochs: dict[str, int] = {}
        self._open: dict[str, Trial] = {}

    def add(self, trials: Sequence[Trial]) -> None:
        """Takes in trials that join the sweep together; those of a member fill its next brackets."""
        self._open |= {trial.id: trial for trial in trials}
        for member, population in self._populations.items():
            population.add(trial for trial in trials if trial.member == member and not trial.is_chosen)
        if self._cohorts is not None:
            self._cohorts.follow(trial for trial in trials if trial.is_chosen)
            compared = [trial for trial in trials if not trial.is_chosen]
            for _, members in itertools.groupby(compared, key=lambda trial: trial.member):
                self._cohorts.add(settings_of(members))

    @property
    def is_over(self) -> bool:
        """Whether the whole sweep ends, so that no trial joins it."""
        return any(limit.reason() is not None for limit in self._limits)

    def lift(self) -> None:
        """Drops the limits that have been reached, because the user lets trials go on nevertheless."""
        self._limits = tuple(limit for limit in self._limits if limit.reason() is None)

    def exempt(self, trial_id: str) -> None:
        """Takes a trial out of the comparisons, because the user lets it go on although it has lost."""
        if self._cohorts is not None:
            self._cohorts.exempt(trial_id)

    def end(self, trial_ids: Iterable[str]) -> None:
        """Takes note of trials that a user ends, so that no other waits for them."""
        if self._cohorts is not None:
            self._cohorts.end(trial_ids)
        for trial_id in trial_ids:
            if (population := self._population(trial_id)) is not None:
                population.end(trial_id)

    def next_rung(self, trial_id: str) -> int | None:
        """The epoch after which the trial is compared next; None if it is not."""
        return None if self._cohorts is None else self._cohorts.limit(trial_id)

    def limit(self, trial_id: str) -> int | None:
        """The epoch with which the trial's next turn ends at the latest; None for no such epoch.

        There it waits for others that it is compared with, or is compared with a target.
        """
        if (population := self._population(trial_id)) is not None:
            found = population.next_epoch
        else:
            found = self.next_rung(trial_id)
        if self._decides_each_epoch:
            following = self._epochs.get(trial_id, 0) + 1
            found = following if found is None else min(found, following)
        return found

    def is_waiting(self, trial_id: str) -> bool:
        """Whether the trial has reached that epoch."""
        if (population := self._population(trial_id)) is not None:
            return population.is_waiting(trial_id)
        return self._cohorts is not None and self._cohorts.is_waiting(trial_id)

    def spare(self, verdicts: Mapping[str, Verdict]) -> dict[str, Verdict]:
        """The verdicts of a barrier without the ends of trials that will go on from the state of others."""
        found = {trial_id: self._population(trial_id) for trial_id in verdicts}
        return {i: v if (one := found[i]) is None else one.spare(v) for i, v in verdicts.items()}

    def clones(self) -> Mapping[str, Decision]:
        """The trials that go on from the state of others, by the last call of `decide`."""
        return self._clones

    def take_clone(self, trial_id: str, clone: Clone) -> None:
        """Takes note of a trial that goes on from the state of another one, by its rules or a user's request."""
        self._epochs[trial_id] = clone.epoch
        for limit in self._limits:
            limit.start(trial_id, clone.step)
        if (population := self._population(trial_id)) is not None:
            population.take_clone(trial_id, clone)

    def take(self, trial_id: str, report: Report | Failure, verdict: Verdict) -> None:
        """Takes the report of a trial and what was decided about it."""
        trial = self._open[trial_id] if not verdict.ends else self._open.pop(trial_id)
        if isinstance(report, Report):
            self._epochs[trial_id] = report.epoch
            for limit in self._limits:
                limit.take(trial, report.epochs, report.step)
        if self._cohorts is not None:
            self._cohorts.take(trial_id, report.epochs, verdict)
        if (population := self._population(trial_id)) is not None:
            population.take(trial_id, report, verdict)

    def decide(self, reports: Mapping[str, Report | Failure], verdicts: Mapping[str, Verdict]) -> Mapping[str, Verdict]:
        """The verdicts about trials that end at this barrier, or have lost and end as soon as they have a seat."""
        self._clones = {}
        if self._cohorts is None and not self._limits and not self._populations:
            return {}
        for trial_id, report in reports.items():
            self.take(trial_id, report, verdicts[trial_id])
        for trial_id in [trial_id for trial_id, verdict in verdicts.items() if verdict.ends]:
            self._open.pop(trial_id, None)
        for limit in self._limits:
            reason = limit.reason()
            if reason is not None:
                return {i: Verdict(kind="stop", reason=f"{limit.by}: {reason}", by=limit.by) for i in self._open}
        ends = {} if self._cohorts is None else self._cohorts.decide()
        for population in self._populations.values():
            ended, clones = population.decide()
            ends, self._clones = {**ends, **ended}, {**self._clones, **clones}
        return ends

    def _population(self, trial_id: str) -> Population | None:
        return next((one for one in self._populations.values() if trial_id in one), None)


def settings_of(trials: Iterable[Trial]) -> list[tuple[Trial, ...]]:
    """The trials by setting, in order: those of one setting differ in their seed only."""
    found: dict[str, list[Trial]] = {}
    for trial in trials:
        found.setdefault(trial.setting, []).append(trial)
    return [tuple(repeats) for repeats in found.values()]
