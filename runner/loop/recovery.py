"""Trials outlive their workers: a lost one is seated anew from its newest snapshot and repeats the turns since then.

Training is deterministic, so the repeated turns give what they gave before, and the turn that was lost gives what it
would have given. Siblings never notice. Where there is no snapshot a trial is repeated from its beginning.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from runner.errors import ShareTakenError, StorageError
from runner.loop.interfaces import Fleet, Journal, Snapshots
from runner.loop.slots import Shares
from runner.placement import Growth
from runner.records import (
    Allocation,
    Export,
    Failure,
    Incident,
    Replay,
    Report,
    Snapshot,
    Trial,
    Work,
)

A = TypeVar("A")
Round = Mapping[int, tuple[Work, ...]]
Answers = Mapping[str, Report | Export | Failure | None]
_MAX_OUT_OF_MEMORY = 1  # what repeats with a new worker, and a larger share where there is one, is the trial's own


class Recovery:
    """The fleet as the loop sees it: one that loses no trial.

    Args:
        fleet: open.
        journal: told of every incident.
        snapshots: where they are kept; None for nowhere: every recovery begins at the trial's beginning.
        keep_snapshots: those of trials that have ended stay.
        folder: where workers of this machine write models and snapshots; None for models and snapshots by value.
        every_s: seconds between two snapshots of all live trials; None for none but at a stop.
        max_failures: how often a trial may lose its worker before it is given up; for want of memory at most once.
        shares: what the slots have, and how it can grow; None for shares that are what they are.
        stopping: true once the sweep is to stop: nothing is brought back any more.
        tell: told of snapshots that cannot be taken.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        fleet: Fleet,
        journal: Journal,
        snapshots: Snapshots | None = None,
        *,
        keep_snapshots: bool = False,
        folder: Path | None = None,
        every_s: float | None = None,
        max_failures: int = 3,
        shares: Shares | None = None,
        stopping: Callable[[], bool] = lambda: False,
        tell: Callable[[str], None] = lambda _: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._fleet, self._journal, self._snapshots = fleet, journal, snapshots
        self._keep_snapshots, self._folder = keep_snapshots, folder
        self._every_s, self._max_failures, self._shares = every_s, max_failures, shares
        self._stopping, self._tell, self._clock = stopping, tell, clock
        self._saved_s = clock()
        self._live: Round = {}
        self._orders: dict[str, list[Work]] = {}
        self._seated: set[str] = set()
        self._failed: set[str] = set()  # in this round, by their own code or once too often with their worker
        self._losses: Counter[str] = Counter()
        self._hungers: Counter[str] = Counter()  # losses for want of memory
        self._remedies: dict[str, str] = {}  # what has been done about them
        self._full: dict[str, str] = {}  # what disks did not take, by the trial whose turn or model it has stopped
        self._refused: set[str] = set()  # trials whose snapshots do not fit their models

    def check_disks(self) -> None:
        """For the end of a round that the journal has.

        Raises:
            StorageError: a disk took no more. The trials concerned have no answer, as if their turns were interrupted.
        """
        if self._full:
            told = "; ".join(f"trial {trial_id}: {message}" for trial_id, message in self._full.items())
            raise StorageError(f"{told}; once there is room on that disk the sweep can go on")

    def take_over(self, trial_id: str, orders: Sequence[Work]) -> None:
        """A trial that has had these turns under an earlier driver, and has no seat yet."""
        self._orders[trial_id] = list(orders)

    def advance(self, work: Round) -> dict[str, Report | Failure]:
        """As `Fleet.advance`; trials without a seat are brought back first, those that lose theirs afterwards."""
        self._begin_round(work)
        turns = _chosen(work, lambda item: item.trial.id in self._seated or item.round == 0)
        reports: dict[str, Report | Failure | None] = dict(self._fleet.advance(turns)) if turns else {}
        self._take(turns, reports, one_by_one=False)
        reports |= self._bring_back()
        for trial_id, report in reports.items():
            if isinstance(report, Report):  # repeated, the turn is to end there again
                self._orders[trial_id][-1] = replace(self._orders[trial_id][-1], until=report.step)
        return {i: self._explained(i, r) for i, r in reports.items() if r is not None and self._counts(i, r)}

    def export(self, work: Mapping[int, tuple[tuple[Trial, bool], ...]]) -> dict[str, Export | Failure]:
        """As `Fleet.export`; where a worker dies over it, its trials are brought back and it is tried again."""
        exports: dict[str, Export | Failure] = {}
        todo = work
        while todo:
            exports |= self._fleet.export(todo, self._folder)
            ids = {trial.id for chosen in todo.values() for trial, _ in chosen}
            self._take(_chosen(self._live, lambda item: item.trial.id in ids), exports, one_by_one=True)  # noqa: B023
            self._bring_back()
            lost = {trial_id for trial_id in ids & exports.keys() if not self._counts(trial_id, exports[trial_id])}
            todo = {} if self._stopping() else _with_trials(todo, lost - self._full.keys())
        return {i: self._explained(i, export) for i, export in exports.items() if self._counts(i, export)}

    def keep(self, live: Mapping[int, tuple[Trial, ...]]) -> None:
        """Takes snapshots of the trials that live on, where it is time for it or the sweep is to stop.

        Those of trials that have ended go, since the journal has their end. A failed one's stay: it may be retried.
        """
        self._drop_ended({trial.id for trials in live.values() for trial in trials})
        due = self._every_s is not None and self._clock() - self._saved_s >= self._every_s
        if self._snapshots is None or not live or not (due or self._stopping()):
            return
        # A stop gives all of them one short time together. Otherwise no more states are held here than there are slots.
        for trials in [live] if self._stopping() else _one_of_each(live):
            self._keep(trials, self._snapshots)
        self._saved_s = self._clock()

    def _drop_ended(self, live: Collection[str]) -> None:
        if self._snapshots is None or self._keep_snapshots:
            return
        for trial_id in {item.trial.id for item in _items(self._live)} - self._failed - set(live):
            self._snapshots.drop(trial_id)

    def _keep(self, live: Mapping[int, tuple[Trial, ...]], snapshots: Snapshots) -> None:
        answers = self._fleet.snapshot(live, self._folder)
        for trial in (trial for trials in live.values() for trial in trials):
            found = answers.get(trial.id)
            if isinstance(found, Snapshot):
                snapshots.write(trial, found)
            elif found is None:
                self._tell(f"trial {trial.id}: no snapshot of where it stands; `resume` repeats it from the one before")
            elif found.kind == "oom" or not found.lost_worker:  # one that died is noticed in the next round
                self._tell(f"trial {trial.id}: no snapshot could be taken ({found.message}); it goes on without")

    def _begin_round(self, work: Round) -> None:
        here = {item.trial.id for item in _items(work)}
        for trial_id in {item.trial.id for item in _items(self._live)} - here:
            self._orders.pop(trial_id, None)
        for item in _items(work):
            self._orders.setdefault(item.trial.id, []).append(item)
        self._live, self._seated, self._failed = work, self._seated & here, set()

    def _bring_back(self) -> dict[str, Report | Failure | None]:
        """Seats every live trial that has no seat, until each has one or has failed."""
        answers: dict[str, Report | Failure | None] = {}
        while not self._stopping() and (absent := _chosen(self._live, self._is_absent)):
            found = self._fleet.restore({slot: tuple(map(self._replay, items)) for slot, items in absent.items()})
            self._take(absent, found, one_by_one=True)
            answers |= found
        return answers

    def _is_absent(self, item: Work) -> bool:
        return item.trial.id not in self._seated | self._failed

    def _replay(self, item: Work) -> Replay:
        trial, snapshot = item.trial, None
        if self._snapshots is not None and trial.id not in self._refused:
            snapshot = self._snapshots.newest(trial, at_most=item.round)
        begin = 0 if snapshot is None else snapshot.round
        return Replay(trial=trial, snapshot=snapshot, orders=tuple(self._orders[trial.id][begin:]))

    def _take(self, work: Round, answers: Answers, one_by_one: bool) -> None:
        """Who has a seat after these answers, who has failed, and which slots need a new worker."""
        lost: dict[int, list[Work]] = {}
        for slot, items in work.items():
            for item in items:
                self._take_one(item, answers)
            lost[slot] = [item for item in items if _is_lost(answers.get(item.trial.id))]
            if lost[slot]:
                # Where only some are lost in one call, these have said so themselves.
                certain = one_by_one or len(items) == 1 or len(lost[slot]) < len(items)
                self._lose(slot, lost[slot], certain, answers)
        self._replace({slot: items for slot, items in lost.items() if items}, answers)

    def _take_one(self, item: Work, answers: Answers) -> None:
        answer = answers.get(item.trial.id)
        if not isinstance(answer, Failure):
            self._seated |= {item.trial.id} & answers.keys()
        elif _is_refused(answer):
            self._refused.add(item.trial.id)
            self._tell(f"trial {item.trial.id}: {answer.message}; it is trained again from its beginning")
        elif not answer.lost_worker:
            self._failed.add(item.trial.id)
        if isinstance(answer, Failure) and answer.kind == "disk":
            self._full[item.trial.id] = answer.message

    def _lose(self, slot: int, lost: Sequence[Work], certain: bool, answers: Answers) -> None:
        """The slot's worker is gone, and every seat in it.

        Of trials that a worker has one after another the first without an answer is to blame; of several that it has
        in one call nobody can tell, until they are brought back one after another.
        """
        if certain:
            guilty = lost[0].trial.id
            hungry = _is_out_of_memory(answers[guilty])
            count, most = (self._hungers, min(_MAX_OUT_OF_MEMORY, self._max_failures)) if hungry else (
                self._losses, self._max_failures
            )  # fmt: skip
            count[guilty] += 1
            if count[guilty] > most:
                self._failed.add(guilty)
        self._seated -= {item.trial.id for item in self._live[slot]}

    def _replace(self, lost: Mapping[int, Sequence[Work]], answers: Answers) -> None:
        """New workers for these slots, with larger shares where memory did not suffice and there is more."""
        hungry = [
            slot
            for slot, items in lost.items()
            if any(_is_out_of_memory(answers[i.trial.id]) and i.trial.id not in self._failed for i in items)
        ]
        before = {slot: self._shares.of(slot) for slot in hungry} if self._shares is not None else {}
        growth = self._shares.grow(hungry, self._live) if self._shares is not None and hungry else Growth()
        try:
            if lost and not self._stopping():
                growth = self._seat_anew(list(lost), growth, before)
        finally:
            for slot in hungry:
                self._remedies |= {item.trial.id: self._remedy(slot, growth) for item in lost[slot]}
            for item in (item for items in lost.values() for item in items):
                self._note(item, answers[item.trial.id])
        if not self._stopping():
            for slot in lost.keys() & growth.allocations.keys():
                self._journal.resize(slot, growth.allocations[slot])

    def _seat_anew(self, lost: Sequence[int], growth: Growth, before: Mapping[int, Allocation]) -> Growth:
        """Starts the workers; under the shares that they had, where others have taken what was free beside them."""
        for slot in growth.retired:
            self._fleet.retire(slot)
        try:
            self._fleet.replace({slot: growth.allocations.get(slot) for slot in lost})
        except ShareTakenError:
            if self._shares is None or not growth.allocations:
                raise
            self._shares.put(before)
            growth = Growth(retired=growth.retired)
            self._fleet.replace(dict.fromkeys(lost))
        return growth

    def _remedy(self, slot: int, growth: Growth) -> str:
        if self._shares is None:
            return "tried again"
        limit = self._shares.of(slot).memory_limit_mib
        if slot in growth.allocations:
            return f"tried again under a larger limit of {limit} MiB"
        if limit is None:
            return "tried again in a new process"
        return f"tried again in a new process under the same limit of {limit} MiB: nothing is free beside it"

    def _note(self, item: Work, failure: object) -> None:
        explained = self._explained(item.trial.id, failure)
        assert isinstance(explained, Failure)
        incident = Incident(
            trial_id=item.trial.id,
            round=item.round,
            kind=explained.kind,
            message=explained.message,
            noticed_s=explained.noticed_s,
        )
        self._journal.note(incident)

    def _explained(self, trial_id: str, answer: A) -> A:
        """The answer; out of memory with what has been done about it."""
        if not isinstance(answer, Failure) or answer.kind != "oom" or trial_id not in self._remedies:
            return answer
        return replace(answer, message=f"{answer.message} ({self._remedies[trial_id]})")

    def _counts(self, trial_id: str, answer: Report | Export | Failure) -> bool:
        """Whether an answer is the trial's last word in this round.

        A lost worker, a refused snapshot and a full disk are none.
        """
        if trial_id in self._full:
            return False
        return trial_id in self._failed or not (_is_lost(answer) or _is_refused(answer))


def _items(work: Round) -> list[Work]:
    return [item for items in work.values() for item in items]


def _chosen(work: Round, choose: Callable[[Work], bool]) -> dict[int, tuple[Work, ...]]:
    """The items for which `choose` holds, by slot; slots without any are left out."""
    chosen = {slot: tuple(filter(choose, items)) for slot, items in work.items()}
    return {slot: items for slot, items in chosen.items() if items}


def _with_trials(
    work: Mapping[int, tuple[tuple[Trial, bool], ...]], ids: set[str]
) -> dict[int, tuple[tuple[Trial, bool], ...]]:
    chosen = {slot: tuple(pair for pair in pairs if pair[0].id in ids) for slot, pairs in work.items()}
    return {slot: pairs for slot, pairs in chosen.items() if pairs}


def _is_lost(answer: object) -> bool:
    return isinstance(answer, Failure) and answer.lost_worker


def _is_refused(answer: object) -> bool:
    return isinstance(answer, Failure) and answer.kind == "snapshot"


def _one_of_each(live: Mapping[int, tuple[Trial, ...]]) -> list[dict[int, tuple[Trial, ...]]]:
    """The same trials, one of each slot at a time."""
    most = max(map(len, live.values()), default=0)
    return [{slot: (trials[place],) for slot, trials in live.items() if place < len(trials)} for place in range(most)]


def _is_out_of_memory(answer: object) -> bool:
    return isinstance(answer, Failure) and answer.kind == "oom"
