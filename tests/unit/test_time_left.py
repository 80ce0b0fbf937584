"""The time left that real sweeps on two CPU cores would have been told, from the rounds that their journals have."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from runner.records import Report, Turn, Verdict
from runner.views.progress import Progress

RECORDED = json.loads(Path(__file__).with_name("recorded_rounds.json").read_text(encoding="utf-8"))


class Told(NamedTuple):
    at: float
    left_s: float
    is_upper_bound: bool


def replayed(name: str, make_trial: Any, *, may_end_early: bool = False) -> list[Told]:
    """What is told after each round. A row has trial, slot, step, seconds busy and to build, and verdict."""
    sweep = RECORDED[name]
    seconds = [0.0]
    trials = [make_trial(id=f"{index:03}", epochs=sweep["epochs"]) for index in range(sweep["trials"])]
    progress = Progress(
        trials=trials, metric="loss", goal="minimize", clock=lambda: seconds[0], slots=sweep["slots"],
        steps_per_epoch={"test": sweep["steps_per_epoch"]}, may_end_early=may_end_early,
    )  # fmt: skip
    told = []
    for ended_s, rows in sweep["rounds"]:
        progress.begin([trial_id for trial_id, *_ in rows])
        seconds[0] = ended_s
        reports = {
            trial_id: Report(
                trial_id=trial_id, round=0, step=step, epoch=step // sweep["steps_per_epoch"], running={},
                turn=Turn(pid=slot, started_s=0.0, ended_s=0.0, compute_s=busy_s, seat_s=seat_s),
            )
            for trial_id, slot, step, busy_s, seat_s, _ in rows
        }  # fmt: skip
        progress.update(reports, {trial_id: Verdict(kind=kind) for trial_id, *_, kind in rows})
        left_s = progress.eta_s()
        assert left_s is not None
        told.append(Told(ended_s, left_s, progress.is_upper_bound))
    return told


@pytest.mark.parametrize("name", [name for name in RECORDED if "halving" not in name])
def test_an_estimate_is_within_30_percent_after_the_first_tenth(name: str, make_trial: Any) -> None:
    told = replayed(name, make_trial)
    whole_s = told[-1].at
    estimates = [one for one in told if one.at > whole_s / 10 and not one.is_upper_bound]
    assert [one.at + one.left_s for one in estimates] == pytest.approx([whole_s] * len(estimates), rel=0.3)
    assert {one.is_upper_bound for one in told if one.at < 3.0} == {True}, (
        "the first rounds are slower than those to come"
    )
    if whole_s > 20.0:
        first = estimates[0]
        assert first.at < whole_s / 5
        assert first.left_s == pytest.approx(whole_s - first.at, rel=0.3)


def test_a_sweep_whose_trials_may_stop_takes_no_longer_than_told(make_trial: Any) -> None:
    told = replayed("40 trials with halving", make_trial, may_end_early=True)
    assert all(one.is_upper_bound and one.left_s >= told[-1].at - one.at for one in told)
