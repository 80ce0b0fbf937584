"""What a person is told of a running sweep: lines, pace, time left."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest

from runner.records import EarlyStopping, Epoch, Facts, Failure, Goal, Report, Turn, Verdict
from runner.views.pace import Pace, Part
from runner.views.progress import Progress

KEEP, COMPLETE = Verdict(kind="keep"), Verdict(kind="complete")
FACTS = Facts(
    steps_per_epoch=10, rows=320, validation_rows=None, parameters=9, program="round", program_reason="", inexact="",
    summary="", loadable=True,
)  # fmt: skip


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def report(trial_id: str, step: int, value: float | None = None, pid: int = 1) -> Report:
    return Report(
        trial_id=trial_id, round=step // 10 - 1, step=step, epoch=step // 10, running={"loss": 1 / step},
        epochs=() if value is None else (Epoch(number=step // 10, metrics={"val_accuracy": value}, ended_s=1.0),),
        turn=Turn(pid=pid, started_s=0.0, ended_s=1.0, compute_s=0.5), facts=FACTS if step == 10 else None,
    )  # fmt: skip


@pytest.fixture
def clock() -> Clock:
    return Clock()


def make(make_trial: Any, clock: Clock, count: int = 2, goal: Goal = "maximize") -> Progress:
    trials = [make_trial(id=f"{index:03}", epochs=4) for index in range(count)]
    return Progress(trials=trials, metric="val_accuracy", goal=goal, clock=clock)


def test_a_line_follows_its_trial(make_trial: Any, clock: Clock) -> None:
    progress = make(make_trial, clock)
    progress.update({"000": report("000", 10, 0.5)}, {"000": KEEP})
    row = progress.rows["000"]
    assert (row.state, row.round, row.step, row.epoch, row.loss) == ("running", 0, 10, 1, 0.1)
    assert (row.value, row.score, row.total_steps, row.steps_per_s) == (0.5, 0.5, 40, 20.0)
    assert progress.rows["001"].state == "queued"


def test_a_trial_runs_from_its_first_turn_and_that_is_news_once(make_trial: Any, clock: Clock) -> None:
    progress = make(make_trial, clock)
    assert progress.begin(["000"])
    assert [row.state for row in progress.rows.values()] == ["running", "queued"]
    assert not progress.begin(["000"])


VALUES = ((10, 0.5), (20, 0.9), (30, 0.2), (40, 0.4))


def test_a_score_is_that_of_the_last_epoch_whose_weights_the_model_has(make_trial: Any, clock: Clock) -> None:
    progress = make(make_trial, clock)
    for step, value in VALUES:
        progress.update({"000": report("000", step, value)}, {"000": KEEP})
    assert (progress.rows["000"].value, progress.rows["000"].score) == (0.4, 0.4)


def test_a_score_is_that_of_the_kept_epoch_where_the_best_is_restored(make_trial: Any, clock: Clock) -> None:
    trial = make_trial(id="000", epochs=4, early_stopping=EarlyStopping(monitor="val_loss", patience=9))
    progress = Progress(trials=[trial], metric="val_accuracy", goal="maximize", clock=clock)
    scores = []
    for (step, value), kept in zip(VALUES, (False, False, True, False), strict=True):  # as the monitor has it
        progress.update({"000": report("000", step, value)}, {"000": Verdict(kind="keep", keep_best=kept)})
        scores.append(progress.rows["000"].score)
    assert scores == [0.5, 0.9, 0.2, 0.2]
    assert progress.rows["000"].value == 0.4


@pytest.mark.parametrize(
    "verdict", [Verdict(kind="fail"), Verdict(kind="stop", reason="diverged: loss is nan", keeps_model=False)]
)
def test_a_trial_without_a_model_has_no_score(make_trial: Any, clock: Clock, verdict: Verdict) -> None:
    progress = make(make_trial, clock)
    progress.update({"000": report("000", 10, 0.5)}, {"000": KEEP})
    progress.update({"000": report("000", 20, 0.6)}, {"000": verdict})
    assert progress.rows["000"].score is None
    assert progress.best_so_far() == ()


def test_a_round_within_an_epoch_keeps_the_last_epochs_value(make_trial: Any, clock: Clock) -> None:
    progress = make(make_trial, clock)
    progress.update({"000": report("000", 10, 0.5)}, {"000": KEEP})
    progress.update({"000": report("000", 15)}, {"000": KEEP})
    assert progress.rows["000"].value == 0.5


@pytest.mark.parametrize(
    ("verdict", "state"),
    [(COMPLETE, "complete"), (Verdict(kind="stop", reason="no gain"), "stopped"), (KEEP, "running")],
)
def test_a_verdict_sets_the_state(make_trial: Any, clock: Clock, verdict: Verdict, state: str) -> None:
    progress = make(make_trial, clock)
    progress.update({"000": report("000", 10)}, {"000": verdict})
    assert (progress.rows["000"].state, progress.rows["000"].message) == (state, verdict.reason)


def test_a_failure_says_why(make_trial: Any, clock: Clock) -> None:
    progress = make(make_trial, clock)
    failure = Failure(trial_id="000", kind="train", message="out of memory")
    progress.update({"000": failure}, {"000": Verdict(kind="fail", reason="train: out of memory")})
    assert (progress.rows["000"].state, progress.rows["000"].message) == ("failed", "train: out of memory")


def test_each_member_has_its_leader(make_trial: Any, clock: Clock) -> None:
    from dataclasses import replace

    trials = [replace(make_trial(id=f"{i:03}", epochs=4), member="ab"[i // 2]) for i in range(4)]
    progress = Progress(trials=trials, metric="val_accuracy", goal="maximize", clock=clock)
    assert progress.best_so_far() == ()
    reports = {f"{i:03}": report(f"{i:03}", 10, value) for i, value in enumerate((0.5, 0.7, 0.2, 0.1))}
    progress.update(reports, dict.fromkeys(reports, KEEP))
    assert [row.trial.id for row in progress.best_so_far()] == ["001", "002"]


def test_the_pace_is_that_of_all_models_together_without_their_building(make_trial: Any, clock: Clock) -> None:
    progress = make(make_trial, clock)
    progress.begin(["000", "001"])
    clock.now += 30.0  # building
    progress.update({t: report(t, 10) for t in ("000", "001")}, {"000": KEEP, "001": KEEP})
    assert progress.eta_s() == 90.0
    clock.now += 2.0
    progress.update({t: report(t, 20) for t in ("000", "001")}, {"000": KEEP, "001": KEEP})
    assert progress.steps_per_s() == 10.0
    assert progress.eta_s() == 4.0


def test_a_lasting_change_of_the_pace_shows(make_trial: Any, clock: Clock) -> None:
    pace = Pace(clock, slots=1)
    pace.begin()
    for seconds in (*[10.0] * 20, *[1.0] * 100):
        clock.now += seconds
        pace.end([Part("a", 1, 10, seconds)])
    assert pace.left_s([("a", 100.0)]) == pytest.approx(10.0, rel=0.3)


def test_steps_are_timed_without_first_turns_which_trace(clock: Clock) -> None:
    pace = Pace(clock, slots=1)
    pace.begin()
    for trial in range(2):
        for turn in range(2):
            clock.now += 4.0 if turn == 0 else 1.0  # two seconds to build, one to trace
            pace.end([Part("a", 1, 10, 2.0, 2.0, is_first=True) if turn == 0 else Part("a", 1, 10, 1.0)])
            assert pace.is_rough == (trial == turn == 0)
    assert pace.left_s([("a", 100.0)]) == pytest.approx(10.0)
    assert pace.left_s([("a", 100.0)] * 2, new=1) == pytest.approx(20.0 + 3.0)
    assert pace.steps_per_s == pytest.approx(10.0)


def test_steps_of_each_member_take_their_own_time(clock: Clock) -> None:
    pace = Pace(clock, slots=2)
    pace.begin()
    for _ in range(5):
        clock.now += 3.0  # the quick one waits for the other
        pace.end([Part("quick", 1, 10, 1.0), Part("slow", 2, 10, 3.0)])
    assert pace.left_s([("quick", 300.0)]) == pytest.approx(30.0)
    assert pace.left_s([("slow", 100.0), ("quick", 100.0)]) == pytest.approx(30.0)


def test_trials_of_one_process_have_their_turns_one_after_another(clock: Clock) -> None:
    pace = Pace(clock, slots=2)
    pace.begin()
    for _ in range(5):
        clock.now += 2.0
        pace.end([Part("a", 1, 10, 1.0), Part("a", 1, 10, 1.0)])
    assert pace.left_s([("a", 10.0), ("a", 10.0)]) == pytest.approx(2.0)


def test_the_time_left_counts_trials_that_wait_and_not_those_that_ended(make_trial: Any, clock: Clock) -> None:
    progress = make(make_trial, clock, count=3)
    pids = {"000": 1, "001": 2}
    progress.update({t: report(t, 10, pid=pid) for t, pid in pids.items()}, {"000": KEEP, "001": KEEP})
    clock.now += 1.0
    progress.update({t: report(t, 20, pid=pid) for t, pid in pids.items()}, {"000": KEEP, "001": Verdict(kind="stop")})
    assert progress.steps_per_s() == 20.0
    assert progress.eta_s() == 40 / 10, "one of the two slots trains the third trial"


@pytest.mark.parametrize("noise", [0.0, 0.5])
@pytest.mark.parametrize(("trials", "slots", "epochs"), [(8, 2, 12), (40, 4, 20), (9, 8, 30), (200, 16, 5), (5, 1, 40)])
def test_the_time_left_is_within_30_percent_after_the_first_tenth(
    make_trial: Any, clock: Clock, trials: int, slots: int, epochs: int, noise: float
) -> None:
    """Trials queue for slots, each takes a while to build, the first one longest, and rounds vary by half."""
    random, queue = Random(0), [f"{index:03}" for index in range(trials)]
    progress = Progress(
        trials=[make_trial(id=trial_id, epochs=epochs) for trial_id in queue], metric="val_accuracy", goal="maximize",
        clock=clock, slots=slots, steps_per_epoch={"test": 10},
    )  # fmt: skip
    live: dict[str, tuple[int, int]] = {}  # epoch and process
    told: list[tuple[float, float]] = []
    began_s = clock.now
    while queue or live:
        free = [pid for pid in range(slots) if pid not in {pid for _, pid in live.values()}]
        new = dict(zip(queue, free, strict=False))
        del queue[: len(new)]
        live |= {trial_id: (0, pid) for trial_id, pid in new.items()}
        progress.begin(list(live))
        clock.now += random.uniform(1 - noise, 1 + noise) + (0.7 if new else 0.0) + (3.0 if len(told) == 0 else 0.0)
        live = {trial_id: (epoch + 1, pid) for trial_id, (epoch, pid) in live.items()}
        reports = {trial_id: report(trial_id, 10 * epoch, pid=pid) for trial_id, (epoch, pid) in live.items()}
        progress.update(reports, {t: COMPLETE if epoch == epochs else KEEP for t, (epoch, _) in live.items()})
        live = {trial_id: (epoch, pid) for trial_id, (epoch, pid) in live.items() if epoch < epochs}
        told.append((clock.now, progress.eta_s() or 0.0))
    whole_s = clock.now - began_s
    for now, left_s in told:
        if now - began_s > whole_s / 10:
            assert now - began_s + left_s == pytest.approx(whole_s, rel=0.3)
