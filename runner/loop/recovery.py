"""Trials outlive their workers: a lost trial gets a seat again from its newest snapshot and repeats the turns since.

Training is deterministic, so the repeated turns give what they gave before, and the turn that was lost gives what it
would have given. Siblings never notice. If there is no snapshot, a trial is repeated from its beginning.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from runner.errors import StorageError
from runner.loop.catching_up import CatchingUp
from runner.loop.interfaces import Fleet, Journal, Lineage
from runner.loop.losses import Losses
from runner.loop.replacements import Replacements
from runner.loop.slots import Shares
from runner.loop.snapshotting import Snapshotting
from runner.loop.stack_sizes import StackSizes
from runner.loop.states import States
from runner.loop.trial_life import TrialLife
from runner.placement import Growth
from runner.records import (
    Clone,
    Export,
    Failure,
    Replay,
    Report,
    Trial,
    Work,
)

Round = Mapping[int, tuple[Work, ...]]


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
        sizes: of the stacks, which are halved if memory runs out; None if all are as the trials' settings say.
        stopping: true once the sweep shall stop; trials are no longer restored then.
        warn: shows a warning to the user.

    Attributes:
        sizes: of the stacks.
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
        sizes: StackSizes | None = None,
        stopping: Callable[[], bool] = lambda: False,
        warn: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._fleet, self._snapshotting, self._stopping = fleet, snapshotting, stopping
        self._folder, self._files = folder, files
        self._states, self._workers = States(snapshotting, lineage), Replacements(fleet, shares)
        self.sizes, self._lives = sizes or StackSizes(), dict[str, TrialLife]()
        self._losses = Losses(
            self._lives, journal, self._workers, self.sizes,
            max_failures=max_failures, stopping=stopping, warn=warn,
        )  # fmt: skip
        self._together = CatchingUp(
            fleet, self._replay, self._losses.take, lambda item: self._of(item).seated, stopping
        )

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

    def renew(self, live: Mapping[int, tuple[Trial, ...]], queued: int) -> None:
        """Replaces workers that ask for it, in slots without a trial.

        Args:
            live: all trials that have a place, by slot.
            queued: how many others will get one.
        """
        if due := self._workers.renewals.due(live, queued):
            self._workers.start(due, Growth())

    def advance(self, work: Round) -> dict[str, Report | Failure]:
        """As `Fleet.advance`; restores trials that have no seat or lose it."""
        work = {slot: tuple(map(self._with_files, items)) for slot, items in work.items()}
        self._begin_round(work)
        reports: dict[str, Report | Failure | None] = {}
        if behind := _chosen(work, self._is_behind):
            found = self._bring_back_together(behind, until_now=False)
            reports |= {trial_id: answer for trial_id, answer in found.items() if isinstance(answer, Failure)}
        # At a stop some may stand before an earlier turn than their present one.
        turns = {} if behind and self._stopping() else _chosen(work, self._is_ready)
        first = self._fleet.advance(turns) if turns else {}
        self._workers.renewals.note(turns, first)
        self._losses.take(turns, first, one_by_one=False)
        reports |= {**first, **self._bring_back()}
        for idle in (item.trial.id for item in _items(work) if item.idle):
            if not isinstance(reports.get(idle), Failure):  # the report of a turn that was repeated for its seat
                reports.pop(idle, None)
        for trial_id, report in reports.items():
            if isinstance(report, Report):  # if the turn is repeated, it ends there again
                orders = self._lives[trial_id].orders
                orders[-1] = replace(orders[-1], until=report.step)
        return {
            i: self._losses.explained(i, r) for i, r in reports.items() if r is not None and self._lives[i].counts(r)
        }

    def export(self, work: Mapping[int, tuple[tuple[Trial, bool], ...]]) -> dict[str, Export | Failure]:
        """As `Fleet.export`; if a worker dies, restores its trials and exports again."""
        exports: dict[str, Export | Failure] = {}
        todo = work
        while todo:
            exports |= self._fleet.export(todo, self._folder)
            ids = {trial.id for chosen in todo.values() for trial, _ in chosen}
            self._losses.take(_chosen(self._losses.live, lambda item: item.trial.id in ids), exports, one_by_one=True)  # noqa: B023
            self._bring_back()
            lost = {i for i in ids & exports.keys() if not self._lives[i].counts(exports[i])}
            lost = {trial_id for trial_id in lost if not self._lives[trial_id].disk_problem}
            todo = {} if self._stopping() else _with_trials(todo, lost)
        return {i: self._losses.explained(i, export) for i, export in exports.items() if self._lives[i].counts(export)}

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
        ended = [i.trial.id for i in _items(self._losses.live) if i.trial.id not in here and not self._of(i).failed]
        self._snapshotting.drop([trial_id for trial_id in ended if trial_id not in frozen])
        self._snapshotting.keep(self._seated(live))

    def freeze(self, trial_ids: Collection[str]) -> None:
        """Takes snapshots of seated trials that end at this barrier, so that the user can let them go on."""
        if self._snapshotting is not None and trial_ids:
            live = {slot: tuple(item.trial for item in items) for slot, items in self._losses.live.items()}
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
                if life.orders and life.orders[-1].round == item.round:
                    life.orders.pop()  # had no turn, because memory ran out in that of another trial of its process
                life.orders.append(item)
            life.failed = life.tried_together = False
        self._losses.live = work

    def _bring_back(self) -> dict[str, Report | Failure | None]:
        """Restores live trials without a seat until each has one or has failed."""
        answers: dict[str, Report | Failure | None] = {}
        while not self._stopping() and (absent := _chosen(self._losses.live, lambda item: self._of(item).is_absent)):
            stacked = _chosen(absent, lambda item: item.models > 1 and not self._of(item).tried_together)
            if stacked:
                answers |= self._bring_back_together(stacked, until_now=True)
            else:
                answers |= self._bring_back_one_by_one(absent)
        return answers

    def _is_ready(self, item: Work) -> bool:
        life = self._of(item)
        return not life.failed and (life.seated or life.begins(item))

    def _is_behind(self, item: Work) -> bool:
        """Whether a trial of a stack must be restored before it can have its turn with the others."""
        life = self._of(item)
        return item.models > 1 and life.is_absent and not life.begins(item)

    def _bring_back_one_by_one(self, absent: Round) -> Mapping[str, Report | Failure | None]:
        found = self._fleet.restore({slot: tuple(map(self._replay, items)) for slot, items in absent.items()})
        self._losses.take(absent, found, one_by_one=True)
        return found

    def _bring_back_together(self, absent: Round, *, until_now: bool) -> dict[str, Report | Failure | None]:
        for item in _items(absent):
            self._of(item).tried_together = True
        return self._together.run(absent, self._losses.live, until_now=until_now)

    def _replay(self, item: Work) -> Replay:
        return self._states.replay(item, self._of(item))


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
