"""Population-based training: who takes over whose state, and what changes, by pure functions and over fakes."""

from __future__ import annotations

import itertools
import math
import random
from dataclasses import replace
from typing import Any

import pytest

from runner.config.schema import Population as Rules
from runner.config.schema import Search
from runner.config.space import Choice, Range
from runner.loop import lockstep
from runner.loop.recovery import Recovery
from runner.loop.schedule import Schedule
from runner.loop.snapshotting import Snapshotting
from runner.records import (
    Allocation,
    Clone,
    Epoch,
    Failure,
    Metrics,
    Report,
    Slot,
    Snapshot,
    Trial,
    Turn,
    Verdict,
    Work,
)
from runner.search.cohorts import Scoring
from runner.search.policy import StepBudget
from runner.search.population import Population, perturbed, replaced_of
from runner.search.space import Constraint, Space
from runner.search.stopping import make_policy
from runner.testing import FakeFleet, MemoryJournal, MemorySnapshots, NullWatcher

LOSS = Scoring("loss", "minimize")
RATE = Range(1e-4, 1.0, log=True)


def population(trials: list[Trial], epochs: int = 6, space: Space | None = None, **rules: Any) -> Population:
    found = Population(
        rules=Rules(**{"interval": 2, **rules}), space=space or Space(dimensions={"lr": RATE}), scoring=LOSS, seed=1,
        epochs=epochs,
    )  # fmt: skip
    found.add(trials)
    return found


def some(make_trial: Any, count: int, epochs: int = 6) -> list[Trial]:
    return [make_trial(id=f"{number:03}", params={"lr": 0.01 * (number + 1)}, epochs=epochs) for number in range(count)]


def report(trial_id: str, epoch: int, loss: float, first: int = 0) -> Report:
    epochs = tuple(Epoch(number=n, metrics={"loss": loss}, ended_s=0.0) for n in range(first + 1, epoch + 1))
    turn = Turn(pid=1, started_s=0.0, ended_s=1.0, compute_s=1.0)
    return Report(
        trial_id=trial_id, round=epoch - 1, step=4 * epoch, epoch=epoch, running={"loss": loss}, epochs=epochs,
        turn=turn,
    )  # fmt: skip


KEEP = Verdict(kind="keep")


@pytest.mark.parametrize(("count", "replaced"), [(1, 0), (2, 1), (3, 1), (4, 1), (8, 2), (16, 4)])
def test_a_quarter_is_replaced_and_never_more_than_half(count: int, replaced: int) -> None:
    assert replaced_of(count, 0.25) == replaced


def test_the_worst_go_on_from_the_best_whatever_the_order_of_reports(make_trial: Any) -> None:
    trials = some(make_trial, 8)
    losses = [0.8, 0.1, 0.7, 0.2, 0.5, 0.9, 0.6, 0.4]
    answers = set()
    for order in itertools.islice(itertools.permutations(range(8)), 0, 40320, 5003):
        found = population(trials)
        for place in order[:-1]:
            found.take(f"{place:03}", report(f"{place:03}", 2, losses[place]), KEEP)
        assert found.decide() == ({}, {}), "one has not reported"
        found.take(f"{order[-1]:03}", report(f"{order[-1]:03}", 2, losses[order[-1]]), KEEP)
        ends, made = found.decide()
        assert not ends
        assert set(made) == {"000", "005"}
        assert {one.arguments["parent"] for one in made.values()} <= {"001", "003"}
        assert found.decide() == ({}, {}), "once"
        answers.add(str(sorted((trial_id, str(one)) for trial_id, one in made.items())))
    assert len(answers) == 1


def test_a_clone_says_what_it_takes_over_and_what_changes(make_trial: Any) -> None:
    trials = some(make_trial, 4)
    found = population(trials, resample=0.0, factor=2.0)
    for trial, loss in zip(trials, [1.0, 2.0, 3.0, 4.0], strict=True):
        found.take(trial.id, report(trial.id, 2, loss), KEEP)
    _, made = found.decide()
    clone = Clone.of(made["003"].arguments)
    assert (clone.parent, clone.round, clone.step, clone.epoch) == ("000", 2, 8, 2)
    assert clone.before == {"lr": 0.04}
    assert clone.values["lr"] in (0.005, 0.02)
    assert (made["003"].step, made["003"].by, found.next_epoch) == (8, "population", 4)


def test_new_values_fulfil_the_constraints(make_trial: Any) -> None:
    space = Space(
        dimensions={"low": Range(1, 9, whole=True), "high": Range(1, 9, whole=True)},
        constraints=(Constraint.parse("low <= high"),),
    )
    trials = [make_trial(id=f"{n:03}", params={"low": 4, "high": 5}, epochs=9) for n in range(12)]
    found = population(trials, epochs=40, space=space, fraction=0.5, interval=1)
    seen = set()
    for epoch in range(1, 30):
        for trial in trials:
            found.take(trial.id, report(trial.id, epoch, float(trial.index), epoch - 1), KEEP)
        _, made = found.decide()
        seen |= {tuple(Clone.of(one.arguments).values.values()) for one in made.values()}
    assert len(seen) > 10
    assert all(low <= high for low, high in seen)


@pytest.mark.parametrize(
    ("dimension", "value", "allowed"),
    [
        (RATE, 0.1, {0.05, 0.2}),
        (RATE, 1.0, {0.5, 1.0}),
        (Range(1, 100, whole=True), 1, {1, 2}),
        (Range(10, 20, whole=True, step=5), 15, {10, 20}),
        (Range(-4.0, 4.0), -2.0, {-4.0, -1.0}),
        (Choice((64, 16, 32)), 32, {16, 64}),
        (Choice((64, 16, 32)), 64, {32, 64}),
        (Choice(("adam", "sgd")), "adam", {"adam"}),
        (Choice((True, False)), True, {True}),
        (Choice((1, "auto")), 1, {1}),
    ],
    ids=str,
)
def test_a_value_changes_to_one_near_it(dimension: Any, value: Any, allowed: set[Any]) -> None:
    found = {perturbed(dimension, value, 2.0, random.Random(seed)) for seed in range(40)}
    assert found == allowed


def test_a_zero_is_drawn_again(make_trial: Any) -> None:
    found = [perturbed(Range(0.0, 0.5), 0.0, 2.0, random.Random(seed)) for seed in range(20)]
    assert len(set(found)) == 20
    assert all(isinstance(value, float) and 0 <= value <= 0.5 for value in found)


class Run:
    """A sweep over fakes whose members form a population."""

    def __init__(self, trials: list[Trial], curve: Any, slots: int = 2, lineage: Any = None, **rules: Any) -> None:
        self.fleet, self.journal, self.snapshots = FakeFleet(range(slots), curve), MemoryJournal(), MemorySnapshots()
        members = {"test": population([], trials[0].train.epochs, **rules)}
        policy = make_policy(Search(), {}, trials, LOSS, populations=members)
        places = [Slot(index=index, allocation=Allocation(num_cpus=1)) for index in range(slots)]
        recovery = Recovery(self.fleet, self.journal, Snapshotting(self.fleet, self.snapshots))
        schedule = Schedule(trials, places, len(trials), policy=policy)
        lockstep.Loop(schedule, recovery, self.journal, NullWatcher(), policy=policy).run()

    @property
    def ends(self) -> dict[str, str]:
        return {
            d.trial_id: d.reason or d.kind for d in self.journal.decisions if d.kind in ("stop", "complete", "fail")
        }

    @property
    def clones(self) -> list[tuple[str, str, int]]:
        found = [(made.trial_id, Clone.of(made.arguments)) for made in self.journal.decisions if made.kind == "clone"]
        return [(trial_id, clone.parent, clone.epoch) for trial_id, clone in found]


def of_rate(trial: Trial, epoch: int) -> Metrics:
    return {"loss": abs(math.log(float(str(trial.params["lr"])) / 0.01)) + 1 / epoch}


def test_losers_train_on_with_new_values_from_the_state_of_a_winner(make_trial: Any) -> None:
    run = Run(some(make_trial, 4), of_rate)
    assert run.clones[0] == ("003", "000", 2)
    assert set(run.ends.values()) == {"complete"}
    restored = [replay for replay in run.fleet.restored if replay.trial.id == "003"]
    assert restored[0].snapshot is not None
    assert (restored[0].snapshot.step, restored[0].snapshot.inherited) == (8, True)
    assert restored[0].trial.params["lr"] != 0.04


def test_a_diverged_trial_goes_on_from_another_ones_state(make_trial: Any) -> None:
    def curve(trial: Trial, epoch: int) -> Metrics:
        return {"loss": math.nan} if trial.params["lr"] == 0.02 and epoch == 1 else of_rate(trial, epoch)

    run = Run(some(make_trial, 4), curve)
    assert next((trial_id, epoch) for trial_id, _, epoch in run.clones) == ("001", 2)
    assert set(run.ends.values()) == {"complete"}


def test_a_trial_that_diverges_after_the_last_comparison_ends(make_trial: Any) -> None:
    def curve(trial: Trial, epoch: int) -> Metrics:
        return {"loss": math.nan} if trial.id == "001" and epoch == 5 else of_rate(trial, epoch)

    run = Run(some(make_trial, 4), curve)
    assert run.ends["001"].startswith("diverged:")


def test_a_population_that_has_diverged_as_a_whole_ends_without_models(make_trial: Any) -> None:
    run = Run(some(make_trial, 4), lambda trial, epoch: {"loss": math.nan})
    assert all(reason.startswith("diverged:") for reason in run.ends.values())
    assert len(run.ends) == 4
    assert not any(exports for _, _, exports in run.journal.commits)


def test_clones_that_are_due_when_a_sweep_goes_on_are_recorded_and_carried_out(make_trial: Any) -> None:
    """All had completed at an epoch at which they are compared now, because the user wants more epochs."""
    trials = some(make_trial, 4, epochs=4)
    members = {"test": population([], 4)}
    policy = make_policy(Search(), {}, trials, LOSS, populations=members)
    reports = [report(trial.id, 2, of_rate(trial, 2)["loss"]) for trial in trials]
    for trial, one in zip(trials, reports, strict=True):
        policy.take(trial.id, one, KEEP)
    fleet, journal, snapshots = FakeFleet(range(1), of_rate), MemoryJournal(), MemorySnapshots()
    recovery = Recovery(fleet, journal, Snapshotting(fleet, snapshots), lineage=lambda clone: [])
    begun = {}
    for trial in trials:
        order = Work(trial=trial, round=0, until=8)
        snapshots.written.append(Snapshot(trial_id=trial.id, round=2, step=8, state=b"8"))
        begun[trial.id] = Work(trial=trial, round=2)
        recovery.take_over(trial.id, [order, replace(order, round=1)], begun[trial.id])
    places = [Slot(index=0, allocation=Allocation(num_cpus=1))]
    schedule = Schedule(trials, places, 4, begun, policy=policy)
    lockstep.Loop(schedule, recovery, journal, NullWatcher(), policy=policy).run()
    clones = [made for made in journal.decisions if made.kind == "clone"]
    assert [(made.trial_id, made.arguments["epoch"], made.arguments["before"]) for made in clones] == [
        ("003", 2, {"lr": 0.04})
    ]
    restored = {replay.trial.id: replay for replay in fleet.restored}
    assert restored["003"].snapshot is not None
    assert restored["003"].snapshot.inherited
    assert restored["003"].trial.params == clones[0].arguments["values"]


def test_steps_that_others_took_count_once(make_trial: Any) -> None:
    budget = StepBudget(max_steps=50)
    budget.take(make_trial(id="000"), (), 40)
    budget.start("add-000", 40)
    budget.take(make_trial(id="add-000"), (), 49)
    assert budget.reason() is None
    budget.take(make_trial(id="add-000"), (), 50)
    assert budget.reason() == "50 steps were taken, search.max_steps=50"


def test_a_failed_trial_is_missed_by_nobody(make_trial: Any) -> None:
    def curve(trial: Trial, epoch: int) -> Metrics | Failure:
        if trial.id == "000" and epoch == 1:
            return Failure(trial_id="000", kind="train", message="broken")
        return of_rate(trial, epoch)

    run = Run(some(make_trial, 4), curve)
    assert run.ends["000"] == "train: broken"
    assert next(parent for _, parent, _ in run.clones) == "001"
    assert sorted(run.ends) == ["000", "001", "002", "003"]


def test_a_target_ends_a_sweep_in_the_epoch_that_reaches_it(make_trial: Any) -> None:
    trial = make_trial(epochs=9, epochs_per_round=9)
    policy = make_policy(Search(target=0.4), {}, [trial], LOSS)
    fleet, journal = FakeFleet(range(1), lambda trial, epoch: {"loss": 1 / epoch}), MemoryJournal()
    schedule = Schedule([trial], [Slot(index=0, allocation=Allocation(num_cpus=1))], policy=policy)
    lockstep.Loop(schedule, Recovery(fleet, journal), journal, NullWatcher(), policy=policy).run()
    assert fleet.steps["000"] == 12, "three epochs of four steps"
    assert [made.by for made in journal.decisions] == ["target"]


def test_a_trial_alone_trains_as_if_there_were_no_population(make_trial: Any) -> None:
    run = Run(some(make_trial, 1), of_rate, slots=1)
    assert (run.clones, run.ends) == ([], {"000": "complete"})
