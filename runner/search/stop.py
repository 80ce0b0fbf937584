"""Verdicts at the barrier, as pure functions of a trial's history.

Source of the two rules' semantics: keras 3.15, `callbacks/early_stopping.py` and `callbacks/reduce_lr_on_plateau.py`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from runner.records import EarlyStopping, Metrics, Mode, ReduceLROnPlateau, Report, TrainSettings, Verdict


def judge(train: TrainSettings, history: Sequence[Metrics], report: Report) -> Verdict:
    """What becomes of a trial after a turn.

    Args:
        train: the trial's rules.
        report: the turn.
        history: the trial's epoch metrics so far, those of `report` included.
    """
    loss = report.running.get("loss", 0.0)
    if not math.isfinite(loss):
        return _diverged(train, history, report)
    if not report.epochs:
        return Verdict(kind="keep")
    best, stopped = _early_stopping(train.early_stopping, history)
    last = len(history) - 1
    restores = train.early_stopping is not None and train.early_stopping.restore_best
    keep, restore = restores and best == last, restores and best not in (None, last)
    if report.epoch >= train.epochs:
        return Verdict(kind="complete", keep_best=keep, restore_best=restore)
    if stopped:
        return Verdict(kind="stop", reason=_why(train.early_stopping, best), restore_best=restore)
    return Verdict(kind="keep", keep_best=keep, learning_rate=_reduced_rate(train.reduce_lr_on_plateau, history))


def _diverged(train: TrainSettings, history: Sequence[Metrics], report: Report) -> Verdict:
    """The last weights are lost: without best ones, kept after an earlier epoch, the trial has failed."""
    reason = f"diverged: loss is {report.running.get('loss')} after step {report.step}"
    earlier = history[:-1] if report.epochs else history
    best, _ = _early_stopping(train.early_stopping, earlier)
    if train.early_stopping is not None and train.early_stopping.restore_best and best is not None:
        return Verdict(kind="stop", reason=reason, restore_best=True)
    return Verdict(kind="fail", reason=reason)


def _why(rule: EarlyStopping | None, best: int | None) -> str:
    assert rule is not None
    since = "" if best is None else f" since epoch {best + 1}"
    return f"early_stopping: {rule.monitor} has not improved{since} (patience {rule.patience})"


def _early_stopping(rule: EarlyStopping | None, history: Sequence[Metrics]) -> tuple[int | None, bool]:
    """The best epoch (from 0) and whether to stop after the last one."""
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


def _reduced_rate(rule: ReduceLROnPlateau | None, history: Sequence[Metrics]) -> float | None:
    """The learning rate to set after the last epoch; None to leave it."""
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


@dataclass(frozen=True, slots=True)
class Better:
    """Whether a value improves on the best so far by more than `min_delta`; the config has resolved mode `auto`."""

    mode: Mode
    min_delta: float

    def __call__(self, value: float, best: float | None) -> bool:
        """True for the first value, and for each that improves."""
        if best is None:
            return True
        delta = abs(self.min_delta)
        return value - delta > best if self.mode == "max" else value + delta < best
