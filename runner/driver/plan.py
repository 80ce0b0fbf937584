"""Computes what `sweep` would do: trials, slots and limits, steps and rounds."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from runner.autotune.auto import steps_per_epoch, with_turns
from runner.driver.check import check_members
from runner.driver.disk import DiskPlan, plan_disk
from runner.driver.metric import choose_metric
from runner.driver.prepare import Prepared, open_fleet
from runner.errors import ExperimentError
from runner.records import Checked, Facts, Failure, Trial


@dataclass(frozen=True, kw_only=True, slots=True)
class PlannedTrial:
    """The work of one trial, if no rule stops it early."""

    trial: Trial
    steps_per_epoch: int
    rounds: int
    steps: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """A whole sweep before it runs.

    Args:
        facts: of each member's first trial.
        disk: what the sweep takes of the disk that its folder is on.
    """

    prepared: Prepared
    metric: str
    goal: str
    trials: tuple[PlannedTrial, ...]
    facts: Mapping[str, Facts]
    disk: DiskPlan


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
    trials = tuple(_planned(t, sizes[t.data_key], checked[t.member].step_s) for t in prepared.trials)
    facts = {member: check.facts for member, check in checked.items()}
    disk = plan_disk(prepared, facts)
    return Plan(prepared=prepared, metric=metric, goal=goal, trials=trials, facts=facts, disk=disk)


def _facts(trial: Trial, found: Checked | Failure, checked: Mapping[str, Checked]) -> Facts:
    if isinstance(found, Checked):
        return found.facts
    if found.kind == "data":
        raise ExperimentError(f"{trial.source.path}: trial {trial.id}: {found.message}", found.traceback)
    return checked[trial.member].facts  # only this setting's model fails; its data is the member's


def _planned(trial: Trial, facts: Facts, step_s: float) -> PlannedTrial:
    length = steps_per_epoch(trial, facts)
    train = with_turns(trial, facts, step_s)
    rounds = math.ceil(train.epochs / train.epochs_per_round) * math.ceil(length / (train.steps_per_round or length))
    return PlannedTrial(trial=trial, steps_per_epoch=length, rounds=rounds, steps=length * trial.train.epochs)
