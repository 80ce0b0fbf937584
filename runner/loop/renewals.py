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

    def due(self, live: Mapping[int, tuple[Trial, ...]], queued: int) -> list[int]:
        """The slots whose workers are replaced now: empty ones that other trials will get, so that nothing is restored.

        Trials that take turns go on with the worker that they have.

        Args:
            live: all trials that have a place, by slot.
            queued: how many others will get one.
        """
        return sorted(slot for slot in self._worn if not live.get(slot))[:queued]

    def forget(self, slots: Collection[int]) -> None:
        """Takes note of slots that have a new worker, or none."""
        self._worn.difference_update(slots)
