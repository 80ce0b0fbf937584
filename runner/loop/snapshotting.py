"""Decides when snapshots of live trials are taken and how long they are kept."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from runner.loop.interfaces import Fleet, Snapshots
from runner.records import Clone, Snapshot, Trial


class Snapshotting:
    """Takes snapshots of all live trials at intervals, and when the sweep stops.

    Args:
        fleet: has the trials.
        snapshots: stores them.
        keep_ended: keeps snapshots of trials that have ended.
        folder: where workers of this machine write them; None for snapshots by value.
        every_s: interval in seconds; None for snapshots only at a stop.
        stopping: true once the sweep shall stop.
        warn: shows a warning to the user.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        fleet: Fleet,
        snapshots: Snapshots,
        *,
        keep_ended: bool = False,
        folder: Path | None = None,
        every_s: float | None = None,
        stopping: Callable[[], bool] = lambda: False,
        warn: Callable[[str], None] = lambda _: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._fleet, self._snapshots, self._keep_ended = fleet, snapshots, keep_ended
        self._folder, self._every_s, self._stopping = folder, every_s, stopping
        self._warn, self._clock = warn, clock
        self._saved_s = clock()

    def newest(self, trial: Trial, at_most: int, at_least: int = 0) -> Snapshot | None:
        """As `Snapshots.newest`."""
        return self._snapshots.newest(trial, at_most, at_least)

    def inherit(self, trial: Trial, clone: Clone, turns: int) -> bool:
        """As `Snapshots.inherit`."""
        return self._snapshots.inherit(trial, clone, turns)

    def drop(self, trial_ids: Iterable[str]) -> None:
        """Removes the snapshots of trials that have ended, unless they are kept."""
        if not self._keep_ended:
            for trial_id in trial_ids:
                self._snapshots.drop(trial_id)

    def keep(self, live: Mapping[int, tuple[Trial, ...]]) -> None:
        """Takes snapshots of these trials, by slot, if they are due."""
        due = self._every_s is not None and self._clock() - self._saved_s >= self._every_s
        if not live or not (due or self._stopping()):
            return
        # At a stop all of them share one short deadline. Otherwise at most one state per slot is in memory here.
        for trials in [live] if self._stopping() else _one_of_each(live):
            self._take(trials)
        self._saved_s = self._clock()

    def take(self, chosen: Mapping[int, tuple[Trial, ...]]) -> None:
        """Takes snapshots of these trials now, by slot."""
        for trials in _one_of_each(chosen):
            self._take(trials)

    def _take(self, live: Mapping[int, tuple[Trial, ...]]) -> None:
        answers = self._fleet.snapshot(live, self._folder)
        for trial in (trial for trials in live.values() for trial in trials):
            found = answers.get(trial.id)
            if isinstance(found, Snapshot):
                self._snapshots.write(trial, found)
            elif found is None:
                self._warn(f"trial {trial.id}: no snapshot of where it stands; `resume` repeats it from the one before")
            elif found.kind == "oom" or not found.lost_worker:  # a dead worker is noticed in the next round
                self._warn(f"trial {trial.id}: no snapshot could be taken ({found.message}); it goes on without")


def _one_of_each(live: Mapping[int, tuple[Trial, ...]]) -> list[dict[int, tuple[Trial, ...]]]:
    """The same trials in groups of one per slot."""
    most = max(map(len, live.values()), default=0)
    return [{slot: (trials[place],) for slot, trials in live.items() if place < len(trials)} for place in range(most)]
