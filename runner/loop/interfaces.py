"""The interfaces of the loop: to workers, durable storage, proposals and watchers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Protocol, Self

from runner.records import (
    Allocation,
    Checked,
    Clone,
    Decision,
    Export,
    Failure,
    Incident,
    Orders,
    Replay,
    Report,
    Segment,
    Snapshot,
    Trial,
    Verdict,
    Work,
)


class Fleet(Protocol):
    """All workers behind one interface. A failed worker is a `Failure` value, never an exception."""

    def __enter__(self) -> Self:
        """Starts one worker for each slot, all at the same time."""

    def __exit__(self, *exc: object) -> None:
        """Ends all workers and waits until their processes are gone."""

    def check(self, trials: Sequence[Trial]) -> Mapping[str, Checked | Failure]:
        """Builds a temporary model of each trial, checks its data and tries one step; keeps no state."""

    @property
    def is_loading(self) -> bool:
        """Whether data is being loaded at this moment, as far as `check` would wait for it."""

    def probe(self, trials: Sequence[Trial]) -> Mapping[str, Checked | Failure]:
        """As `check`, but each trial alone on a worker, so that `Checked.memory_mib` is the trial's own."""

    def retire(self, slot: int) -> None:
        """Ends the slot's worker; the slot is not used again."""

    def advance(self, work: Mapping[int, tuple[Work, ...]]) -> Mapping[str, Report | Failure]:
        """Gives every trial in `work` (by slot) one turn, all slots at once, and waits for all: the barrier.

        An idle trial and a turn that `stop` interrupted have no answer.
        """

    def export(
        self, work: Mapping[int, tuple[tuple[Trial, bool], ...]], folder: Path | None = None
    ) -> Mapping[str, Export | Failure]:
        """Exports the models of seated trials, by slot; `(trial, True)` restores the kept best weights first.

        Args:
            work: trials by slot.
            folder: where the models are written; it must exist. None for models by value.
        """

    def snapshot(
        self, work: Mapping[int, tuple[Trial, ...]], folder: Path | None = None
    ) -> Mapping[str, Snapshot | Failure]:
        """Takes snapshots of trials by slot, as files or by value as `export`; a trial without a seat has none."""

    def restore(self, work: Mapping[int, tuple[Replay, ...]]) -> Mapping[str, Report | Failure | None]:
        """Restores trials in their slots, one after another; returns the report of the last repeated turn of each.

        None if there was no turn to repeat, or if `stop` interrupted it.
        """

    def replace(self, shares: Mapping[int, Allocation | None]) -> None:
        """Ends the workers of these slots and starts new ones in their places.

        Args:
            shares: the new share of each slot; None to keep its share.

        Raises:
            ShareTakenError: a share is no longer free; the workers have ended, and the slots keep their shares.
        """

    def stop(self) -> None:
        """Interrupts every turn at its next step, without a report. A signal handler may call it."""


class Journal(Protocol):
    """The sweep's durable record. What it has accepted survives the death of the driver."""

    def assign(self, work: Mapping[int, tuple[Work, ...]]) -> None:
        """Records which trials begin, and in which slots."""

    def commit(
        self,
        reports: Mapping[str, Report | Failure],
        verdicts: Mapping[str, Verdict],
        exports: Mapping[str, Export | Failure],
        added: Sequence[Trial] = (),
        decisions: Sequence[Decision] = (),
    ) -> None:
        """Records one barrier completely or not at all.

        Args:
            reports: of the trials that had a turn.
            verdicts: about them, and about others that end.
            exports: of trials that end.
            added: trials that join the sweep.
            decisions: that follow from no verdict.
        """

    def add(self, trials: Sequence[Trial], decisions: Sequence[Decision]) -> None:
        """Records trials and decisions between two barriers."""

    def note(self, incident: Incident) -> None:
        """Records that a trial has lost its worker."""

    def resize(self, slot: int, allocation: Allocation) -> None:
        """Records a new share of a slot, for the trials in it and those to come."""


class Policy(Protocol):
    """Decides about trials by comparing them."""

    @property
    def is_over(self) -> bool:
        """Whether the whole sweep ends, so that no trial joins it."""

    def add(self, trials: Sequence[Trial]) -> None:
        """Takes in trials that have joined the sweep."""

    def end(self, trial_ids: Iterable[str]) -> None:
        """Takes note of trials that a user ends at this barrier."""

    def limit(self, trial_id: str) -> int | None:
        """The epoch with which the trial's next turn ends at the latest; None for no such epoch."""

    def is_waiting(self, trial_id: str) -> bool:
        """Whether the trial has reached that epoch."""

    def next_rung(self, trial_id: str) -> int | None:
        """The epoch after which the trial is compared next; None if it is not."""

    def spare(self, verdicts: Mapping[str, Verdict]) -> dict[str, Verdict]:
        """The verdicts of a barrier without the ends of trials that will go on from the state of others."""

    def clones(self) -> Mapping[str, Decision]:
        """The trials that go on from the state of others, by the last call of `decide`, the first one included."""

    def take_clone(self, trial_id: str, clone: Clone) -> None:
        """Takes note of a trial that goes on from the state of another one, by its rules or a user's request."""

    def decide(self, reports: Mapping[str, Report | Failure], verdicts: Mapping[str, Verdict]) -> Mapping[str, Verdict]:
        """Takes the reports and verdicts of a barrier; the verdicts about trials that it ends, in a seat or not.

        Called once for each barrier, with every report that the journal will have, and once before the first barrier.
        The answer depends on the trials' epochs and ends only, so that a driver that repeats a barrier decides as the
        one before it did.
        """


class Proposer(Protocol):
    """Adds trials to a sweep that runs."""

    def propose(self, reports: Mapping[str, Report | Failure], verdicts: Mapping[str, Verdict]) -> Sequence[Trial]:
        """The trials that join at this barrier, whose reports and verdicts these are.

        Called once for each barrier, before the journal has it. An answer that depends on nothing but the barriers so
        far is the same after a crash, because a barrier that the journal lacks is repeated with equal reports.
        """


class Control(Protocol):
    """Reads what users ask of the sweep while it runs."""

    def read(self, reports: Mapping[str, Report | Failure]) -> Orders:
        """The requests that have come since the last barrier; these are the reports of the present one."""

    def obeyed(self, verdicts: Mapping[str, Verdict]) -> None:
        """Called once the journal has the decisions of the last orders, and these verdicts."""


class Snapshots(Protocol):
    """Stores snapshots."""

    def write(self, trial: Trial, snapshot: Snapshot) -> None:
        """Stores a snapshot completely or not at all, and removes older ones that are no longer needed."""

    def newest(self, trial: Trial, at_most: int, at_least: int = 0) -> Snapshot | None:
        """The newest intact snapshot of the trial with at most and at least these many completed turns."""

    def inherit(self, trial: Trial, clone: Clone, turns: int) -> bool:
        """Makes the state from which a trial goes on its own snapshot; false if there is none of exactly that state.

        Args:
            trial: as it goes on.
            clone: whose state it is, and when.
            turns: that the trial itself has completed.
        """

    def drop(self, trial_id: str) -> None:
        """Removes all snapshots of a trial that has ended."""


class Lineage(Protocol):
    """Knows the turns that led to a trial's state."""

    def __call__(self, clone: Clone) -> Sequence[Segment]:
        """Everything that leads to this state: the first segment starts at its trial's beginning, each other one from
        the state in which the one before ends."""  # noqa: D205, D209


class Watcher(Protocol):
    """Shows progress to a person."""

    def add(self, trials: Sequence[Trial]) -> None:
        """Called after a barrier at which trials joined the sweep."""

    def clone(self, trial: Trial, clone: Clone) -> None:
        """Called for each trial that goes on from the state of another one, with its new values."""

    def begin(self, trial_ids: Sequence[str]) -> None:
        """Called as these trials are given their turns of a round."""

    def show(self, reports: Mapping[str, Report | Failure], verdicts: Mapping[str, Verdict]) -> None:
        """Called after each barrier."""
