"""The sizes of the stacks in which trials train: smaller ones where losers have left, or where memory ran out.

The last bits of a trial's results depend on its stack's size, so that each change is a decision of the journal. After a
rung it follows from the number of trials that have passed, and from no clock, so that a sweep repeats.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

from runner.records import COMPARING, FAILURE, Decision, Failure, Report, Trial, Verdict, Work, stack_decision

_RUNGS = frozenset(COMPARING) - {"median"}  # at which trials wait for each other
_WORTHWHILE_STEPS = 2000  # of a stack, that a smaller program must save: about what its compilation costs

Round = Mapping[int, tuple[Work, ...]]


class StackSizes:
    """The size of each trial's stack.

    Args:
        begun: next turns of trials that an earlier driver has trained.
        steps: optimizer steps and epochs of each of these trials.
        halved: of the past, where memory ran out; each with the trial that it is about.
    """

    def __init__(
        self,
        begun: Iterable[Work] = (),
        steps: Mapping[str, tuple[int, int]] | None = None,
        halved: Iterable[tuple[Trial, Decision]] = (),
    ) -> None:
        self._sizes = {work.trial.id: work.stack for work in begun if work.stack is not None}
        self._done = dict(steps or {})
        self._most: dict[tuple[str, str], int] = {}
        for trial, made in halved:
            self._limit(trial, made)

    def of(self, trial: Trial) -> int:
        """The size of the stack in which the trial trains next; 1 if it trains alone."""
        if trial.id in self._sizes:
            return self._sizes[trial.id]
        if trial.id in self._done or trial.train.stack == 1:  # one that has begun keeps its size
            return trial.train.stack
        return min(trial.train.stack, self._most.get(trial.likely_program, trial.train.stack))

    def applied(self, work: Round) -> dict[int, tuple[Work, ...]]:
        """The orders, with sizes that differ from those of the trials' settings."""
        return {slot: tuple(map(self._applied, items)) for slot, items in work.items()}

    def unrecorded(self, work: Round) -> tuple[Decision, ...]:
        """Decisions about trials that begin in smaller stacks than their settings say, because others had no memory."""
        trials = [item.trial for items in work.values() for item in items if item.trial.id not in self._sizes]
        return tuple(
            stack_decision(trial.id, 0, self.of(trial), FAILURE)
            for trial in trials
            if self.of(trial) != trial.train.stack
        )

    def halved(self, items: Sequence[Work]) -> tuple[Decision, ...]:
        """Decisions about trials whose stacks ran out of memory in these turns, which are repeated."""
        return tuple(
            stack_decision(item.trial.id, self._done.get(item.trial.id, (0, 0))[0], _half(item.models), FAILURE)
            for item in items
        )

    def after_rung(
        self,
        trials: Iterable[Trial],
        ended: Mapping[str, Verdict],
        slots: int,
        next_rung: Callable[[str], int | None],
    ) -> tuple[Decision, ...]:
        """Decisions about trials that have passed a rung: their stacks shrink as far as others have not.

        Args:
            trials: all that have not ended before this barrier.
            ended: verdicts that end trials here.
            slots: over which trials are spread.
            next_rung: the epoch after which a trial is compared next, if it is.
        """
        by = next((verdict.by for verdict in ended.values() if verdict.by in _RUNGS), None)
        if by is None:
            return ()
        groups: dict[tuple[object, int | None], list[Trial]] = defaultdict(list)
        at_rung = set()
        for trial in (trial for trial in trials if trial.id in self._done and self.of(trial) > 1):
            group = trial.likely_program, self.of(trial), self._done[trial.id]
            if trial.id not in ended:
                groups[group, next_rung(trial.id)].append(trial)  # those of other cohorts are compared elsewhere
            elif ended[trial.id].by in _RUNGS:
                at_rung.add(group)
        return tuple(
            stack_decision(trial.id, self._done[trial.id][0], size, by)
            for (group, following), members in groups.items()
            if group in at_rung and (size := self._shrunk(members, slots, following)) < self.of(members[0])
            for trial in members
        )

    def take(self, decisions: Iterable[Decision], trials: Mapping[str, Trial] | None = None) -> None:
        """Takes decisions that the journal has; `trials` by id, if memory ran out."""
        for made in (made for made in decisions if made.kind == "stack"):
            self._sizes[made.trial_id] = _size(made)
            if trials is not None:
                self._limit(trials[made.trial_id], made)

    def note(self, reports: Mapping[str, Report | Failure]) -> None:
        """Takes note of how far trials have come."""
        self._done |= {i: (report.step, report.epoch) for i, report in reports.items() if isinstance(report, Report)}

    def _limit(self, trial: Trial, made: Decision) -> None:
        size = self._most.get(trial.likely_program, trial.train.stack)
        self._most[trial.likely_program] = min(size, _size(made))

    def _applied(self, item: Work) -> Work:
        size = self.of(item.trial)
        return item if size == item.models else replace(item, stack=size)

    def _shrunk(self, members: Sequence[Trial], slots: int, next_rung: int | None) -> int:
        """The smallest of a few sizes that holds these trials, if it pays for its compilation by the next rung."""
        (step, epochs), last = self._done[members[0].id], next_rung or members[0].train.epochs
        left = (last / epochs - 1) * step if epochs else 0.0
        full, needed = self.of(members[0]), math.ceil(len(members) / slots)
        size = next((smaller for smaller in _sizes_below(full) if smaller >= needed), full)
        return size if left * (1 - size / full) >= _WORTHWHILE_STEPS else full


def _sizes_below(size: int) -> Iterator[int]:
    """Halves of halves of a size, from 1 upwards, so that few programs are compiled."""
    found = []
    while size > 1:
        size = _half(size)
        found.append(size)
    return reversed(found)


def _half(size: int) -> int:
    return math.ceil(size / 2)


def _size(made: Decision) -> int:
    return int(str(made.arguments["size"]))
