"""Verdicts at the barrier, as pure functions of what the rules remember about a trial's epochs.

Source of the two rules' semantics: keras 3.15, `callbacks/early_stopping.py` and `callbacks/reduce_lr_on_plateau.py`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from runner.records import (
    CALLBACKS,
    DIVERGED,
    MAX_SECONDS,
    TRAINING,
    EarlyStopping,
    Metrics,
    Mode,
    ReduceLROnPlateau,
    Report,
    TrainSettings,
    Verdict,
)


@dataclass(frozen=True, slots=True)
class Stopping:
    """What early stopping remembers.

    Args:
        epochs: how many it has seen.
        best_epoch: from 0.
        wait: epochs since the last improvement.
        stop: whether to stop after the last epoch.
    """

    epochs: int = 0
    best_epoch: int | None = None
    best_value: float | None = None
    wait: int = 0
    stop: bool = False

    def after(self, rule: EarlyStopping, metrics: Metrics) -> Stopping:
        """The state after one more epoch."""
        epoch, value = self.epochs, metrics.get(rule.monitor)
        seen = replace(self, epochs=epoch + 1)
        if value is None or epoch < rule.start_from_epoch:
            return seen
        better = Better(rule.mode, rule.min_delta)
        if better(value, self.best_value):
            resets = rule.baseline is None or better(value, rule.baseline)
            return replace(seen, best_epoch=epoch, best_value=value, wait=0 if resets else self.wait + 1)
        first = epoch if self.best_epoch is None and rule.restore_best else self.best_epoch
        wait = self.wait + 1
        return replace(seen, best_epoch=first, wait=wait, stop=wait >= rule.patience and epoch > 0)


@dataclass(frozen=True, slots=True)
class Plateau:
    """What the reduction of the learning rate remembers.

    Args:
        wait: epochs since the last improvement, reduction, or end of a cooldown.
        cooldown: epochs left before it may reduce again.
        new_rate: to be set after the last epoch; None to leave the rate.
    """

    best: float | None = None
    wait: int = 0
    cooldown: int = 0
    new_rate: float | None = None

    def after(self, rule: ReduceLROnPlateau, metrics: Metrics) -> Plateau:
        """The state after one more epoch."""
        value, better = metrics.get(rule.monitor), Better(rule.mode, rule.min_delta)
        if value is None:
            return replace(self, new_rate=None)
        cooldown, wait = (self.cooldown - 1, 0) if self.cooldown > 0 else (0, self.wait)
        if better(value, self.best):
            return Plateau(value, 0, cooldown)
        if cooldown > 0:
            return Plateau(self.best, wait, cooldown)
        if wait + 1 >= rule.patience and metrics["learning_rate"] > rule.min_lr:
            return Plateau(self.best, 0, rule.cooldown, max(metrics["learning_rate"] * rule.factor, rule.min_lr))
        return Plateau(self.best, wait + 1, cooldown)


@dataclass(frozen=True, slots=True)
class RuleState:
    """What the rules remember about a trial so far: all of the past that its next verdict needs.

    Args:
        seconds: of its training and validation.
    """

    stopping: Stopping = field(default_factory=Stopping)
    plateau: Plateau = field(default_factory=Plateau)
    seconds: float = 0.0

    def after(self, train: TrainSettings, metrics: Metrics) -> RuleState:
        """The state after one more epoch."""
        stopping, plateau = train.early_stopping, train.reduce_lr_on_plateau
        return RuleState(
            self.stopping.after(stopping, metrics) if stopping is not None else self.stopping,
            self.plateau.after(plateau, metrics) if plateau is not None else self.plateau,
            self.seconds,
        )

    def cloned(self, epoch: int) -> RuleState:
        """The state of a trial that goes on from another one's after this epoch: its rules begin, its time does not."""
        return RuleState(Stopping(epochs=epoch), seconds=self.seconds)

    def spent(self, report: Report) -> RuleState:
        """The state with the time of one more turn."""
        return replace(self, seconds=self.seconds + report.turn.compute_s + report.turn.evaluate_s)


def judge(train: TrainSettings, before: RuleState, report: Report) -> tuple[Verdict, RuleState]:
    """Decides what happens to a trial after a turn, and updates what the rules remember.

    Args:
        train: the trial's rules.
        before: what they remember about the epochs before this turn's.
        report: the turn.
    """
    earlier = state = before.spent(report)  # without the last epoch, and with it
    for epoch in report.epochs:
        earlier, state = state, state.after(train, epoch.metrics)
    return _verdict(train, earlier, state, report), state


def _verdict(train: TrainSettings, earlier: RuleState, state: RuleState, report: Report) -> Verdict:
    loss = report.running.get("loss", 0.0)
    if not math.isfinite(loss):
        return _diverged(train, earlier, report)
    if not report.epochs:
        return Verdict(kind="keep")
    best, last = state.stopping.best_epoch, state.stopping.epochs - 1
    restores = train.early_stopping is not None and train.early_stopping.restore_best
    keep, restore = restores and best == last, restores and best not in (None, last)
    if report.epoch >= train.epochs:
        return Verdict(kind="complete", keep_best=keep, restore_best=restore, by=TRAINING)
    if state.stopping.stop:
        return Verdict(kind="stop", reason=_why(train.early_stopping, best), restore_best=restore, by="early_stopping")
    if report.stops:
        reason = "a callback set model.stop_training"
        return Verdict(kind="stop", reason=reason, keep_best=keep, restore_best=restore, by=CALLBACKS)
    own = Verdict(kind="keep", keep_best=keep, learning_rate=state.plateau.new_rate)
    if train.max_seconds is not None and state.seconds >= train.max_seconds:
        reason = f"max_seconds: {state.seconds:.3g} s were spent, train.max_seconds={train.max_seconds:g}"
        return ended(train, state, own, Verdict(kind="stop", reason=reason, by=MAX_SECONDS))
    return own


def ended(train: TrainSettings, state: RuleState, own: Verdict, end: Verdict) -> Verdict:
    """The verdict about a trial that is ended by comparison with others.

    Args:
        train: the trial's rules.
        state: what they remember of its epochs.
        own: what they decided after its turn, which would hold if it went on.
        end: why it ends, and by which rule.
    """
    best, last = state.stopping.best_epoch, state.stopping.epochs - 1
    restores = train.early_stopping is not None and train.early_stopping.restore_best and best not in (None, last)
    keeps = own.keeps_model and end.keeps_model
    return replace(own, kind=end.kind, reason=end.reason, by=end.by, restore_best=restores, keeps_model=keeps)


def _diverged(train: TrainSettings, earlier: RuleState, report: Report) -> Verdict:
    """Ends a trial whose last weights are useless: it has no model, unless it kept the best of an earlier epoch."""
    reason = f"{DIVERGED} loss is {report.running.get('loss')} after step {report.step}"
    best = earlier.stopping.best_epoch
    restores = train.early_stopping is not None and train.early_stopping.restore_best and best is not None
    return Verdict(kind="stop", reason=reason, restore_best=restores, keeps_model=restores, by=TRAINING)


def _why(rule: EarlyStopping | None, best: int | None) -> str:
    assert rule is not None
    since = "" if best is None else f" since epoch {best + 1}"
    return f"early_stopping: {rule.monitor} has not improved{since} (patience {rule.patience})"


def remember(train: TrainSettings, reports: Iterable[Report], state: RuleState | None = None) -> RuleState:
    """What the rules remember of a trial after these turns, and of those before if `state` is given."""
    state = state or RuleState()
    for report in reports:
        state = state.spent(report)
        for epoch in report.epochs:
            state = state.after(train, epoch.metrics)
    return state


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
