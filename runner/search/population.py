"""Population-based training: at equal epochs the worst trials go on from the states of the best, with new values. Pure.

Source: Jaderberg et al. 2017, "Population Based Training of Neural Networks": truncation selection, and new values that
are near the old ones or drawn again. There a trial is compared with the newest values of others; here all of them have
done the same work, so that no decision depends on who was first.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from runner.config.schema import Population as Rules
from runner.config.space import Choice, Dimension
from runner.records import (
    DIVERGED,
    POPULATION,
    TRAINING,
    Clone,
    Decision,
    Failure,
    Report,
    Trial,
    Verdict,
    clone_decision,
    cloned,
)
from runner.search.cohorts import Course, Scoring
from runner.search.optuna_space import number
from runner.search.parameters import parameter_name
from runner.search.samplers import at_quantile
from runner.search.space import Space

_TRIES = 100  # draws of new values that constraints refuse, after which the parent's are taken


@dataclass(kw_only=True)
class Population:
    """The trials of one member, which copy and vary the best of them.

    Args:
        rules: from the config.
        space: whose values are varied.
        scoring: how trials are compared.
        seed: of the draws.
        epochs: that each trial trains.
    """

    rules: Rules
    space: Space
    scoring: Scoring
    seed: int
    epochs: int
    _courses: dict[str, Course] = field(default_factory=dict)
    _diverged: dict[str, str] = field(default_factory=dict)  # why, by trial
    _compared: int = 0  # the last epoch at which they were

    def __contains__(self, trial_id: str) -> bool:
        return trial_id in self._courses

    def add(self, trials: Iterable[Trial]) -> None:
        """Takes in trials."""
        courses = {trial.id: Course(trial) for trial in trials}
        self._courses |= courses
        # A user may have asked for more epochs than the config has.
        self.epochs = max([self.epochs, *(course.trial.train.epochs for course in courses.values())])

    @property
    def next_epoch(self) -> int | None:
        """The epoch at which trials are compared next; None after the last time."""
        epoch = self._compared + self.rules.interval
        return epoch if epoch < self.epochs else None

    def is_waiting(self, trial_id: str) -> bool:
        """Whether the trial has reached that epoch, or has diverged and waits for another state."""
        epoch, course = self.next_epoch, self._courses[trial_id]
        return epoch is not None and not course.ended and (course.epoch >= epoch or trial_id in self._diverged)

    def spare(self, verdict: Verdict) -> Verdict:
        """The verdict about a trial; one that has diverged goes on from another state, if there is a next time."""
        is_spared = self.next_epoch is not None and verdict.reason.startswith(DIVERGED)
        return Verdict(kind="keep") if is_spared else verdict

    def take(self, trial_id: str, report: Report | Failure, verdict: Verdict) -> None:
        """Takes a trial's turn and what was decided about it."""
        course = self._courses[trial_id]
        course.take(report.epochs, verdict, self.scoring)
        if isinstance(report, Report):
            course.step, course.round = report.step, report.round + 1
            loss = report.running.get("loss", 0.0)
            if not math.isfinite(loss):
                self._diverged[trial_id] = f"{DIVERGED} loss is {loss} after step {report.step}"

    def take_clone(self, trial_id: str, clone: Clone) -> None:
        """Takes a clone that an earlier driver has decided."""
        self._compared = max(self._compared, clone.epoch)
        self._follow(trial_id, clone)

    def end(self, trial_id: str) -> None:
        """Marks a trial as ended, for another reason than a comparison."""
        self._courses[trial_id].ended = True

    def decide(self) -> tuple[dict[str, Verdict], dict[str, Decision]]:
        """Called once all of a barrier is taken: the ends of trials, and the clones."""
        self._compared = max(self._compared, self._passed())
        epoch = self.next_epoch
        live = [course for course in self._courses.values() if not course.ended]
        if epoch is None or not live or not all(self.is_waiting(course.trial.id) for course in live):
            return {}, {}
        self._compared = epoch
        losers, best = self._chosen(live, epoch)
        if best:
            return {}, {course.trial.id: self._cloned(course, best, epoch) for course in losers}
        reasons = {course.trial.id: self._diverged.get(course.trial.id) for course in losers}
        ends = {
            i: Verdict(kind="stop", reason=why, keeps_model=False, by=TRAINING) for i, why in reasons.items() if why
        }
        return ends, {}

    def _passed(self) -> int:
        """The last comparison that some trial has left behind, under an earlier driver."""
        most = max((course.epoch for course in self._courses.values()), default=0)
        return max(0, math.ceil(most / self.rules.interval) - 1) * self.rules.interval

    def _chosen(self, courses: Sequence[Course], epoch: int) -> tuple[list[Course], list[Course]]:
        """The trials that get another state, and those whose states are taken."""

        def cost(course: Course) -> float:
            return math.inf if course.trial.id in self._diverged else course.cost_at(epoch)

        ranked = sorted(courses, key=lambda course: (cost(course), course.trial.index))
        count = replaced_of(len(ranked), self.rules.fraction)
        best = [course for course in ranked[: max(1, count)] if math.isfinite(cost(course))]
        first = min(len(ranked) - count, sum(math.isfinite(cost(course)) for course in ranked))
        return ranked[first:], best

    def _cloned(self, course: Course, best: Sequence[Course], epoch: int) -> Decision:
        trial = course.trial
        generator = random.Random(f"{self.seed} {trial.id} {epoch}")
        parent = generator.choice(best)
        values, inactive = self._varied(parent.trial, generator)
        clone = Clone(
            parent=parent.trial.id,
            round=parent.round,
            step=parent.step,
            epoch=epoch,
            values=values,
            before={name: trial.params[name] for name in values},
            inactive=inactive,
            was_inactive=trial.inactive,
        )
        self._follow(trial.id, clone)
        return clone_decision(trial.id, course.step, clone, POPULATION)

    def _follow(self, trial_id: str, clone: Clone) -> None:
        course = self._courses[trial_id]
        course.trial, course.epoch = cloned(course.trial, clone), clone.epoch
        self._diverged.pop(trial_id, None)

    def _varied(self, parent: Trial, generator: random.Random) -> tuple[dict[str, object], tuple[str, ...]]:
        """New values of all searched parameters, near the parent's, and the names of those that do not matter."""
        dimensions = self.space.dimensions
        own = {name: parent.params[_bare(name)] for name in dimensions}
        for _ in range(_TRIES):
            point = {
                name: resampled(dimension, generator)
                if generator.random() < self.rules.resample or name in parent.inactive
                else perturbed(dimension, own[name], self.rules.factor, generator)
                for name, dimension in dimensions.items()
            }
            active = self.space.active(point)
            if self.space.allows(active):
                break
        else:
            active = self.space.active(own)
        values = {_bare(name): active.get(name, self.space.fixed.get(name)) for name in dimensions}
        return values, tuple(name for name in dimensions if name not in active)


def replaced_of(count: int, fraction: float) -> int:
    """How many of these trials are replaced: this part of them, at least one, and never more than half."""
    return min(max(1, round(count * fraction)), count // 2)


def perturbed(dimension: Dimension, value: object, factor: float, generator: random.Random) -> object:
    """A value near another one: a number times `factor` or divided by it, or the next in a list of numbers.

    A value that is no number stays.
    """
    up = generator.random() < 0.5
    if isinstance(dimension, Choice):
        return _neighbour(dimension.values, value, up)
    assert isinstance(value, int | float)
    if value == 0:
        return resampled(dimension, generator)  # no factor changes it
    wanted = value * factor if up == (value > 0) else value / factor
    if dimension.count is None:
        return min(max(float(wanted), dimension.low), dimension.high)
    step = dimension.step or 1
    place, moved = (round((one - dimension.low) / step) for one in (value, wanted))
    if moved == place:
        moved += 1 if up else -1
    moved = min(max(moved, 0), dimension.count - 1)
    return number(dimension, min(dimension.low + moved * step, dimension.high))


def resampled(dimension: Dimension, generator: random.Random) -> object:
    """A value of the dimension at random."""
    return at_quantile(dimension, generator.random())


def _neighbour(values: Sequence[object], value: object, up: bool) -> object:
    numbers = sorted(one for one in values if isinstance(one, int | float) and not isinstance(one, bool))
    if len(numbers) < len(values) or not isinstance(value, int | float):
        return value
    place = numbers.index(value) + (1 if up else -1)
    return numbers[min(max(place, 0), len(numbers) - 1)]


def _bare(name: str) -> str:
    bare = parameter_name(name)
    assert bare is not None, "a population varies nothing but parameters"
    return bare
