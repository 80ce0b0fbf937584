"""When a call and a turn end, and what a step takes, by a clock that the test moves."""

from __future__ import annotations

import pytest

from runner.worker.turn_clock import CALL_S, LONGEST_S, TurnClock, step_time_s


def test_a_step_is_timed_by_the_least_of_several_calls() -> None:
    seconds, asked = 0.0, []
    taken = iter([0.15, 0.04, 0.4])  # reading begins; well; another process

    def run(count: int) -> None:
        nonlocal seconds
        asked.append(count)
        seconds += next(taken)

    assert step_time_s(run, lambda: seconds) == pytest.approx(0.02)
    assert asked == [1, 2, 4]


def test_a_call_has_as_many_steps_as_fit_into_its_time_by_the_call_before() -> None:
    clock = TurnClock()
    assert clock.steps_of_call() == 1, "nothing is known yet"
    clock.add_call(1, steps_s=CALL_S / 8, whole_s=CALL_S)
    assert clock.steps_of_call() == 8
    clock.begin(is_limited=True)
    assert clock.steps_of_call() == 8, "it is known from the turn before"
    clock.add_call(8, steps_s=80 * CALL_S, whole_s=80 * CALL_S)
    assert clock.steps_of_call() == 1


def test_a_turn_is_overdue_by_its_own_training_and_validation_alone() -> None:
    clock = TurnClock()
    clock.begin(is_limited=True)
    clock.add_call(1, steps_s=0.0, whole_s=LONGEST_S / 2)
    assert not clock.is_overdue
    clock.add_validation(LONGEST_S)
    assert clock.is_overdue
    assert (clock.compute_s, clock.evaluate_s) == (LONGEST_S / 2, LONGEST_S)
    clock.begin(is_limited=True)
    assert not clock.is_overdue
    clock.begin(is_limited=False)
    clock.add_call(1, steps_s=0.0, whole_s=100 * LONGEST_S)
    assert not clock.is_overdue, "a repeated turn ends where it ended"
