"""State of one live trial in recovery."""

from __future__ import annotations

from dataclasses import dataclass, field

from runner.records import Clone, Failure, Work

_MAX_OUT_OF_MEMORY = 1  # if it happens again with a new worker and more memory, the trial itself is the cause


@dataclass(kw_only=True, slots=True)
class TrialLife:
    """State of one live trial in recovery.

    Args:
        orders: of its turns, from the first, or since it has gone on from another trial's state.
        first: its own round in which these turns begin.
        clone: that state; None if it began by itself.
        seated: its slot's worker has its state.
        failed: in this round, because of its code or because it lost its worker too often.
        losses: how often it lost its worker for another reason than memory.
        out_of_memory: how often it lost its worker because it ran out of memory.
        remedy: what has been done about its memory, for the user.
        disk_problem: error of a full disk during its turn or export; empty if there was none.
        snapshots_refused: its snapshots do not fit its model.
        tried_together: in this round it could not be brought back with others of its stack.
    """

    orders: list[Work] = field(default_factory=list)
    first: int = 0
    clone: Clone | None = None
    seated: bool = False
    failed: bool = False
    losses: int = 0
    out_of_memory: int = 0
    remedy: str = ""
    disk_problem: str = ""
    snapshots_refused: bool = False
    tried_together: bool = False

    @property
    def is_absent(self) -> bool:
        """True if it must be restored."""
        return not self.seated and not self.failed

    def begins(self, item: Work) -> bool:
        """Whether a worker that does not have the trial begins with it in this turn, and restores nothing."""
        return item.round == 0 and self.clone is None

    def adopt(self, clone: Clone, first: int) -> None:
        """Goes on from another trial's state with this round."""
        self.orders, self.first, self.clone = [], first, clone
        self.seated = self.snapshots_refused = False

    def lose_worker(self, out_of_memory: bool, max_failures: int) -> None:
        """Counts a lost worker; the trial fails if that has happened too often."""
        if out_of_memory:
            self.out_of_memory += 1
            self.failed |= self.out_of_memory > min(_MAX_OUT_OF_MEMORY, max_failures)
        else:
            self.losses += 1
            self.failed |= self.losses > max_failures

    def counts(self, answer: object) -> bool:
        """Whether an answer ends the trial's turn: a lost worker, a refused snapshot or a full disk does not."""
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
