"""How a lost state is made again: from the trial's newest snapshot, or from what led to the state it went on from."""

from __future__ import annotations

from dataclasses import replace

from runner.loop.interfaces import Lineage
from runner.loop.snapshotting import Snapshotting
from runner.loop.trial_life import TrialLife
from runner.records import Clone, Replay, Segment, Snapshot, Trial, Work


class States:
    """Finds the shortest way to a trial's state.

    Args:
        snapshotting: finds snapshots; None if there are none.
        lineage: how the states came about from which trials went on.
    """

    def __init__(self, snapshotting: Snapshotting | None, lineage: Lineage) -> None:
        self._snapshotting, self._lineage = snapshotting, lineage

    def replay(self, item: Work, life: TrialLife) -> Replay:
        """What is repeated so that a trial stands where its next turn begins, or where its interrupted turn was.

        Args:
            item: the trial's next turn.
            life: what it has been through.
        """
        trial, clone = item.trial, life.clone
        snapshot = None if life.snapshots_refused else self._own(item, life)
        if snapshot is not None:
            orders = tuple(life.orders[snapshot.round - life.first :])
            return Replay(trial=trial, snapshot=snapshot, orders=orders)
        ancestors = () if clone is None else tuple(self._lineage(clone))
        if not life.snapshots_refused:
            snapshot, ancestors = self._nearest(ancestors)
        orders = tuple(life.orders)
        return Replay(trial=trial, snapshot=snapshot, orders=orders, ancestors=ancestors, first=life.first)

    def _own(self, item: Work, life: TrialLife) -> Snapshot | None:
        """The trial's newest snapshot; that of its parent if an earlier driver died before it took that over."""
        found = self._newest(item.trial, life.first, item.round, life.clone)
        if found is not None and _is_within(found, life):
            found = self._newest(item.trial, life.first, found.round - 1, life.clone)
        if found is None and life.clone is not None and self.inherit(item.trial, life.clone, life.first):
            found = self._newest(item.trial, life.first, life.first, life.clone)
        return found

    def inherit(self, trial: Trial, clone: Clone, first: int) -> bool:
        """Makes the state from which a trial goes on in this round of its own its snapshot; false if that cannot be."""
        found = self._snapshotting is not None and self._snapshotting.inherit(trial, clone, first)
        return found and self._newest(trial, first, first, clone) is not None

    def _nearest(self, ancestors: tuple[Segment, ...]) -> tuple[Snapshot | None, tuple[Segment, ...]]:
        """The last snapshot on the way to a state, and the segments that are repeated since then."""
        for place in reversed(range(len(ancestors))):
            segment = ancestors[place]
            first, last = segment.orders[0], segment.orders[-1]
            snapshot = self._newest(segment.trial, first.round, last.round, first.clone)
            if snapshot is not None and (last.until is None or snapshot.step <= last.until):
                rest = replace(segment, orders=segment.orders[snapshot.round - first.round :])
                return snapshot, (rest, *ancestors[place + 1 :])
        return None, ancestors

    def _newest(self, trial: Trial, first: int, last: int, clone: Clone | None) -> Snapshot | None:
        """The newest snapshot of a trial in these rounds, the first of which began with the state of another one."""
        if self._snapshotting is None:
            return None
        found = self._snapshotting.newest(trial, last, first)
        # A driver that died between a decision and its act has left the state that the trial had before.
        stale = found is not None and clone is not None and found.round == first and found.step <= clone.step
        return None if found is None or (stale and not found.inherited) else found


def _is_within(snapshot: Snapshot, life: TrialLife) -> bool:
    """Whether a snapshot is of a state within a turn that must be repeated as a whole."""
    order = next((order for order in life.orders if order.round == snapshot.round), None)
    if order is None or not order.is_whole:
        return False
    before = next((order.until for order in life.orders if order.round == snapshot.round - 1), None)
    return snapshot.step > (before or (life.clone.step if life.clone is not None else 0))
