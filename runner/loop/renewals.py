"""Chooses when a worker that has collected too much of earlier models gives way to a new process."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from runner.records import Failure, Report, Trial, Work


class Renewals:
    """The slots with such workers."""

    def __init__(self) -> None:
        self._worn: set[int] = set()

    def note(self, work: Mapping[int, tuple[Work, ...]], reports: Mapping[str, Report | Failure]) -> None:
        """Takes what the workers have said of themselves in their trials' reports."""
        for slot, items in work.items():
            found = [reports.get(item.trial.id) for item in items]
            if any(isinstance(report, Report) and report.is_worn for report in found):
                self._worn.add(slot)

    def due(self, live: Mapping[int, tuple[Trial, ...]], are_queued: bool) -> list[int]:
        """The slots whose workers are replaced now.

        A trial that has a worker for itself ends first, after which nothing has to be restored. If several take turns
        there may be no such moment, and they go on from snapshots; those with callbacks have none, and end first.

        Args:
            live: all trials that have a place, by slot.
            are_queued: whether other trials will get one.
        """
        return sorted(slot for slot in self._worn if _may_be_replaced(live.get(slot, ()), are_queued))

    def forget(self, slots: Collection[int]) -> None:
        """Takes note of slots that have a new worker, or none."""
        self._worn.difference_update(slots)


def _may_be_replaced(trials: tuple[Trial, ...], are_queued: bool) -> bool:
    if not trials:
        return are_queued
    return len(trials) > 1 and not any(trial.has_callbacks for trial in trials)
