"""The waves of one member whose sampler learns: what is proposed when, and which results the sampler gets."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field

from runner.config.schema import MAX_TRIALS
from runner.records import Failure, Report, Trial, Verdict
from runner.search.brackets import Bracket
from runner.search.cohorts import Course, Scoring, Survive
from runner.search.members import Member
from runner.search.policy import settings_of
from runner.search.proposals import trials_of
from runner.search.space import Point, key_of
from runner.search.studies import StudySampler, Told

Turn = tuple[Report | Failure, Verdict]
STARTUP = 10  # settings at random before a sampler has enough results to learn from


@dataclass(slots=True)
class _Wave:
    """Settings that were proposed together.

    Args:
        points: the settings.
        courses: of the trials of each.
        rung: epoch of their first comparison; None if they are not compared.
        survive: who survives it.
    """

    points: list[Point]
    courses: list[tuple[Course, ...]]
    rung: int | None
    survive: Survive

    @property
    def has_ended(self) -> bool:
        """Whether all of its trials have ended."""
        return all(course.ended for courses in self.courses for course in courses)

    @property
    def is_compared(self) -> bool:
        """Whether its first comparison is made, so that its losers free their places."""
        return self.rung is not None and all(
            course.has_reached(self.rung) for courses in self.courses for course in courses
        )

    def losers(self) -> Iterator[Told]:
        """Results of the settings that the first comparison ended."""
        assert self.rung is not None
        # The outcome of the comparison, and not who has ended since: that depends on when a loser gets a seat.
        survivors = {id(courses) for courses in self.survive(self.courses, self.rung)}
        for point, courses in zip(self.points, self.courses, strict=True):
            if id(courses) not in survivors:
                failed = any(course.had_failed_by(self.rung) for course in courses)
                yield Told(point=point, costs=_mean_costs(courses, self.rung), stopped=True, failed=failed)

    def results(self, epochs: int) -> Iterator[Told]:
        """Results of all settings; for those before their last epoch, of where they stopped."""
        for point, courses in zip(self.points, self.courses, strict=True):
            last = max(course.epoch for course in courses)
            yield Told(
                point=point,
                costs=_mean_costs(courses, last),
                stopped=self.rung is not None and last < epochs,
                failed=any(course.failed for course in courses),
            )


@dataclass(slots=True)
class MemberProposer:
    """Proposes the trials of one member.

    Args:
        member: whose sampler learns.
        sampler: that draws its settings.
        wave: settings of a wave; None until that is decided, which is after the first wave. A bracket is a wave if
            trials are compared.
        brackets: layout of the brackets; None if trials are not compared.
        survive: who survives a comparison.
        prefix: ids begin with the member's name.
        is_exhausted: the space has no more settings.
        trials: how many it has proposed.
    """

    member: Member
    sampler: StudySampler
    wave: int | None
    brackets: Iterator[Bracket] | None
    survive: Survive
    prefix: bool
    is_exhausted: bool = False
    trials: int = 0
    _waves: list[_Wave] = field(default_factory=list)
    _courses: dict[str, Course] = field(default_factory=dict)

    def take(self, trial_id: str, report: Report | Failure, verdict: Verdict, scoring: Scoring) -> None:
        """Takes the report of one of its trials."""
        self._courses[trial_id].take(report.epochs, verdict, scoring)

    def end(self, trial_ids: Iterable[str]) -> None:
        """Marks trials as ended, of which there was no report at this barrier."""
        for trial_id in trial_ids:
            self._courses[trial_id].ended = True

    def owns(self, trial_id: str) -> bool:
        """Whether the trial is one that it proposed."""
        return trial_id in self._courses

    @property
    def _most(self) -> int:
        """Most settings."""
        return self.member.max_settings or MAX_TRIALS

    @property
    def is_due(self) -> bool:
        """Whether the results are in on which the next wave depends."""
        if self.is_exhausted or sum(len(wave.points) for wave in self._waves) >= self._most:
            return False
        if not self._waves:
            return True
        last = self._waves[-1]
        return all(wave.has_ended for wave in self._waves[:-1]) and (last.has_ended or last.is_compared)

    def next_wave(self, index: int) -> list[Trial]:
        """The trials of the next wave; fewer or none if the space has no more settings.

        Args:
            index: of the first within the sweep.
        """
        epochs = self.member.train.epochs
        for wave in self._waves[:-1]:
            self.sampler.tell(wave.results(epochs))
        if self._waves:
            last = self._waves[-1]
            self.sampler.tell(last.losers() if last.rung is not None else last.results(epochs))
        bracket = None if self.brackets is None else next(self.brackets)
        size = bracket.size if bracket is not None else self.wave or STARTUP
        if bracket is None and not self._waves:
            size = STARTUP  # whatever a wave is: `auto` decides that only after it
        limit = self._most - sum(len(wave.points) for wave in self._waves)
        points = self.sampler.ask(min(size, limit))
        self.is_exhausted = len(points) < min(size, limit)
        trials = trials_of(self.member, points, self.trials, index, prefix=self.prefix, width=3)
        rung = bracket.rungs[0] if bracket is not None and bracket.rungs else None
        self._add(points, trials, rung)
        return trials

    def replay(
        self,
        known: Mapping[str, Trial],
        turns_of: Callable[[Trial], Sequence[Turn]],
        ended: Container[str],
        scoring: Scoring,
    ) -> bool:
        """As `WaveProposer.replay`; `known` is by id."""
        name = f"{self.member.name}-" if self.prefix else ""
        same = True
        while f"{name}{self.trials:03}" in known:
            trials, is_same = self._repeat_wave(known)
            same &= is_same
            for trial in trials:
                for report, verdict in turns_of(trial):
                    self.take(trial.id, report, verdict, scoring)
                if trial.id in ended:
                    self.end([trial.id])
        return same

    def _repeat_wave(self, known: Mapping[str, Trial]) -> tuple[list[Trial], bool]:
        """Proposes a wave again, or takes the recorded one if the sampler draws another; its trials, and whether so."""
        trials = self.next_wave(0)
        recorded = [known[trial.id] for trial in trials if trial.id in known]
        points = [self._point(repeats[0]) for repeats in settings_of(recorded)]
        drawn = self._waves[-1].points
        if list(map(key_of, points)) == list(map(key_of, drawn)):
            return recorded, True
        drawn[:] = self.sampler.adopt(drawn, points)
        del self._waves[-1].courses[len(points) :]
        self.trials += len(recorded) - len(trials)
        return recorded, False

    def _point(self, trial: Trial) -> Point:
        """The point of a trial."""
        settings = {**trial.params, **{f"train.{name}": value for name, value in asdict(trial.train).items()}}
        names = [name for name in self.member.space.dimensions if name not in trial.inactive]
        return {name: settings[name.removeprefix("params.")] for name in names}

    def _add(self, points: list[Point], trials: Sequence[Trial], rung: int | None) -> None:
        self._courses |= {trial.id: Course(trial) for trial in trials}
        settings = [tuple(self._courses[trial.id] for trial in repeats) for repeats in settings_of(trials)]
        self._waves.append(_Wave(points, settings, rung, self.survive))
        self.trials += len(trials)


def _mean_costs(courses: Sequence[Course], epoch: int) -> dict[int, float]:
    """The mean of the repeats' costs by epoch, and at the end that of the models that they have."""
    numbers = {number for course in courses for number in course.costs if number <= epoch}
    return {number: statistics.fmean(course.cost_at(number) for course in courses) for number in sorted(numbers)}
