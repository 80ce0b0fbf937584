"""The seams of the loop: what it asks of workers, of durable storage and of whoever watches."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol, Self

from runner.records import (
    Allocation,
    Checked,
    Export,
    Failure,
    Incident,
    Replay,
    Report,
    Snapshot,
    Trial,
    Verdict,
    Work,
)


class Fleet(Protocol):
    """The workers behind one interface. A failed worker is a `Failure` value, never an exception."""

    def __enter__(self) -> Self:
        """Starts the workers, one for each slot, all at once."""

    def __exit__(self, *exc: object) -> None:
        """Ends every worker and waits until its process is gone."""

    def check(self, trials: Sequence[Trial]) -> Mapping[str, Checked | Failure]:
        """Builds each trial on a throw-away model, checks its data and tries one step; nothing of it stays."""

    def probe(self, trials: Sequence[Trial]) -> Mapping[str, Checked | Failure]:
        """As `check`, each trial on a worker that holds nothing else, so that `Checked.memory_mib` is its own."""

    def retire(self, slot: int) -> None:
        """Ends the slot's worker; the slot is not used again."""

    def advance(self, work: Mapping[int, tuple[Work, ...]]) -> Mapping[str, Report | Failure]:
        """Gives every trial in `work` (by slot) one turn, all slots at once, and waits for all: the barrier.

        A turn that `stop` has interrupted has no answer.
        """

    def export(
        self, work: Mapping[int, tuple[tuple[Trial, bool], ...]], folder: Path | None = None
    ) -> Mapping[str, Export | Failure]:
        """The models of seated trials by slot; `(trial, True)` asks for the kept best weights.

        Args:
            work: trials by slot.
            folder: where the models are written; it must exist. None for models by value.
        """

    def snapshot(
        self, work: Mapping[int, tuple[Trial, ...]], folder: Path | None = None
    ) -> Mapping[str, Snapshot | Failure]:
        """Snapshots of trials by slot, as files or by value as `export`; none of a trial that has no seat there."""

    def restore(self, work: Mapping[int, tuple[Replay, ...]]) -> Mapping[str, Report | Failure | None]:
        """Gives trials a seat in their slot, one after another, where they were: the last repeated turn's report.

        None where there was no turn to repeat, or `stop` has interrupted it.
        """

    def replace(self, shares: Mapping[int, Allocation | None]) -> None:
        """Ends these slots' workers for certain and starts fresh ones in their places.

        Args:
            shares: what each slot has from now on; None for what it has had.

        Raises:
            ShareTakenError: a share is not free any more; the workers have ended, and the slots have what they had.
        """

    def stop(self) -> None:
        """Lets every turn end at its next step, unreported. May be called from a signal's handler."""


class Journal(Protocol):
    """The sweep's durable record. What it has accepted survives the death of the driver."""

    def assign(self, work: Mapping[int, tuple[Work, ...]]) -> None:
        """Records which trials are about to begin, and where."""

    def commit(
        self,
        reports: Mapping[str, Report | Failure],
        verdicts: Mapping[str, Verdict],
        exports: Mapping[str, Export | Failure],
        added: Sequence[Trial] = (),
    ) -> None:
        """Records one barrier, all of it or nothing; `added` are trials that join the sweep there."""

    def note(self, incident: Incident) -> None:
        """Records that a trial has lost its worker."""

    def resize(self, slot: int, allocation: Allocation) -> None:
        """Records that a slot has another share from now on, and the trials that are in it."""


class Proposer(Protocol):
    """Adds trials to a sweep that runs."""

    def propose(self, reports: Mapping[str, Report | Failure], verdicts: Mapping[str, Verdict]) -> Sequence[Trial]:
        """The trials that join at this barrier, whose reports and verdicts these are.

        Called once for each barrier, before the journal has it. An answer that depends on nothing but the barriers so
        far is the same after a crash, because a barrier that the journal lacks is repeated with equal reports.
        """


class Snapshots(Protocol):
    """Where snapshots are kept."""

    def write(self, trial: Trial, snapshot: Snapshot) -> None:
        """Keeps it, whole or not at all, and drops those that are no longer needed."""

    def newest(self, trial: Trial, at_most: int) -> Snapshot | None:
        """The newest of the trial that is whole and has at most so many turns completed."""

    def drop(self, trial_id: str) -> None:
        """Removes all snapshots of a trial, which has ended."""


class Watcher(Protocol):
    """Shows progress to a person."""

    def add(self, trials: Sequence[Trial]) -> None:
        """Called after a barrier at which trials joined the sweep."""

    def begin(self, trial_ids: Sequence[str]) -> None:
        """Called as these trials are given their turns of a round."""

    def show(self, reports: Mapping[str, Report | Failure], verdicts: Mapping[str, Verdict]) -> None:
        """Called after each barrier."""
