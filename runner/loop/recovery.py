"""Trials outlive their workers: a lost trial gets a seat again from its newest snapshot and repeats the turns since.

Training is deterministic, so the repeated turns give what they gave before, and the turn that was lost gives what it
would have given. Siblings never notice. If there is no snapshot, a trial is repeated from its beginning.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from runner.errors import StorageError
from runner.loop.interfaces import Fleet, Journal, Lineage
from runner.loop.replacements import Replacements
from runner.loop.slots import Shares
from runner.loop.snapshotting import Snapshotting
from runner.loop.states import States
from runner.loop.trial_life import TrialLife, is_lost, is_out_of_memory, is_refused
from runner.records import (
    Clone,
    Export,
    Failure,
    Incident,
    Replay,
    Report,
    Trial,
    Work,
)

A = TypeVar("A")
Round = Mapping[int, tuple[Work, ...]]
Answers = Mapping[str, Report | Export | Failure | None]


class Recovery:
    """A fleet that loses no trial, as the loop needs it.

    Args:
        fleet: open.
        journal: records every incident.
        snapshotting: takes and finds snapshots; None to restore every trial from its beginning.
        folder: where workers of this machine write models; None for models by value.
        files: where they write what trials' callbacks write, in a folder for each; None for files by value.
        max_failures: how often a trial may lose its worker before it fails; at most once if it ran out of memory.
        shares: the slots' shares, which can grow; None if they cannot.
        lineage: how the states came about from which trials go on.
        stopping: true once the sweep shall stop; trials are no longer restored then.
        warn: shows a warning to the user.
    """

    def __init__(
        self,
        fleet: Fleet,
        journal: Journal,
        snapshotting: Snapshotting | None = None,
        *,
        folder: Path | None = None,
        files: Path | None = None,
        max_failures: int = 3,
        shares: Shares | None = None,
        lineage: Lineage = lambda _: (),
        stopping: Callable[[], bool] = lambda: False,
        warn: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._fleet, self._journal, self._snapshotting = fleet, journal, snapshotting
        self._folder, self._files = folder, files
        self._max_failures, self._workers = max_failures, Replacements(fleet, shares)
        self._states = States(snapshotting, lineage)
        self._stopping, self._warn = stopping, warn
        self._live: Round = {}
        self._lives: dict[str, TrialLife] = {}

    @property
    def retired(self) -> frozenset[int]:
        """Slots whose share another one has got."""
        return frozenset(self._workers.retired)

    def check_disks(self) -> None:
        """Called at the end of a round that the journal has.

        Raises:
            StorageError: a disk is full. The trials concerned have no answer, as if their turns had been interrupted.
        """
        full = {trial_id: life.disk_problem for trial_id, life in self._lives.items() if life.disk_problem}
        if full:
            problems = "; ".join(f"trial {trial_id}: {message}" for trial_id, message in full.items())
            raise StorageError(f"{problems}; once there is room on that disk the sweep can go on")

    def forget(self, trial_ids: Iterable[str]) -> None:
        """Forgets trials that have ended."""
        for trial_id in trial_ids:
            self._lives.pop(trial_id, None)

    def take_over(self, trial_id: str, orders: Sequence[Work], following: Work | None = None) -> None:
        """Takes over a trial that had these turns under an earlier driver, and has no seat yet.

        Args:
            trial_id: the trial.
            orders: of its turns.
            following: the order that comes next, which may begin with the state of another trial.
        """
        life = self._lives[trial_id] = TrialLife()
        for order in orders:
            if order.clone is not None:
                life.adopt(order.clone, order.round)
            life.orders.append(self._with_files(order))
        if following is not None and following.clone is not None:
            life.adopt(following.clone, following.round)

    def adopt(self, clones: Mapping[str, tuple[Work, Clone]], live: Mapping[int, tuple[Trial, ...]]) -> None:
        """Lets trials go on from the states of others, which the journal has decided.

        A state for which no snapshot can be had is made again from its lineage, when the trial gets its seat.

        Args:
            clones: the next turn of each of these trials, and the state with which it begins.
            live: all trials that have a place, by slot.
        """
        parents = {clone.parent for _, clone in clones.values()}
        if self._snapshotting is not None and parents:
            self._snapshotting.take(self._seated(live, parents))
        for trial_id, (work, clone) in clones.items():
            life = self._lives.setdefault(trial_id, TrialLife())
            life.adopt(clone, work.round)
            self._states.inherit(work.trial, clone, work.round)

    def put_aside(self, leaving: Mapping[int, tuple[Trial, ...]]) -> None:
        """Takes snapshots of trials that leave their slots for a while; they are restored from them."""
        if self._snapshotting is not None and leaving:
            self._snapshotting.take(self._seated(leaving))
        for trial in (trial for trials in leaving.values() for trial in trials):
            self._lives[trial.id].seated = False

    def advance(self, work: Round) -> dict[str, Report | Failure]:
        """As `Fleet.advance`; restores trials that have no seat or lose it."""
        work = {slot: tuple(map(self._with_files, items)) for slot, items in work.items()}
        self._begin_round(work)
        turns = _chosen(work, lambda item: self._of(item).seated or self._of(item).begins(item))
        reports: dict[str, Report | Failure | None] = dict(self._fleet.advance(turns)) if turns else {}
        self._take(turns, reports, one_by_one=False)
        reports |= self._bring_back()
        for idle in (item.trial.id for item in _items(work) if item.idle):
            if not isinstance(reports.get(idle), Failure):  # the report of a turn that was repeated for its seat
                reports.pop(idle, None)
        for trial_id, report in reports.items():
            if isinstance(report, Report):  # if the turn is repeated, it ends there again
                orders = self._lives[trial_id].orders
                orders[-1] = replace(orders[-1], until=report.step)
        return {i: self._explained(i, r) for i, r in reports.items() if r is not None and self._lives[i].counts(r)}

    def export(self, work: Mapping[int, tuple[tuple[Trial, bool], ...]]) -> dict[str, Export | Failure]:
        """As `Fleet.export`; if a worker dies, restores its trials and exports again."""
        exports: dict[str, Export | Failure] = {}
        todo = work
        while todo:
            exports |= self._fleet.export(todo, self._folder)
            ids = {trial.id for chosen in todo.values() for trial, _ in chosen}
            self._take(_chosen(self._live, lambda item: item.trial.id in ids), exports, one_by_one=True)  # noqa: B023
            self._bring_back()
            lost = {i for i in ids & exports.keys() if not self._lives[i].counts(exports[i])}
            lost = {trial_id for trial_id in lost if not self._lives[trial_id].disk_problem}
            todo = {} if self._stopping() else _with_trials(todo, lost)
        return {i: self._explained(i, export) for i, export in exports.items() if self._lives[i].counts(export)}

    def keep(self, live: Mapping[int, tuple[Trial, ...]], frozen: Collection[str] = ()) -> None:
        """Takes snapshots of live trials if they are due, and removes those of trials that have ended.

        Snapshots of failed trials stay, because the user may retry them, and so do those of frozen ones.

        Args:
            live: trials that have a seat and go on.
            frozen: trials that have ended at this barrier and whose snapshots stay.
        """
        if self._snapshotting is None:
            return
        here = {trial.id for trials in live.values() for trial in trials}
        ended = [i.trial.id for i in _items(self._live) if i.trial.id not in here and not self._of(i).failed]
        self._snapshotting.drop([trial_id for trial_id in ended if trial_id not in frozen])
        self._snapshotting.keep(self._seated(live))

    def freeze(self, trial_ids: Collection[str]) -> None:
        """Takes snapshots of seated trials that end at this barrier, so that the user can let them go on."""
        if self._snapshotting is not None and trial_ids:
            live = {slot: tuple(item.trial for item in items) for slot, items in self._live.items()}
            self._snapshotting.take(self._seated(live, trial_ids))

    def _of(self, item: Work) -> TrialLife:
        return self._lives[item.trial.id]

    def _seated(
        self, trials: Mapping[int, tuple[Trial, ...]], wanted: Collection[str] | None = None
    ) -> dict[int, tuple[Trial, ...]]:
        """Those of these trials, by slot, whose state a worker can give; all of them or some."""
        ids = {i for i, life in self._lives.items() if life.seated and (wanted is None or i in wanted)}
        chosen = {
            slot: tuple(trial for trial in found if trial.id in ids and not trial.has_callbacks)
            for slot, found in trials.items()
        }
        return {slot: found for slot, found in chosen.items() if found}

    def _with_files(self, item: Work) -> Work:
        """The turn, with the folder for what its trial's callbacks write."""
        if self._files is None or not item.trial.has_callbacks:
            return item
        return replace(item, files=self._files / item.trial.id)

    def _begin_round(self, work: Round) -> None:
        for item in _items(work):
            life = self._lives.setdefault(item.trial.id, TrialLife())
            if not item.idle:
                life.orders.append(item)
            life.failed = False
        self._live = work

    def _bring_back(self) -> dict[str, Report | Failure | None]:
        """Restores live trials without a seat until each has one or has failed."""
        answers: dict[str, Report | Failure | None] = {}
        while not self._stopping() and (absent := _chosen(self._live, lambda item: self._of(item).is_absent)):
            found = self._fleet.restore({slot: tuple(map(self._replay, items)) for slot, items in absent.items()})
            self._take(absent, found, one_by_one=True)
            answers |= found
        return answers

    def _replay(self, item: Work) -> Replay:
        return self._states.replay(item, self._of(item))

    def _take(self, work: Round, answers: Answers, one_by_one: bool) -> None:
        """Updates seats and failures from these answers, and replaces workers that were lost."""
        lost: dict[int, list[Work]] = {}
        for slot, items in work.items():
            for item in items:
                self._take_one(item, answers)
            lost[slot] = [item for item in items if is_lost(answers.get(item.trial.id))]
            if lost[slot]:
                # If only some trials of a call are lost, their own answers say so.
                certain = one_by_one or len(items) == 1 or len(lost[slot]) < len(items)
                self._lose(slot, lost[slot], certain, answers)
        self._replace({slot: items for slot, items in lost.items() if items}, answers)

    def _take_one(self, item: Work, answers: Answers) -> None:
        answer, life = answers.get(item.trial.id), self._of(item)
        if not isinstance(answer, Failure):
            life.seated |= item.trial.id in answers
        elif is_refused(answer):
            life.snapshots_refused = True
            what = "it" if life.clone is None else "everything that led to its state"
            self._warn(f"trial {item.trial.id}: {answer.message}; {what} is trained again from its beginning")
        elif not answer.lost_worker:
            life.failed = True
        if isinstance(answer, Failure) and answer.kind == "disk":
            life.disk_problem = answer.message

    def _lose(self, slot: int, lost: Sequence[Work], certain: bool, answers: Answers) -> None:
        """Records that the slot's worker is gone, with every seat in it.

        If trials are restored one after another, the first without an answer caused the loss. If they advance in one
        call, the cause is unknown until they are restored one after another.
        """
        if certain:
            guilty = lost[0]
            self._of(guilty).lose_worker(is_out_of_memory(answers[guilty.trial.id]), self._max_failures)
        for item in self._live[slot]:
            self._of(item).seated = False

    def _replace(self, lost: Mapping[int, Sequence[Work]], answers: Answers) -> None:
        """Starts new workers for these slots, with larger shares if they ran out of memory and more is free."""
        short = [
            slot
            for slot, items in lost.items()
            if any(is_out_of_memory(answers[i.trial.id]) and not self._of(i).failed for i in items)
        ]
        growth = self._workers.grow(short, self._live)
        try:
            if lost and not self._stopping():
                growth = self._workers.start(list(lost), growth)
        finally:
            for slot in short:
                for item in lost[slot]:
                    self._of(item).remedy = self._workers.remedy(slot, growth)
            for item in (item for items in lost.values() for item in items):
                self._note(item, answers[item.trial.id])
        if not self._stopping():
            for slot in lost.keys() & growth.allocations.keys():
                self._journal.resize(slot, growth.allocations[slot])

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
        """The answer; if it ran out of memory, with what has been done about it."""
        remedy = self._lives[trial_id].remedy
        if not isinstance(answer, Failure) or answer.kind != "oom" or not remedy:
            return answer
        return replace(answer, message=f"{answer.message} ({remedy})")


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
