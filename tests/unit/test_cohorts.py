"""Comparisons at rungs, against tables computed by hand."""

from __future__ import annotations

import math
import random
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from runner.records import EarlyStopping, Epoch, Trial, Verdict
from runner.search.brackets import Bracket
from runner.search.cohorts import Cohorts, Scoring, keep_best, keep_median

KEEP = Verdict(kind="keep")
DIVERGED = Verdict(kind="stop", keeps_model=False)
LOSS = Scoring("loss", "minimize")
THIRD = keep_best(3)


@pytest.fixture
def trials(make_trial: Any) -> Any:
    def make(count: int, **settings: Any) -> list[Trial]:
        return [make_trial(id=f"{number:03}", epochs=9, **settings) for number in range(count)]

    return make


def cohorts_of(trials: Sequence[Trial], rungs: tuple[int, ...], survive: Any = THIRD, repeats: int = 1) -> Cohorts:
    size = len(trials) // repeats
    cohorts = Cohorts(LOSS, "halving", survive, {trials[0].member: [Bracket(size, rungs)]})
    cohorts.add([trials[n : n + repeats] for n in range(0, len(trials), repeats)])
    return cohorts


def epoch(number: int, loss: float) -> Epoch:
    return Epoch(number=number, metrics={"loss": loss}, ended_s=0.0)


def take(cohorts: Cohorts, number: int, losses: Mapping[str, float], verdict: Verdict = KEEP) -> None:
    for trial_id, loss in losses.items():
        cohorts.take(trial_id, [epoch(number, loss)], verdict)


def test_a_third_survives_each_rung(trials: Any) -> None:
    cohorts = cohorts_of(trials(9), (1, 3))
    take(cohorts, 1, {f"{n:03}": float(n) for n in range(9)})
    lost = cohorts.decide()
    assert lost.keys() == {f"{n:03}" for n in range(3, 9)}
    assert lost["008"].reason == "halving: rank 9 of 9 after epoch 1, of which 3 go on (test bracket 1)"
    assert (lost["008"].kind, lost["008"].by) == ("stop", "halving")
    assert [cohorts.limit(f"{n:03}") for n in range(3)] == [3] * 3

    for number in (2, 3):
        take(cohorts, number, {"000": 9.0, "001": 8.0, "002": 7.0})
    assert cohorts.decide().keys() == {"000", "001"}
    assert cohorts.limit("002") is None


def test_a_metric_that_begins_after_a_rung_costs_nobody_its_place(trials: Any) -> None:
    cohorts = cohorts_of(trials(3), (1, 3))
    for number in range(3):
        cohorts.take(f"{number:03}", [Epoch(number=1, metrics={}, ended_s=0.0)], KEEP)
    assert cohorts.decide() == {}
    assert [cohorts.limit(f"{n:03}") for n in range(3)] == [3] * 3
    take(cohorts, 3, {"000": 2.0, "001": 3.0, "002": 1.0})
    assert cohorts.decide().keys() == {"000", "001"}


def test_nobody_is_judged_before_all_have_arrived(trials: Any) -> None:
    cohorts = cohorts_of(trials(3), (1,))
    take(cohorts, 1, {"000": 2.0, "002": 1.0})
    assert cohorts.decide() == {}
    assert [cohorts.is_waiting(f"{n:03}") for n in range(3)] == [True, False, True]
    take(cohorts, 1, {"001": 3.0})
    assert cohorts.decide().keys() == {"000", "001"}
    assert not cohorts.is_waiting("002")


@pytest.mark.parametrize("seed", range(5))
def test_the_order_of_arrival_changes_nothing(trials: Any, seed: int) -> None:
    losses = [(f"{n:03}", random.Random(n).choice([0.1, 0.2, 0.3])) for n in range(9)]
    random.Random(seed).shuffle(losses)
    cohorts = cohorts_of(trials(9), (1,))
    for trial_id, loss in losses:
        assert cohorts.decide() == {}
        take(cohorts, 1, {trial_id: loss})
    ranked = sorted((loss, trial_id) for trial_id, loss in losses)
    assert cohorts.decide().keys() == {trial_id for _, trial_id in ranked[3:]}, "of equals the first trials stay"


def test_failed_and_diverged_trials_lose_and_count(trials: Any) -> None:
    cohorts = cohorts_of(trials(6), (2,))
    take(cohorts, 1, dict.fromkeys(["000", "001", "002", "003", "004"], 1.0))
    cohorts.take("005", [], Verdict(kind="fail"))
    cohorts.take("004", [epoch(2, 0.0)], DIVERGED)
    take(cohorts, 2, {"000": 4.0, "001": math.nan, "002": 3.0, "003": 2.0})
    assert cohorts.decide().keys() == {"000", "001"}, "two of six survive"


def test_fewer_survive_if_all_others_failed(trials: Any) -> None:
    cohorts = cohorts_of(trials(6), (1,))
    for trial_id in ("000", "001", "002", "003", "004"):
        cohorts.take(trial_id, [], Verdict(kind="fail"))
    take(cohorts, 1, {"005": 1.0})
    assert cohorts.decide() == {}
    assert cohorts.limit("005") is None


def test_a_failure_after_a_rung_does_not_change_it(trials: Any) -> None:
    """A driver that reads the past finds the trial failed, although it survived the rung before that."""
    cohorts = cohorts_of(trials(3), (1,))
    take(cohorts, 1, {"000": 1.0, "001": 2.0, "002": 3.0})
    cohorts.take("000", [], Verdict(kind="fail"))
    assert cohorts.decide().keys() == {"001", "002"}


def test_a_trial_that_its_own_rule_ended_keeps_its_place_but_needs_no_end(trials: Any) -> None:
    cohorts = cohorts_of(trials(3), (2,))
    take(cohorts, 1, {"000": 0.1}, Verdict(kind="stop"))
    for number in (1, 2):
        take(cohorts, number, {"001": 1.0, "002": 2.0})
    assert cohorts.decide().keys() == {"001", "002"}


def test_a_trial_that_restores_its_best_weights_is_compared_by_them(trials: Any) -> None:
    three = trials(3, early_stopping=EarlyStopping(monitor="loss", mode="min", patience=5))
    cohorts = cohorts_of(three, (2,))
    take(cohorts, 1, {"000": 0.1, "001": 0.5, "002": 0.4}, Verdict(kind="keep", keep_best=True))
    take(cohorts, 2, {"000": 9.0, "001": 0.6, "002": 0.6})
    assert cohorts.decide().keys() == {"001", "002"}


def test_settings_are_compared_by_the_mean_of_their_repeats(trials: Any) -> None:
    cohorts = cohorts_of(trials(6), (1,), repeats=2)
    take(cohorts, 1, {"000": 1.0, "001": 9.0, "002": 4.0, "003": 4.0, "004": 5.0, "005": 5.0})
    assert cohorts.decide().keys() == {"000", "001", "004", "005"}


def test_the_median_rule_compares_the_best_so_far_with_the_others_means(trials: Any) -> None:
    cohorts = cohorts_of(trials(4), (2, 3), survive=keep_median)
    for number, losses in enumerate(([4.0, 3.0, 2.0, 1.0], [4.0, 1.0, 2.0, 1.0]), start=1):
        take(cohorts, number, {f"{n:03}": loss for n, loss in enumerate(losses)})
    # Means until epoch 2: 4, 2, 2, 1. Best so far: 4, 1, 2, 1. The others' medians: 2, 2, 2, 2.
    assert cohorts.decide().keys() == {"000"}
    assert cohorts.limit("001") == 3


def test_a_goal_to_maximize_keeps_the_highest(trials: Any) -> None:
    three = trials(3)
    cohorts = Cohorts(Scoring("loss", "maximize"), "halving", keep_best(3), {three[0].member: [Bracket(3, (1,))]})
    cohorts.add([[trial] for trial in three])
    take(cohorts, 1, {"000": 1.0, "001": 3.0, "002": 2.0})
    assert cohorts.decide().keys() == {"000", "002"}


def test_an_exempt_trial_goes_on(trials: Any) -> None:
    cohorts = cohorts_of(trials(3), (1,))
    cohorts.exempt("002")
    take(cohorts, 1, {"000": 1.0, "001": 2.0, "002": 3.0})
    assert cohorts.decide().keys() == {"001"}
    assert not cohorts.is_waiting("002")


def test_a_model_that_is_lost_later_does_not_change_an_earlier_rung(trials: Any) -> None:
    """Its best epoch counted there, and a driver that reads the past must not forget it."""
    three = trials(3, early_stopping=EarlyStopping(monitor="loss", mode="min", patience=5))
    cohorts = cohorts_of(three, (3,))
    take(cohorts, 1, {"000": 0.5}, Verdict(kind="keep", keep_best=True))
    take(cohorts, 3, {"000": 1.0})
    take(cohorts, 4, {"000": 2.0}, Verdict(kind="fail"))
    take(cohorts, 3, {"001": 0.7, "002": 0.8})
    assert cohorts.decide().keys() == {"001", "002"}


def test_a_chosen_setting_takes_no_place_in_a_bracket(trials: Any, make_trial: Any) -> None:
    three = trials(3)
    cohorts = Cohorts(LOSS, "halving", THIRD, {"test": [Bracket(3, (1,))]})
    cohorts.follow([make_trial(id="add-000", epochs=9)])
    cohorts.add([[trial] for trial in three])
    take(cohorts, 1, {"add-000": 9.0, "000": 1.0, "001": 2.0, "002": 3.0})
    assert cohorts.decide().keys() == {"001", "002"}
    assert cohorts.limit("add-000") is None
