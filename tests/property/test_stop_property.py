"""Rules that remember give the verdicts of rules that read the whole history each time, and read each epoch once."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.loop.history import read_history
from runner.records import EarlyStopping, Epoch, Metrics, ReduceLROnPlateau, Report, TrainSettings, Trial, Turn, Verdict
from runner.search.rules import Better, RuleState, judge

TURN = Turn(pid=1, started_s=0, ended_s=1, compute_s=1)
VALUES = st.one_of(st.sampled_from([0.1, 0.2, 0.3, 0.5]), st.just(math.nan), st.none())


def by_whole_history(train: TrainSettings, history: Sequence[Metrics], report: Report) -> Verdict:
    """The verdict as Keras' two callbacks come to it, epoch by epoch from the first."""
    rule, loss = train.early_stopping, report.running["loss"]
    if not math.isfinite(loss):
        best, _ = early_stopping(rule, history[:-1] if report.epochs else history)
        reason = f"diverged: loss is {loss} after step {report.step}"
        if rule is not None and rule.restore_best and best is not None:
            return Verdict(kind="stop", reason=reason, restore_best=True, by="training")
        return Verdict(kind="stop", reason=reason, keeps_model=False, by="training")
    if not report.epochs:
        return Verdict(kind="keep")
    best, stopped = early_stopping(rule, history)
    last, restores = len(history) - 1, rule is not None and rule.restore_best
    keep, restore = restores and best == last, restores and best not in (None, last)
    if report.epoch >= train.epochs:
        return Verdict(kind="complete", keep_best=keep, restore_best=restore, by="training")
    if stopped:
        since = "" if best is None else f" since epoch {best + 1}"
        reason = f"early_stopping: {rule.monitor} has not improved{since} (patience {rule.patience})"
        return Verdict(kind="stop", reason=reason, restore_best=restore, by="early_stopping")
    return Verdict(kind="keep", keep_best=keep, learning_rate=reduced_rate(train.reduce_lr_on_plateau, history))


def early_stopping(rule: EarlyStopping | None, history: Sequence[Metrics]) -> tuple[int | None, bool]:
    if rule is None:
        return None, False
    better = Better(rule.mode, rule.min_delta)
    best_epoch, best_value, wait, stop = None, None, 0, False
    for epoch, metrics in enumerate(history):
        value = metrics.get(rule.monitor)
        if value is None or epoch < rule.start_from_epoch:
            continue
        if best_epoch is None and rule.restore_best:
            best_epoch = epoch
        wait += 1
        if better(value, best_value):
            best_epoch, best_value = epoch, value
            if rule.baseline is None or better(value, rule.baseline):
                wait = 0
            continue
        stop = wait >= rule.patience and epoch > 0
    return best_epoch, stop


def reduced_rate(rule: ReduceLROnPlateau | None, history: Sequence[Metrics]) -> float | None:
    if rule is None:
        return None
    better = Better(rule.mode, rule.min_delta)
    best, wait, cooldown, new_rate = None, 0, 0, None
    for metrics in history:
        value, new_rate = metrics.get(rule.monitor), None
        if value is None:
            continue
        if cooldown > 0:
            cooldown, wait = cooldown - 1, 0
        if better(value, best):
            best, wait = value, 0
        elif cooldown == 0:
            wait += 1
            if wait >= rule.patience and metrics["learning_rate"] > rule.min_lr:
                new_rate = max(metrics["learning_rate"] * rule.factor, rule.min_lr)
                cooldown, wait = rule.cooldown, 0
    return new_rate


def turn(number: int, epochs: Sequence[Epoch], last_epoch: int, loss: float = 1.0) -> Report:
    return Report(
        trial_id="0", round=number, step=number, epoch=last_epoch, running={"loss": loss}, epochs=tuple(epochs),
        turn=TURN,
    )  # fmt: skip


@st.composite
def turns(draw: st.DrawFn) -> list[Report]:
    """Turns of no epoch, one or several; some epochs without the monitored value, perhaps a loss that is none."""
    found: list[Report] = []
    done = 0
    for number, count in enumerate(draw(st.lists(st.sampled_from([1, 1, 1, 0, 2, 3]), min_size=1, max_size=14))):
        epochs = []
        for _ in range(count):
            done, value = done + 1, draw(VALUES)
            metrics = {"learning_rate": draw(st.sampled_from([0.1, 0.01])), "loss": 1.0}
            metrics |= {} if value is None else {"val_loss": value}
            epochs.append(Epoch(number=done, metrics=metrics, ended_s=1.0))
        found.append(turn(number, epochs, done, draw(st.sampled_from([1.0] * 12 + [math.nan]))))
    return found


SMALL = st.integers(0, 3)
DELTA = st.sampled_from([0.0, 0.1])
STOPPING = st.builds(
    EarlyStopping, monitor=st.just("val_loss"), mode=st.sampled_from(["min", "max"]), patience=SMALL, min_delta=DELTA,
    start_from_epoch=SMALL, baseline=st.sampled_from([None, 0.15, 0.4]), restore_best=st.booleans(),
)  # fmt: skip
PLATEAU = st.builds(
    ReduceLROnPlateau, monitor=st.just("val_loss"), mode=st.sampled_from(["min", "max"]), patience=SMALL,
    min_delta=DELTA, cooldown=SMALL, factor=st.just(0.5), min_lr=st.sampled_from([0.0, 0.01, 0.06]),
)  # fmt: skip


@given(turns(), st.integers(1, 20), st.none() | STOPPING, st.none() | PLATEAU)
def test_verdicts_are_those_of_the_whole_history(
    reports: list[Report], epochs: int, stopping: EarlyStopping | None, plateau: ReduceLROnPlateau | None
) -> None:
    train = TrainSettings(epochs=epochs, early_stopping=stopping, reduce_lr_on_plateau=plateau)
    state, history = RuleState(), []
    for report in reports:
        history += [epoch.metrics for epoch in report.epochs]
        verdict, state = judge(train, state, report)
        assert verdict == by_whole_history(train, history, report)


class Counted(dict):
    """Metrics that count how often they are read."""

    reads = 0

    def get(self, key: str, default: object = None) -> object:
        Counted.reads += 1
        return super().get(key, default)


def test_a_history_reads_each_epoch_once_for_each_rule(make_trial: pytest.FixtureRequest) -> None:
    rules = {"early_stopping": EarlyStopping(patience=9999), "reduce_lr_on_plateau": ReduceLROnPlateau(patience=9999)}
    trial: Trial = make_trial(epochs=3000, **rules)
    metrics = Counted(loss=1.0, val_loss=0.5, learning_rate=0.1)
    Counted.reads = 0
    turns = [turn(n, [Epoch(number=n + 1, metrics=metrics, ended_s=1.0)], n + 1) for n in range(2000)]
    past = read_history(trial, turns, ())
    assert len(past.orders) == 2000
    assert Counted.reads == 2 * 2000
