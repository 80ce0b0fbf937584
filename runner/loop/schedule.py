"""Which trial has its turn in which slot. Pure state, no clock, no processes."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable, Mapping, Sequence

from runner.records import Slot, Trial, Verdict, Work


class Schedule:
    """Trials wait in order; a freed place takes the next one, which starts at its own round 0.

    With one place in each slot trials queue. With more they rotate: a worker gives its trials their turns one after
    another, and all of them advance together. A trial stays in its slot, for its state lives there.

    Args:
        trials: in the order they are to begin.
        slots: where they may live.
        live: most trials that live at once; None for one in each slot.
        begun: the next turns of trials that an earlier driver has trained.
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
        # Place by place over all slots, so that the first trials are spread.
        self._live: dict[tuple[int, int], Work | None] = {
            (place, slot.index): None for place in range(places) for slot in slots
        }

    def add(self, trials: Iterable[Trial]) -> None:
        """Lets more trials wait, behind those that wait already."""
        self._waiting.extend(trials)

    def has_work(self) -> bool:
        """True until every trial has ended."""
        return bool(self._waiting) or any(work is not None for work in self._live.values())

    def next_round(self) -> dict[int, tuple[Work, ...]]:
        """Every live trial's turn, by slot; empty places are filled first."""
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
        """Retires the trials that ended and carries the others' instructions into their next turn."""
        for place, work in self._live.items():
            if work is not None and work.trial.id in verdicts:
                self._live[place] = next_turn(work, verdicts[work.trial.id])


def live_within(budget_mib: float, parameters: int, trials: int) -> int:
    """How many trials' states the host can hold.

    Args:
        budget_mib: memory for them, MiB.
        parameters: weights of the largest model.
        trials: how many there are.

    Returns:
        At least 1. A state is taken to be four values a weight: itself, two of the optimizer's, and the best so far.
    """
    state_mib = 4 * 4 * parameters / 2**20
    return max(1, min(trials, math.floor(budget_mib / state_mib) if state_mib else trials))


def next_turn(work: Work, verdict: Verdict) -> Work | None:
    """The order that follows a turn and its verdict; None where the trial ends."""
    if verdict.ends:
        return None
    return Work(
        trial=work.trial,
        round=work.round + 1,
        keep_best=verdict.keep_best,
        learning_rate=verdict.learning_rate,
    )
