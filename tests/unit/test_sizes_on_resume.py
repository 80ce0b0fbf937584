"""Which sizes of stacks a resumed sweep begins with."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from runner.driver.resume_state import ResumeState
from runner.loop.history import read_history
from runner.loop.schedule import Schedule
from runner.records import Allocation, Report, Slot, Work
from runner.testing import FakeFleet


def test_a_repeated_last_turn_that_runs_out_of_memory_is_halved_at_the_step_where_it_begins(make_trial: Any) -> None:
    trial = make_trial(id="000", epochs=9, stack=8)
    fleet = FakeFleet(range(1))
    reports = [fleet.advance({0: (Work(trial=trial, round=number),)})[trial.id] for number in range(2)]
    assert all(isinstance(report, Report) for report in reports)
    past = read_history(trial, reports[:-1], ())  # type: ignore[arg-type]
    unused: Any = None
    state = ResumeState(
        sweep=unused, records=(), trials=(trial,), reports={"000": reports}, states={},  # type: ignore[dict-item]
        pasts={"000": past}, made={"000": ()},
    )  # fmt: skip
    assert past.next_turn is not None
    (halved,) = state.stack_sizes().halved([replace(past.next_turn)])
    assert (halved.step, halved.arguments) == (4, {"size": 4})


def test_slots_without_a_trial_count_because_a_resumed_sweep_fills_others(make_trial: Any) -> None:
    slots = [Slot(index=index, allocation=Allocation(num_cpus=1)) for index in range(3)]
    schedule = Schedule([make_trial(id="000")], slots)
    assert len(schedule.next_round()) == 1
    assert schedule.slots == 3
    schedule.close([2])
    assert schedule.slots == 2
