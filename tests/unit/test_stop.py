"""The rules' arithmetic, epoch by epoch."""

from __future__ import annotations

import pytest

from runner.records import EarlyStopping, Epoch, ReduceLROnPlateau, Report, TrainSettings, Turn, Verdict
from runner.search.rules import Better, RuleState, judge

TURN = Turn(pid=1, started_s=0, ended_s=1, compute_s=1)


def reports(values: list[float], monitor: str = "val_loss") -> list[Report]:
    history = [{monitor: value, "loss": 1.0, "learning_rate": 0.1} for value in values]
    return [
        Report(
            trial_id="0",
            round=epoch,
            step=epoch,
            epoch=epoch + 1,
            running={"loss": 1.0},
            epochs=(Epoch(number=epoch + 1, metrics=metrics, ended_s=1.0),),
            turn=TURN,
        )
        for epoch, metrics in enumerate(history)
    ]


def verdicts(train: TrainSettings, values: list[float], monitor: str = "val_loss") -> list[Verdict]:
    state, found = RuleState(), []
    for report in reports(values, monitor):
        verdict, state = judge(train, state, report)
        found.append(verdict)
    return found


def test_patience_counts_epochs_without_improvement() -> None:
    train = TrainSettings(epochs=9, early_stopping=EarlyStopping(patience=2, mode="min"))
    assert [v.kind for v in verdicts(train, [3, 2, 2, 1, 1, 1])] == ["keep"] * 5 + ["stop"]


def test_an_improvement_must_exceed_min_delta() -> None:
    rule = EarlyStopping(patience=1, mode="min", min_delta=0.5)
    assert [v.kind for v in verdicts(TrainSettings(early_stopping=rule), [3, 2.6])] == ["keep", "stop"]


def test_epochs_before_start_from_epoch_do_not_count() -> None:
    rule = EarlyStopping(patience=1, mode="min", start_from_epoch=3)
    kinds = [v.kind for v in verdicts(TrainSettings(early_stopping=rule), [1, 2, 3, 4, 5])]
    assert kinds == ["keep"] * 4 + ["stop"]


def test_a_baseline_that_is_not_beaten_stops() -> None:
    rule = EarlyStopping(patience=2, mode="max", baseline=0.9, monitor="val_loss")
    assert [v.kind for v in verdicts(TrainSettings(early_stopping=rule), [0.1, 0.2, 0.2])] == ["keep", "keep", "stop"]


@pytest.mark.parametrize(("restore", "expected"), [(True, [True, True, False]), (False, [False, False, False])])
def test_the_best_epoch_is_kept_only_where_it_will_be_restored(restore: bool, expected: list[bool]) -> None:
    rule = EarlyStopping(patience=5, mode="min", restore_best=restore)
    assert [v.keep_best for v in verdicts(TrainSettings(early_stopping=rule), [3, 2, 4])] == expected


def test_a_trial_that_completes_has_its_best_weights_restored_as_in_keras() -> None:
    train = TrainSettings(epochs=2, early_stopping=EarlyStopping(patience=9, mode="min"))
    last = verdicts(train, [1, 2])[-1]
    assert (last.kind, last.restore_best) == ("complete", True)
    last = verdicts(train, [2, 1])[-1]
    assert (last.kind, last.restore_best, last.keep_best) == ("complete", False, True)


def test_the_rate_is_reduced_after_patience_and_rests_for_the_cooldown() -> None:
    rule = ReduceLROnPlateau(patience=2, factor=0.1, cooldown=2, mode="min")
    rates = [v.learning_rate for v in verdicts(TrainSettings(epochs=99, reduce_lr_on_plateau=rule), [1.0] * 8)]
    assert [rate is not None for rate in rates] == [False, False, True, False, False, True, False, False]
    assert rates[2] == pytest.approx(0.01)


def test_the_rate_is_not_reduced_below_min_lr() -> None:
    rule = ReduceLROnPlateau(patience=1, factor=0.1, min_lr=0.05, mode="min")
    assert verdicts(TrainSettings(epochs=9, reduce_lr_on_plateau=rule), [1, 1])[-1].learning_rate == 0.05
    at_floor = ReduceLROnPlateau(patience=1, factor=0.1, min_lr=0.1, mode="min")
    assert verdicts(TrainSettings(epochs=9, reduce_lr_on_plateau=at_floor), [1, 1])[-1].learning_rate is None


def test_better_knows_both_directions() -> None:
    assert Better("max", 0.0)(2, 1)
    assert not Better("max", 0.0)(1, 1)
    assert Better("min", 0.0)(1, 2)
    assert Better("min", 0.0)(1, None)
