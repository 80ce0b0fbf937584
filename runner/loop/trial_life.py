"""What recovery knows of one trial that lives."""

from __future__ import annotations

from dataclasses import dataclass, field

from runner.records import Failure, Work

_MAX_OUT_OF_MEMORY = 1  # what repeats with a new worker, and a larger share if there is one, is the trial's own


@dataclass(kw_only=True, slots=True)
class TrialLife:
    """What recovery knows of one trial that lives.

    Args:
        orders: of its turns, from the first.
        seated: its slot's worker has its state.
        failed: in this round, by its own code or once too often with its worker.
        losses: how often it has lost its worker, but for those of the next line.
        out_of_memory: how often it has lost its worker because it ran out of memory.
        remedy: what has been done about its memory, for a person.
        disk_problem: what a disk did not take of its turn or model; empty for nothing.
        snapshots_refused: its snapshots do not fit its model.
    """

    orders: list[Work] = field(default_factory=list)
    seated: bool = False
    failed: bool = False
    losses: int = 0
    out_of_memory: int = 0
    remedy: str = ""
    disk_problem: str = ""
    snapshots_refused: bool = False

    @property
    def is_absent(self) -> bool:
        """True if it is to be brought back."""
        return not self.seated and not self.failed

    def lose_worker(self, out_of_memory: bool, max_failures: int) -> None:
        """Its worker ended over it; it has failed if that has happened too often."""
        if out_of_memory:
            self.out_of_memory += 1
            self.failed |= self.out_of_memory > min(_MAX_OUT_OF_MEMORY, max_failures)
        else:
            self.losses += 1
            self.failed |= self.losses > max_failures

    def counts(self, answer: object) -> bool:
        """Whether an answer is its last word in this round: a lost worker, a refused snapshot, a full disk are none."""
        return not self.disk_problem and (self.failed or not (is_lost(answer) or is_refused(answer)))


def is_lost(answer: object) -> bool:
    """True for a failure that ended the worker."""
    return isinstance(answer, Failure) and answer.lost_worker


def is_refused(answer: object) -> bool:
    """True for a snapshot that does not fit its model."""
    return isinstance(answer, Failure) and answer.kind == "snapshot"


def is_out_of_memory(answer: object) -> bool:
    """True for a failure because memory ran out."""
    return isinstance(answer, Failure) and answer.kind == "oom"
