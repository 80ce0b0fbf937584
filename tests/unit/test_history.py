"""A trial's past is read from decisions: what was decided is not judged again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from runner.loop.history import read_history, reopen
from runner.records import (
    Decision,
    EarlyStopping,
    Epoch,
    ReduceLROnPlateau,
    Report,
    Trial,
    Turn,
    Verdict,
    decisions_of,
    verdict_of,
)

TURN = Turn(pid=1, started_s=0.0, ended_s=1.0, compute_s=1.0)


def reports_of(losses: Sequence[float]) -> list[Report]:
    return [
        Report(
            trial_id="000", round=n, step=4 * (n + 1), epoch=n + 1, running={"loss": loss}, turn=TURN,
            epochs=(Epoch(number=n + 1, metrics={"loss": loss, "learning_rate": 0.1}, ended_s=1.0),),
        )
        for n, loss in enumerate(losses)
    ]  # fmt: skip


def decided(step: int, kind: Any, by: str = "user", **arguments: Any) -> Decision:
    return Decision(trial_id="000", step=step, kind=kind, by=by, arguments=arguments)


@pytest.mark.parametrize(
    "verdict",
    [
        Verdict(kind="keep", keep_best=True, learning_rate=0.25),
        Verdict(kind="stop", reason="no better", by="early_stopping", restore_best=True),
        Verdict(kind="stop", reason="diverged: loss is nan", by="training", keeps_model=False),
        Verdict(kind="complete", by="training", keep_best=True),
        Verdict(kind="fail", reason="build: no", by="failure"),
    ],
)
def test_a_verdict_is_what_its_decisions_say(verdict: Verdict) -> None:
    assert verdict_of(decisions_of("000", 8, verdict)) == verdict


def test_orders_are_those_that_were_decided_and_not_those_that_rules_would_give(make_trial: Any) -> None:
    trial = make_trial(epochs=9, reduce_lr_on_plateau=ReduceLROnPlateau(monitor="loss", mode="min", patience=1))
    history = read_history(trial, reports_of([3.0, 3.0, 3.0]), [decided(4, "set", learning_rate=0.7)])
    assert [order.learning_rate for order in history.orders] == [None, 0.7, None]
    assert history.next_turn is not None
    assert history.next_turn.learning_rate is None, "the rule would have lowered it"


def test_a_trial_with_turns_after_its_end_is_refused(make_trial: Any) -> None:
    with pytest.raises(ValueError, match="turns after the one that ended it, round 0"):
        read_history(make_trial(epochs=9), reports_of([3.0, 2.0]), [decided(4, "stop")])


def test_a_completed_trial_that_is_given_more_epochs_goes_on_as_if_it_had_always_had_them(make_trial: Any) -> None:
    rules = {
        "early_stopping": EarlyStopping(monitor="loss", mode="min", patience=5),
        "reduce_lr_on_plateau": ReduceLROnPlateau(monitor="loss", mode="min", patience=1, factor=0.5),
    }
    made = [decided(4, "keep_best"), decided(8, "keep_best"), decided(12, "restore_best"), decided(12, "complete")]
    more: Trial = make_trial(epochs=6, **rules)
    history, new = reopen(more, reports_of([3.0, 2.0, 2.5]), made)
    assert [(one.kind, one.step, one.by) for one in new] == [
        ("continue", 12, "user"),
        ("set", 12, "reduce_lr_on_plateau"),
    ]
    assert history.next_turn is not None
    assert (history.next_turn.learning_rate, history.next_turn.keep_best) == (0.05, False)
    again, nothing = reopen(more, reports_of([3.0, 2.0, 2.5]), [*made, *new])
    assert (again, nothing) == (history, ()), "the next driver reads it and decides nothing"


def test_a_completed_trial_that_a_rule_would_have_stopped_repeats_its_last_turn(make_trial: Any) -> None:
    stops = EarlyStopping(monitor="loss", mode="min", patience=1)
    history, new = reopen(make_trial(epochs=6, early_stopping=stops), reports_of([2.0, 2.5]), [decided(8, "complete")])
    assert (len(history.orders), new) == (1, ())


@pytest.mark.parametrize(("model_lost", "turns"), [(False, 2), (True, 1)])
def test_a_failed_trial_goes_on_after_its_last_turn_or_repeats_it_for_its_model(
    make_trial: Any, model_lost: bool, turns: int
) -> None:
    fail = decided(8, "fail", by="failure", **({"model_lost": True} if model_lost else {}))
    history, new = reopen(make_trial(epochs=2 if model_lost else 9), reports_of([3.0, 2.0]), [fail])
    assert len(history.orders) == turns
    assert [one.kind for one in new] == ([] if model_lost else ["continue"])
    assert history.next_turn is not None
    assert history.next_turn.round == turns


def test_a_revoked_end_leaves_what_else_was_decided_at_that_step(make_trial: Any) -> None:
    made = [decided(8, "keep_best"), decided(8, "set", learning_rate=0.5), decided(8, "fail", by="failure")]
    history, _ = reopen(make_trial(epochs=9), reports_of([3.0, 2.0]), made)
    assert history.next_turn is not None
    assert (history.next_turn.keep_best, history.next_turn.learning_rate) == (True, 0.5)
    assert replace(history.next_turn, trial=history.orders[0].trial).round == 2
