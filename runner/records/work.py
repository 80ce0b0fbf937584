"""What the driver orders and decides, and what it records when a worker is lost."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from runner.records.cloning import Clone
from runner.records.report import FailureKind, Snapshot
from runner.records.trial import Trial

VerdictKind = Literal["keep", "complete", "stop", "fail"]
DIVERGED = "diverged:"  # how the reason begins if a trial's loss is not finite


@dataclass(frozen=True, kw_only=True, slots=True)
class Work:
    """The order for one trial's turn.

    Args:
        trial: the trial; a worker that does not have it gives it a seat first.
        round: the trial's own round, from 0.
        keep_best: before the first step, copy the weights, because the last epoch was the best so far.
        learning_rate: before the first step, set the optimizer's learning rate; None to leave it.
        until: the step at which a repeated turn ends; None to follow the trial's settings, which may have changed since
            the turn was first done (more epochs).
        last_epoch: the turn ends with this epoch at the latest, because the trial is compared with others there; None
            for no such epoch.
        idle: no turn; the trial keeps its seat while it waits for others.
        clone: before the first step, the trial's state becomes that of another one; `trial` has its new values.
        files: the folder for what the trial's callbacks write; None for a temporary one, whose files come by value.
        stack: most models of the program in which it trains; None for as many as the trial's settings have.
        is_whole: no state from within the turn may be used, because it may have begun in a larger stack.
    """

    trial: Trial
    round: int
    keep_best: bool = False
    learning_rate: float | None = None
    until: int | None = None
    last_epoch: int | None = None
    idle: bool = False
    clone: Clone | None = None
    files: Path | None = None
    stack: int | None = None
    is_whole: bool = False

    @property
    def models(self) -> int:
        """Most models of the program in which it trains; 1 if it trains alone."""
        return self.trial.train.stack if self.stack is None else self.stack


@dataclass(frozen=True, kw_only=True, slots=True)
class Verdict:
    """What the driver decides about a trial at the barrier.

    Args:
        kind: keep (train on); complete (all epochs are done); stop (a rule ends it); fail.
        reason: why a rule stopped it, or why it failed.
        keep_best: the epoch that just ended is the best so far, and its weights may be restored later.
        learning_rate: learning rate to set before the next step; None to leave it.
        restore_best: the trial's result is the copy of its best weights, not its last weights.
        keeps_model: False if a trial that ends has no weights worth keeping.
        by: who ends the trial: a rule's name in the config, `training`, `callbacks` or `failure`; empty if it goes on.
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
        """Whether the trial leaves its slot."""
        return self.kind != "keep"


@dataclass(frozen=True, kw_only=True, slots=True)
class Segment:
    """Turns of a trial under the same values of its parameters.

    Args:
        trial: with these values.
        orders: of the turns.
    """

    trial: Trial
    orders: tuple[Work, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Replay:
    """How a trial that has lost its seat gets a new one in the same state.

    Args:
        snapshot: the state to start from; None for a beginning.
        orders: the turns since then, which are repeated.
        ancestors: what is repeated before, because the trial went on from there: each segment begins with the state in
            which the one before ends, and the snapshot, if there is one, is of the first.
        first: the trial's own round in which it goes on after them.
    """

    trial: Trial
    snapshot: Snapshot | None
    orders: tuple[Work, ...]
    ancestors: tuple[Segment, ...] = ()
    first: int = 0

    @property
    def segments(self) -> tuple[Segment, ...]:
        """Everything that is repeated, in order."""
        return (*self.ancestors, Segment(trial=self.trial, orders=self.orders))


@dataclass(frozen=True, kw_only=True, slots=True)
class Incident:
    """A trial has lost its worker.

    Args:
        round: the turn in which it happened.
        kind: as `Failure.kind`.
        noticed_s: seconds since the Unix epoch.
    """

    trial_id: str
    round: int
    kind: FailureKind
    message: str
    noticed_s: float
