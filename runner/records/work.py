"""What the driver orders and decides, and what it notes when a worker is lost."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from runner.records.report import FailureKind, Snapshot
from runner.records.trial import Trial

VerdictKind = Literal["keep", "complete", "stop", "fail"]
DIVERGED = "diverged:"  # begins the reason of a trial whose loss is not finite


@dataclass(frozen=True, kw_only=True, slots=True)
class Work:
    """The driver's order for one trial's turn.

    Args:
        trial: whose turn it is; a trial new to the worker is seated first.
        round: the trial's own round, from 0.
        keep_best: before stepping, keep a copy of the weights (the last epoch was the best so far).
        learning_rate: before stepping, set the optimizer's learning rate.
        until: the step at which the turn ends, where it is repeated; None for what the trial's settings say: they said
            something else if it has been given more epochs since.
    """

    trial: Trial
    round: int
    keep_best: bool = False
    learning_rate: float | None = None
    until: int | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Verdict:
    """What the driver decides for a trial at the barrier.

    Args:
        kind: keep on; complete (all epochs done); stop (a rule says so); fail.
        reason: why a rule stopped it or why it failed.
        keep_best: the epoch just ended is the best so far and its weights may be restored later.
        learning_rate: learning rate to set before the next step.
        restore_best: the trial's result is the kept best weights, not the last ones.
        keeps_model: False if a trial that ends has no weights worth keeping.
        by: who ends the trial: a rule's name in the config, `training` or `failure`; empty if it goes on.
    """

    kind: VerdictKind
    reason: str = ""
    keep_best: bool = False
    learning_rate: float | None = None
    restore_best: bool = False
    keeps_model: bool = True
    by: str = ""

    @property
    def ends(self) -> bool:
        """True where the trial leaves its slot."""
        return self.kind != "keep"


@dataclass(frozen=True, kw_only=True, slots=True)
class Replay:
    """How a trial that has no seat gets one again, and its state.

    Args:
        snapshot: where to begin; None for the trial's beginning.
        orders: the turns since then, to be repeated.
    """

    trial: Trial
    snapshot: Snapshot | None
    orders: tuple[Work, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Incident:
    """A trial has lost its worker.

    Args:
        round: the turn it happened in.
        kind: as `Failure.kind`.
        noticed_s: seconds since the epoch.
    """

    trial_id: str
    round: int
    kind: FailureKind
    message: str
    noticed_s: float
