"""How long a worker may take, from what its turns have taken so far."""

from __future__ import annotations

from typing import Any

import pytest

from runner.fleet.deadlines import Deadlines
from runner.records import Epoch, Report, Trial, Turn
from runner.testing import FakeFleet


def learn(deadlines: Deadlines, trial: Trial, seconds: list[float], epochs: list[int], steps: list[int]) -> None:
    facts, before = FakeFleet([0])._facts(), 0
    for number, (took_s, epoch, step) in enumerate(zip(seconds, epochs, steps, strict=True)):
        turn = Turn(pid=1, started_s=100.0, ended_s=100.0 + took_s, compute_s=0.0)
        found = facts if number == 0 else None
        report = Report(
            trial_id=trial.id,
            round=number,
            step=step,
            epoch=epoch,
            running={},
            epochs=tuple(Epoch(number=n + 1, metrics={"loss": 0.5}, ended_s=1.0) for n in range(before, epoch)),
            turn=turn,
            facts=found,
        )
        deadlines.learn(report)
        before = epoch


@pytest.fixture
def deadlines() -> Deadlines:
    return Deadlines(first_s=600.0, later_s=30.0)


def test_a_first_turn_has_the_long_limit_and_those_of_a_slot_add_up(deadlines: Deadlines, make_trial: Any) -> None:
    assert deadlines.limit_s([make_trial()]) == 600.0
    assert deadlines.limit_s([make_trial(), make_trial(id="001")]) == 1200.0


def test_later_turns_have_ten_medians_and_never_less_than_the_least(deadlines: Deadlines, make_trial: Any) -> None:
    trial = make_trial(steps_per_round=2)
    learn(deadlines, trial, [1.0, 1.0, 9.0], [0, 1, 1], [2, 4, 6])
    assert deadlines.limit_s([trial]) == 30.0
    learn(deadlines, trial, [8.0, 9.0, 9.0], [2, 2, 3], [8, 10, 12])
    assert deadlines.limit_s([trial]) == 85.0


def test_a_turn_with_a_long_validation_does_not_make_the_next_a_hang(deadlines: Deadlines, make_trial: Any) -> None:
    trial = make_trial(steps_per_round=2)
    learn(deadlines, trial, [1.0, 200.0, 1.0, 1.0], [0, 1, 1, 1], [2, 4, 6, 6])
    assert deadlines.limit_s([trial]) == 400.0


def test_the_first_turn_that_validates_has_the_long_limit(deadlines: Deadlines, make_trial: Any) -> None:
    trial = make_trial(steps_per_round=1, validate_every=2)
    limits = []
    for step in range(1, 9):
        learn(deadlines, trial, [1.0], [step // 4], [step])
        limits.append(deadlines.limit_s([trial]))
    assert limits == [30.0] * 6 + [600.0, 30.0]


def test_a_trial_that_lost_its_seat_begins_again_with_the_long_limit(deadlines: Deadlines, make_trial: Any) -> None:
    trial = make_trial()
    learn(deadlines, trial, [1.0], [1], [4])
    assert deadlines.limit_s([trial]) == 30.0
    deadlines.forget(trial)
    assert deadlines.limit_s([trial]) == 600.0


def limits(deadlines: Deadlines, trial: Trial, steps: range) -> list[float]:
    """After each of these steps, with four to an epoch."""
    found = []
    for step in steps:
        ends = step % 4 == 0
        turn = Turn(pid=1, started_s=100.0, ended_s=101.0, compute_s=0.0)
        report = Report(
            trial_id=trial.id, round=step, step=step, epoch=step // 4, running={}, turn=turn,
            epochs=(Epoch(number=step // 4, metrics={"loss": 0.5}, ended_s=101.0),) if ends else (),
            facts=FakeFleet([0])._facts() if step == 1 else None,
        )  # fmt: skip
        deadlines.learn(report)
        found.append(deadlines.limit_s([trial]))
    return found


def test_the_first_validation_in_a_new_process_has_the_long_limit_too(deadlines: Deadlines, make_trial: Any) -> None:
    trial = make_trial(steps_per_round=1)
    assert limits(deadlines, trial, range(1, 10)) == [30.0] * 2 + [600.0] + [30.0] * 6
    deadlines.forget(trial)
    assert limits(deadlines, trial, range(9, 17)) == [30.0] * 2 + [600.0] + [30.0] * 5


def test_a_seat_that_begins_with_a_validation_has_had_its_first(deadlines: Deadlines, make_trial: Any) -> None:
    trial = make_trial(steps_per_round=1, validate_every=2)
    limits(deadlines, trial, range(1, 8))
    deadlines.forget(trial)
    assert limits(deadlines, trial, range(8, 17)) == [30.0] * 9


def test_a_seat_that_begins_between_two_validations_waits_long_for_the_next(
    deadlines: Deadlines, make_trial: Any
) -> None:
    trial = make_trial(steps_per_round=1, validate_every=2)
    limits(deadlines, trial, range(1, 10))
    deadlines.forget(trial)
    assert limits(deadlines, trial, range(10, 18)) == [30.0] * 5 + [600.0] + [30.0] * 2
