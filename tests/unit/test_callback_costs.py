"""What the planners take into account of trials with callbacks."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from runner.loop.schedule import Schedule
from runner.records import Allocation, Slot, Verdict
from runner.search.policy import SearchPolicy

SLOTS = [Slot(index=index, allocation=Allocation(num_cpus=1)) for index in range(2)]
ENDS = Verdict(kind="complete")


def moved(trials: list[Any]) -> dict[int, tuple[Any, ...]]:
    """The trials that leave their slot after both trials of the other one have ended."""
    schedule = Schedule(trials, SLOTS, live=4, policy=SearchPolicy())
    work = schedule.next_round()
    schedule.apply({item.trial.id: ENDS for item in work[1]})
    return schedule.give_way()


def test_trials_with_callbacks_are_not_moved_for_balance_because_they_would_begin_again(make_trial: Any) -> None:
    trials = [make_trial(id=f"{number:03}") for number in range(4)]
    assert [trial.id for trials in moved(trials).values() for trial in trials] == ["002"]
    assert moved([replace(trial, callback_params=()) for trial in trials]) == {}


def test_each_of_them_compiles_its_own_program(make_trial: Any) -> None:
    one, other = make_trial(id="000"), make_trial(id="001", seed=1)
    assert one.likely_program == other.likely_program
    assert replace(one, callback_params=()).likely_program != replace(other, callback_params=()).likely_program
