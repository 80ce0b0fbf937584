"""Decides which trial has a turn in which slot. Pure state without clock or processes."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable, Mapping, Sequence

from runner.records import Slot, Trial, Verdict, Work


class Schedule:
    """Queues trials in order; a place that becomes free takes the next trial, which starts at its own round 0.

    With one place per slot, trials queue. With more, they rotate: a worker gives its trials their turns one after
    another, so that all of them advance together. A trial stays in its slot, because its state lives there.

    Args:
        trials: in the order in which they begin.
        slots: for the trials.
        live: maximum number of live trials; None for one per slot.
        begun: next turns of trials that an earlier driver has trained.
    """

    def __init__(
        self,
        trials: Iterable[Trial],
        slots: Sequence[Slot],
        live: int | None = None,
        begun: Mapping[str, Work] | None = None,
    ) -> None:
        self._waiting = deque(trials)
        self._begun = dict(begun or {})
        places = max(1, math.ceil((live or len(slots)) / len(slots)))
        # Place by place over all slots, so that the first trials spread over the slots.
        self._live: dict[tuple[int, int], Work | None] = {
            (place, slot.index): None for place in range(places) for slot in slots
        }

    def add(self, trials: Iterable[Trial]) -> None:
        """Appends trials to the queue."""
        self._waiting.extend(trials)

    def has_work(self) -> bool:
        """True until every trial has ended."""
        return bool(self._waiting) or any(work is not None for work in self._live.values())

    def next_round(self) -> dict[int, tuple[Work, ...]]:
        """The turn of every live trial, by slot; fills free places first."""
        for place, work in self._live.items():
            if work is None and self._waiting:
                trial = self._waiting.popleft()
                self._live[place] = self._begun.get(trial.id) or Work(trial=trial, round=0)
        turns: dict[int, tuple[Work, ...]] = {}
        for (_, slot), work in self._live.items():
            if work is not None:
                turns[slot] = (*turns.get(slot, ()), work)
        return turns

    def live(self) -> dict[int, tuple[Trial, ...]]:
        """Trials that have begun and not ended, by slot."""
        found: dict[int, tuple[Trial, ...]] = {}
        for (_, slot), work in self._live.items():
            if work is not None:
                found[slot] = (*found.get(slot, ()), work.trial)
        return found

    def apply(self, verdicts: Mapping[str, Verdict]) -> None:
        """Removes trials that ended, and turns the other verdicts into the trials' next orders."""
        for place, work in self._live.items():
            if work is not None and work.trial.id in verdicts:
                self._live[place] = next_turn(work, verdicts[work.trial.id])


def live_within(budget_mib: float, parameters: int, trials: int) -> int:
    """The number of trials whose states fit into host memory.

    Args:
        budget_mib: memory for them, MiB.
        parameters: weights of the largest model.
        trials: how many there are.

    Returns:
        At least 1. Assumes four values per weight: the weight, two of the optimizer, and the best weight so far.
    """
    state_mib = 4 * 4 * parameters / 2**20
    return max(1, min(trials, math.floor(budget_mib / state_mib) if state_mib else trials))


def next_turn(work: Work, verdict: Verdict) -> Work | None:
    """The order that follows a turn and its verdict; None if the trial ends."""
    if verdict.ends:
        return None
    return Work(
        trial=work.trial,
        round=work.round + 1,
        keep_best=verdict.keep_best,
        learning_rate=verdict.learning_rate,
    )
