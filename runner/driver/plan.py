"""Computes what `sweep` would do: trials, slots and limits, steps and rounds."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from runner.autotune.auto import steps_per_epoch, with_turns
from runner.driver.check import check_members
from runner.driver.disk import DiskPlan, plan_disk
from runner.driver.fleets import open_fleet
from runner.driver.metric import choose_metric
from runner.driver.prepare import Prepared
from runner.errors import ExperimentError
from runner.records import Checked, Facts, Failure, Trial
from runner.search.brackets import contenders, cut
from runner.search.policy import settings_of
from runner.search.population import replaced_of
from runner.search.searching import LEARNING
from runner.search.stopping import brackets_of


@dataclass(frozen=True, kw_only=True, slots=True)
class PlannedTrial:
    """The work of one trial, if no rule stops it early."""

    trial: Trial
    steps_per_epoch: int
    rounds: int
    steps: int


@dataclass(frozen=True, kw_only=True, slots=True)
class PlannedCohort:
    """Settings that are compared with each other.

    Args:
        epochs: after which they are compared, and the last epoch.
        settings: how many train until each of these epochs.
    """

    epochs: tuple[int, ...]
    settings: tuple[int, ...]

    @property
    def trained(self) -> int:
        """Epochs of all settings together."""
        begins = (0, *self.epochs[:-1])
        return sum(count * (end - begin) for count, begin, end in zip(self.settings, begins, self.epochs, strict=True))


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """A whole sweep before it runs.

    Args:
        facts: of each member's first trial.
        disk: what the sweep takes of the disk that its folder is on.
        cohorts: how each member's trials are compared; empty if no rule compares them.
        populations: of members whose trials go on from each other's states: how many there are, and how many are
            replaced at a time.
    """

    prepared: Prepared
    metric: str
    goal: str
    trials: tuple[PlannedTrial, ...]
    facts: Mapping[str, Facts]
    disk: DiskPlan
    cohorts: Mapping[str, tuple[PlannedCohort, ...]] = field(default_factory=dict)
    populations: Mapping[str, tuple[int, int]] = field(default_factory=dict)

    @property
    def steps(self) -> int:
        """Optimizer steps of all trials, if none fails and none is stopped by a rule of its own or by the median."""
        return round(sum(steps * self._share(member) for member, steps in self._full.items()))

    @property
    def full_steps(self) -> int:
        """Optimizer steps if every trial trained to its end."""
        return round(sum(self._full.values()))

    @property
    def _full(self) -> dict[str, float]:
        """Steps of each member to the end of all trials; those proposed later count as the average of the first."""
        full = dict.fromkeys(self.facts, 0.0)
        for planned in self.trials:
            full[planned.trial.member] += planned.steps
        for member in self.prepared.members:
            begun = sum(planned.trial.member == member.name for planned in self.trials)
            if member.sampler in LEARNING and begun:
                full[member.name] *= max(begun, member.max_trials or 0) / begun
        return full

    def _share(self, member: str) -> float:
        """The part of the member's epochs that its comparisons leave."""
        cohorts = self.cohorts.get(member, ())
        epochs = sum(cohort.settings[0] * cohort.epochs[-1] for cohort in cohorts)
        return sum(cohort.trained for cohort in cohorts) / epochs if epochs else 1.0


def make_plan(prepared: Prepared) -> Plan:
    """Builds each member once in a worker, which reports the data's size, and counts steps and rounds.

    Raises:
        ExperimentError: a member cannot be trained.
    """
    with open_fleet(prepared, prepared.slots[:1]) as fleet:
        checked = check_members(prepared, fleet.check)
        metric, goal = choose_metric(prepared, checked)
        first_of_data = {trial.data_key: trial for trial in reversed(prepared.trials)}
        found = fleet.check(list(first_of_data.values()))
    sizes = {key: _facts(trial, found[trial.id], checked) for key, trial in first_of_data.items()}
    facts = {member: check.facts for member, check in checked.items()}
    disk = plan_disk(prepared, facts)
    cohorts, populations = dict(_cohorts(prepared)), _populations(prepared)
    trials = tuple(
        _planned(trial, sizes[trial.data_key], checked[trial.member].step_s, cohorts.get(trial.member, ()))
        for trial in prepared.trials
    )
    return Plan(
        prepared=prepared, metric=metric, goal=goal, trials=trials, facts=facts, disk=disk, cohorts=cohorts,
        populations=populations,
    )  # fmt: skip


def _cohorts(prepared: Prepared) -> Iterator[tuple[str, tuple[PlannedCohort, ...]]]:
    """The cohorts of each member whose rule has a fixed layout."""
    search = prepared.config.search
    if search.stop not in ("halving", "hyperband"):
        return
    for member in prepared.members:
        begun = len(settings_of(trial for trial in prepared.trials if trial.member == member.name))
        settings = begun if member.sampler not in LEARNING else member.max_settings or begun
        brackets = cut(brackets_of(search, member.train, learns=member.sampler in LEARNING), settings)
        yield (
            member.name,
            tuple(
                PlannedCohort(epochs=(*one.rungs, member.train.epochs), settings=contenders(one, search.factor))
                for one in brackets
            ),
        )


def _populations(prepared: Prepared) -> dict[str, tuple[int, int]]:
    """How many trials each member's population has, and how many are replaced at a time; empty if there is none."""
    rules = prepared.config.search.population
    if rules is None:
        return {}
    counts = Counter(trial.member for trial in prepared.trials)
    return {member: (count, replaced_of(count, rules.fraction)) for member, count in counts.items()}


def _facts(trial: Trial, found: Checked | Failure, checked: Mapping[str, Checked]) -> Facts:
    if isinstance(found, Checked):
        return found.facts
    if found.kind == "data":
        raise ExperimentError(f"{trial.source.path}: trial {trial.id}: {found.message}", found.traceback)
    return checked[trial.member].facts  # only this setting's model fails; its data is the member's


def _planned(trial: Trial, facts: Facts, step_s: float, cohorts: Sequence[PlannedCohort]) -> PlannedTrial:
    length = steps_per_epoch(trial, facts)
    train = with_turns(trial, facts, step_s)
    layouts = {cohort.epochs for cohort in cohorts}
    ends = layouts.pop() if len(layouts) == 1 else (train.epochs,)  # turns end where trials are compared
    turns = sum(math.ceil((end - begin) / train.epochs_per_round) for begin, end in pairwise((0, *ends)))
    rounds = turns * math.ceil(length / (train.steps_per_round or length))
    return PlannedTrial(trial=trial, steps_per_epoch=length, rounds=rounds, steps=length * trial.train.epochs)
