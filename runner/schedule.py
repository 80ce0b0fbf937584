"""Which trial has its turn in which slot: the queue. Pure state, no clock, no processes."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping

from runner.records import Slot, Trial, Verdict, Work


class Queue:
    """Trials wait in order; a freed slot takes the next one, which starts at its own round 0.

    Args:
        trials: in the order they are to begin.
        slots: where they may live.
    """

    def __init__(self, trials: Iterable[Trial], slots: Iterable[Slot]) -> None:
        self._waiting = deque(trials)
        self._live: dict[int, Work | None] = {slot.index: None for slot in slots}

    def has_work(self) -> bool:
        """True until every trial has ended."""
        return bool(self._waiting) or any(work is not None for work in self._live.values())

    def next_round(self) -> dict[int, tuple[Work, ...]]:
        """Every live trial's turn, by slot; empty slots are filled first."""
        for slot, work in self._live.items():
            if work is None and self._waiting:
                self._live[slot] = Work(trial=self._waiting.popleft(), round=0)
        return {slot: (work,) for slot, work in self._live.items() if work is not None}

    def apply(self, verdicts: Mapping[str, Verdict]) -> None:
        """Retires the trials that ended and carries the others' instructions into their next turn."""
        for slot, work in self._live.items():
            if work is not None and work.trial.id in verdicts:
                self._live[slot] = _next_turn(work, verdicts[work.trial.id])

    @property
    def waiting(self) -> int:
        """Trials that have not begun."""
        return len(self._waiting)


def _next_turn(work: Work, verdict: Verdict) -> Work | None:
    if verdict.ends:
        return None
    return Work(
        trial=work.trial,
        round=work.round + 1,
        keep_best=verdict.keep_best,
        learning_rate=verdict.learning_rate,
    )
