"""Workers that have collected too much are replaced between trials, over fakes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from runner.loop import lockstep
from runner.loop.recovery import Recovery
from runner.loop.schedule import Schedule
from runner.loop.snapshotting import Snapshotting
from runner.records import Allocation, Report, Slot, Trial
from runner.testing import FakeFleet, MemoryJournal, MemorySnapshots, NullWatcher, falling_loss


class WearingFleet(FakeFleet):
    """Its workers ask to be replaced once they have had `most` trials."""

    def __init__(self, slots: int, most: int) -> None:
        super().__init__(range(slots), falling_loss)
        self.most, self.had = most, {slot: set[str]() for slot in range(slots)}

    def advance(self, work: Any) -> Any:
        answers = dict(super().advance(work))
        for slot, items in work.items():
            self.had[slot] |= {item.trial.id for item in items}
            for item in items if len(self.had[slot]) >= self.most else ():
                if isinstance(answer := answers.get(item.trial.id), Report):
                    answers[item.trial.id] = replace(answer, is_worn=True)
        return answers

    def replace(self, shares: Any) -> None:
        super().replace(shares)
        for slot in shares:
            self.had[slot].clear()


def run(fleet: WearingFleet, trials: list[Trial], live: int | None = None) -> MemoryJournal:
    journal = MemoryJournal()
    snapshotting = Snapshotting(fleet, MemorySnapshots())
    places = [Slot(index=index, allocation=Allocation(num_cpus=1)) for index in fleet.slots]
    lockstep.Loop(Schedule(trials, places, live), Recovery(fleet, journal, snapshotting), journal, NullWatcher()).run()
    return journal


def numbers(journal: MemoryJournal) -> list[list[tuple[Any, ...]]]:
    """What the journal has of each barrier."""
    return [
        sorted((r.trial_id, r.round, r.step, r.running["loss"]) for r in reports.values() if isinstance(r, Report))
        for reports, _, _ in journal.commits
    ]


@pytest.fixture
def trials(make_trial: Any) -> list[Trial]:
    return [make_trial(id=f"{number:03}", epochs=2) for number in range(6)]


def test_a_worker_is_replaced_between_two_trials_and_nothing_is_restored(trials: list[Trial]) -> None:
    fleet = WearingFleet(slots=1, most=2)
    journal = run(fleet, trials)
    assert fleet.replaced == [0, 0]  # after two trials and after four, and not when none is left
    assert (fleet.restored, journal.incidents) == ([], [])
    assert numbers(journal) == numbers(run(WearingFleet(slots=1, most=99), trials))


def test_the_worker_of_another_slot_goes_on(trials: list[Trial]) -> None:
    fleet = WearingFleet(slots=2, most=2)
    fleet.had[1] = {"of an earlier sweep"}
    run(fleet, [*trials[:3], replace(trials[3], train=replace(trials[3].train, epochs=3)), *trials[4:]])
    assert fleet.replaced[0] == 1
    assert set(fleet.replaced) == {0, 1}
    assert fleet.restored == []


@pytest.mark.parametrize("callback_params", [None, ()], ids=["without callbacks", "with callbacks"])
def test_trials_that_take_turns_are_not_interrupted(trials: list[Trial], callback_params: Any) -> None:
    fleet = WearingFleet(slots=1, most=3)
    run(fleet, [replace(trial, callback_params=callback_params) for trial in trials], live=3)
    assert fleet.replaced == [0]  # once the first three have ended
    assert fleet.restored == []


def test_no_worker_is_replaced_for_trials_that_are_never_alone(trials: list[Trial]) -> None:
    fleet = WearingFleet(slots=1, most=1)
    journal = run(fleet, trials, live=6)
    assert (fleet.replaced, fleet.restored, journal.incidents) == ([], [], [])


def test_no_more_workers_are_replaced_than_trials_are_queued(trials: list[Trial]) -> None:
    fleet = WearingFleet(slots=2, most=1)
    run(fleet, trials[:3])
    assert fleet.replaced == [0]
