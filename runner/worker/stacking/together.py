"""A round's turns of trials that may be one program: in stacks where that is proved, the rest alone."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any, Protocol

from runner.records import Failure, FailureKind, Report, Trial, Work
from runner.worker.seat import Seat
from runner.worker.stacking.stacks import Cohort, Stacks
from runner.worker.stacking.turns import StackTurn, begin

_INEXACT = (
    "trained in a stack of {size}: it repeats bit for bit in a stack of that size; over ten steps its losses {how}"
)
_EQUAL = "were those of the lone model under XLA"
_DIFFERENT = "differed from those of the lone model under XLA by {difference:.0e} at most, relative"


class Guarded(Protocol):
    """Calls a function for a trial; what it raises becomes a `Failure`."""

    def __call__(self, kind: FailureKind, trial: Trial, call: Callable[[], Any]) -> Any:
        """What the call returns, or a `Failure`."""


class Together:
    """The turns of one round.

    Args:
        stacks: of the worker.
        guarded: the worker's boundary to the experiment's code.
        stopping: true to interrupt turns.

    Attributes:
        alone: seats whose turns have begun and are still to be run, each with a program of itself.
    """

    def __init__(self, stacks: Stacks, guarded: Guarded, stopping: Callable[[], bool]) -> None:
        self._stacks, self._guarded, self._stopping = stacks, guarded, stopping
        self.alone: list[Seat] = []

    def turns(self, orders: Mapping[Seat, Work]) -> dict[str, Report | Failure | None]:
        """Runs the turns of all seats that are in stacks; None for a turn that was interrupted."""
        answers: dict[str, Report | Failure | None] = {}
        ready: dict[Seat, int] = {}
        began_s = time.perf_counter()
        for seat, work in orders.items():
            begun = self._guarded("train", seat.trial, partial(begin, seat, work))
            if isinstance(begun, Failure):
                answers[seat.trial.id] = begun
            else:
                ready[seat] = work.models
        if not ready:
            return answers
        found = self._guarded("train", next(iter(ready)).trial, partial(self._stacks.cohorts, ready))
        if isinstance(found, Failure):
            return answers | _of_all(found, list(ready))
        cohorts, alone = found
        for seat, reason in alone.items():
            seat.refuse_stack(reason)
            self.alone.append(seat)
        for cohort in cohorts:
            works = {seat: orders[seat] for seat in cohort.seats}
            answers |= self._turn(cohort, works, began_s)
            began_s = time.perf_counter()
        return answers

    def _turn(self, cohort: Cohort, works: Mapping[Seat, Work], began_s: float) -> dict[str, Report | Failure | None]:
        first = next(iter(works))
        for seat in works:
            _note(seat, cohort)

        def run() -> dict[Seat, Report | None]:
            stack = self._stacks.open(cohort)
            return StackTurn(stack, cohort.tried.clock, works, began_s, self._stopping).run()

        reports = self._guarded("train", first.trial, run)
        if isinstance(reports, Failure):
            return _of_all(reports, list(works))
        return {seat.trial.id: report for seat, report in reports.items()}


def _note(seat: Seat, cohort: Cohort) -> None:
    """Notes in the trial's facts that it trains in a stack."""
    size, difference = cohort.tried.program.size, cohort.tried.difference
    if seat.facts.stack == size:
        return
    how = _DIFFERENT.format(difference=difference) if difference else _EQUAL
    inexact = _INEXACT.format(size=size, how=how)
    reasons = "; ".join(filter(None, (seat.facts.inexact, inexact)))
    seat.facts = replace(seat.facts, stack=size, stack_difference=difference, inexact=reasons)


def _of_all(failure: Failure, seats: list[Seat]) -> dict[str, Report | Failure | None]:
    """The failure of a stack is that of each of its trials; only the first has what was printed."""
    first, *others = seats
    same = {seat.trial.id: replace(failure, trial_id=seat.trial.id, aside=type(failure.aside)()) for seat in others}
    return {first.trial.id: failure, **same}
