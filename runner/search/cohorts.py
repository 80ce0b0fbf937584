"""Compares trials that have done the same work, and decides which of them go on. Pure.

Nothing here depends on the order in which reports arrive: a rung is decided from the metrics at its epoch, once every
contender has reached it or has ended. So the same journal leads to the same decisions, by whichever driver.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from runner.records import Epoch, Goal, Trial, Verdict
from runner.search.brackets import Bracket, survivors_of


@dataclass(frozen=True, slots=True)
class Scoring:
    """How a trial's epochs become one number.

    Args:
        metric: name of an epoch metric.
        goal: whether higher or lower values are better.
    """

    metric: str
    goal: Goal

    @property
    def sign(self) -> int:
        """What values are multiplied by, so that less is better."""
        return -1 if self.goal == "maximize" else 1


@dataclass(slots=True)
class Course:
    """What is known of one trial.

    Args:
        trial: the trial.
        costs: the signed metric by epoch if it is known: less is better.
        kept: epochs whose weights were kept as the best so far, rising.
        epoch: completed epochs.
        step: optimizer steps, if a population counts them.
        round: turns, likewise.
        ended: it trains no more.
        failed_from: the epoch from which on it has no model, because it failed; infinite if it did not.
    """

    trial: Trial
    costs: dict[int, float] = field(default_factory=dict)
    kept: list[int] = field(default_factory=list)
    epoch: int = 0
    step: int = 0
    round: int = 0
    ended: bool = False
    failed_from: float = math.inf

    @property
    def failed(self) -> bool:
        """Whether it ended without a model."""
        return self.failed_from < math.inf

    def take(self, epochs: Sequence[Epoch], verdict: Verdict, scoring: Scoring) -> None:
        """Takes the epochs of a turn, and what was decided after it."""
        for epoch in epochs:
            self.epoch = epoch.number
            if scoring.metric in epoch.metrics:
                cost = scoring.sign * epoch.metrics[scoring.metric]
                self.costs[epoch.number] = cost if math.isfinite(cost) else math.inf
        if verdict.keep_best:
            self.kept.append(self.epoch)
        if verdict.ends:
            self.ended = True
            if verdict.kind == "fail" or not verdict.keeps_model:
                # A turn that ended an epoch failed with it, otherwise the next epoch did. Earlier ones stay.
                self.failed_from = self.epoch if epochs else self.epoch + 1

    def has_reached(self, epoch: int) -> bool:
        """Whether it can be compared at this epoch."""
        return self.ended or self.epoch >= epoch

    def cost_at(self, epoch: int) -> float:
        """The cost of the model that it would have had after this epoch; infinite if it had failed before."""
        known = [number for number in self.costs if number <= epoch]
        if not known or self.had_failed_by(epoch):
            return math.inf
        kept = [number for number in self.kept if number <= epoch and number in self.costs]
        return self.costs[kept[-1] if kept else known[-1]]

    def has_value_by(self, epoch: int) -> bool:
        """Whether it is known how good it was: it has a value of the metric, or failed."""
        return self.had_failed_by(epoch) or any(number <= epoch for number in self.costs)

    def had_failed_by(self, epoch: int) -> bool:
        """Whether it had no model at this epoch; a later failure does not count there."""
        return epoch >= self.failed_from

    def costs_until(self, epoch: int) -> list[float]:
        """The finite costs up to this epoch."""
        return [cost for number, cost in self.costs.items() if number <= epoch and math.isfinite(cost)]


Setting = tuple[Course, ...]
"""The repeats of one setting, which are compared by their mean."""
Survive = Callable[[Sequence[Setting], int], Sequence[Setting]]
"""Which contenders survive a rung at an epoch; its answer does not depend on their order except for ties."""


def keep_best(factor: int) -> Survive:
    """Successive halving: one in `factor` survives, rounded up. Failed and diverged trials count as losers."""

    def survive(contenders: Sequence[Setting], epoch: int) -> Sequence[Setting]:
        ranked = sorted((mean_cost(setting, epoch), place) for place, setting in enumerate(contenders))
        best = [place for cost, place in ranked[: survivors_of(len(contenders), factor)] if math.isfinite(cost)]
        return [contenders[place] for place in sorted(best)]

    return survive


def keep_median(contenders: Sequence[Setting], epoch: int) -> Sequence[Setting]:
    """The median stopping rule: a trial survives if its best so far is no worse than the median of the others' means.

    Source: Golovin et al. 2017, Google Vizier, section 3.2.2. There the others are trials that ran before; here they
    are those that have done the same work.
    """
    means = [_running_mean(setting, epoch) for setting in contenders]

    def survives(place: int) -> bool:
        others = [mean for other, mean in enumerate(means) if other != place and math.isfinite(mean)]
        best = statistics.fmean(_best_so_far(course, epoch) for course in contenders[place])
        return math.isfinite(best) and (not others or best <= statistics.median(others))

    return [setting for place, setting in enumerate(contenders) if survives(place)]


def mean_cost(setting: Setting, epoch: int) -> float:
    """The mean over the repeats of a setting; infinite if one has none."""
    return statistics.fmean(course.cost_at(epoch) for course in setting)


def _running_mean(setting: Setting, epoch: int) -> float:
    costs = [cost for course in setting if not course.had_failed_by(epoch) for cost in course.costs_until(epoch)]
    return statistics.fmean(costs) if costs else math.inf


def _best_so_far(course: Course, epoch: int) -> float:
    return math.inf if course.had_failed_by(epoch) else min(course.costs_until(epoch), default=math.inf)


@dataclass(slots=True)
class Cohort:
    """The settings of one bracket.

    Args:
        name: for reasons and tables.
        rule: name of the rule in the config, which the journal has as the author of its decisions.
        contenders: settings that have not lost, in order.
        rungs: epochs after which they are compared, those that are not decided yet.
        survive: who survives.
    """

    name: str
    rule: str
    contenders: Sequence[Setting]
    rungs: tuple[int, ...]
    survive: Survive

    @property
    def limit(self) -> int | None:
        """The epoch at which its trials must wait for each other; None after the last rung."""
        return self.rungs[0] if self.rungs else None

    def decide(self) -> Iterator[tuple[Course, str]]:
        """Decides the rungs that all contenders have reached; the trials that lose and have not ended, with reasons."""
        while self.rungs and all(course.has_reached(self.rungs[0]) for one in self.contenders for course in one):
            epoch, before = self.rungs[0], self.contenders
            self.rungs = self.rungs[1:]
            if not any(course.has_value_by(epoch) for one in before for course in one):
                continue  # the metric is one that callbacks log later: nothing can be compared yet
            self.contenders = self.survive(before, epoch)
            staying = {setting[0].trial.id for setting in self.contenders}
            for setting in before:
                if setting[0].trial.id not in staying:
                    reason = self._reason(setting, before, epoch)
                    yield from ((course, reason) for course in setting if not course.ended)

    def _reason(self, setting: Setting, before: Sequence[Setting], epoch: int) -> str:
        cost = mean_cost(setting, epoch)
        rank = 1 + sum(mean_cost(other, epoch) < cost for other in before)
        return (
            f"{self.rule}: rank {rank} of {len(before)} after epoch {epoch}, of which {len(self.contenders)} go on "
            f"({self.name})"
        )


class Cohorts:
    """Follows the trials of a sweep from barrier to barrier.

    Args:
        scoring: how trials are compared.
        rule: name of the stopping rule in the config.
        survive: who survives a rung.
        brackets: the layout of each member's cohorts, in order.
    """

    def __init__(
        self, scoring: Scoring, rule: str, survive: Survive, brackets: Mapping[str, Iterable[Bracket]]
    ) -> None:
        self._scoring, self._rule, self._survive = scoring, rule, survive
        self._brackets = {member: enumerate(layout, start=1) for member, layout in brackets.items()}
        self._courses: dict[str, Course] = {}
        self._cohorts: list[Cohort] = []
        self._cohort_of: dict[str, Cohort] = {}

    def add(self, settings: Sequence[Sequence[Trial]]) -> None:
        """Takes in settings of one member, which fill its next brackets; a setting has one trial for each repeat."""
        left = [tuple(self._course(trial) for trial in setting) for setting in settings]
        while left:
            member = left[0][0].trial.member
            number, bracket = next(self._brackets[member])
            chosen, left = left[: bracket.size], left[bracket.size :]
            cohort = Cohort(f"{member} bracket {number}", self._rule, chosen, bracket.rungs, self._survive)
            self._cohorts.append(cohort)
            self._cohort_of |= {course.trial.id: cohort for setting in chosen for course in setting}

    def follow(self, trials: Iterable[Trial]) -> None:
        """Takes in trials that are compared with no others."""
        for trial in trials:
            self._course(trial)

    def exempt(self, trial_id: str) -> None:
        """Takes a trial out of the comparisons, because the user lets it go on although it has lost."""
        self._cohort_of.pop(trial_id, None)

    def end(self, trial_ids: Iterable[str]) -> None:
        """Marks trials as ended, for another reason than a comparison."""
        for trial_id in trial_ids:
            self._courses[trial_id].ended = True

    def take(self, trial_id: str, epochs: Sequence[Epoch], verdict: Verdict) -> None:
        """Takes the epochs of a trial's turn and what was decided about it."""
        self._courses[trial_id].take(epochs, verdict, self._scoring)

    def decide(self) -> dict[str, Verdict]:
        """Called once all of a barrier is taken: the verdicts about trials that lose."""
        lost = [(course.trial.id, reason) for cohort in self._cohorts for course, reason in cohort.decide()]
        return {
            trial_id: Verdict(kind="stop", reason=reason, by=self._rule)
            for trial_id, reason in lost
            if trial_id in self._cohort_of
        }

    def limit(self, trial_id: str) -> int | None:
        """The epoch after which the trial waits for the others of its cohort; None if it need not wait any more."""
        cohort = self._cohort_of.get(trial_id)
        return None if cohort is None else cohort.limit

    def is_waiting(self, trial_id: str) -> bool:
        """Whether the trial has reached its limit."""
        limit = self.limit(trial_id)
        return limit is not None and self._courses[trial_id].epoch >= limit

    def _course(self, trial: Trial) -> Course:
        return self._courses.setdefault(trial.id, Course(trial))
