"""All models in this process, their turns one after another: for a debugger, and for machines without Ray."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from runner.fleet.deadlines import answer_by_s
from runner.records import Allocation, Checked, Export, Failure, Replay, Report, Slot, Snapshot, Trial, Work

if TYPE_CHECKING:
    from runner.worker.worker import Worker


class LocalFleet:
    """One worker with all trials.

    Args:
        slots: as many trials live at once as there are slots. The first one's threads and GPUs are taken, and the
            memory of all that are on the same GPUs.
        check_s: a validation that does not tell its length must end in a check within this. Nothing else has a
            deadline: the worker is the driver.
    """

    def __init__(self, slots: Sequence[Slot], check_s: float = math.inf) -> None:
        self._slots, self._check_s = slots, check_s
        self._worker: Worker | None = None
        self._loaded: dict[str, Any] = {}

    def __enter__(self) -> Self:
        from runner.worker import startup

        startup.configure(_together(self._slots))
        from runner.worker.worker import Worker

        self._worker = Worker()
        return self

    def __exit__(self, *exc: object) -> None:
        self._worker = None
        self._loaded.clear()

    def check(self, trials: Sequence[Trial]) -> Mapping[str, Checked | Failure]:
        """As `Fleet.check`."""
        return {trial.id: self._open.check(trial, self._load(trial), answer_by_s(self._check_s)) for trial in trials}

    def probe(self, trials: Sequence[Trial]) -> Mapping[str, Checked | Failure]:
        """As `Fleet.probe`."""
        return {trial.id: self._open.probe(trial, self._load(trial), answer_by_s(self._check_s)) for trial in trials}

    def retire(self, slot: int) -> None:
        """This process is the worker of all slots: it stays."""

    def advance(self, work: Mapping[int, tuple[Work, ...]]) -> Mapping[str, Report | Failure]:
        """As `Fleet.advance`."""
        items = [item for items in work.values() for item in items]
        return self._open.advance(items, [self._load(item.trial) for item in items])

    def export(
        self, work: Mapping[int, tuple[tuple[Trial, bool], ...]], folder: Path | None = None
    ) -> Mapping[str, Export | Failure]:
        """As `Fleet.export`."""
        return {trial.id: self._open.export(trial, best, folder) for trials in work.values() for trial, best in trials}

    def snapshot(
        self, work: Mapping[int, tuple[Trial, ...]], folder: Path | None = None
    ) -> Mapping[str, Snapshot | Failure]:
        """As `Fleet.snapshot`."""
        return self._open.snapshot([trial for trials in work.values() for trial in trials], folder)

    def restore(self, work: Mapping[int, tuple[Replay, ...]]) -> Mapping[str, Report | Failure | None]:
        """As `Fleet.restore`."""
        replays = [replay for replays in work.values() for replay in replays]
        return {replay.trial.id: self._open.restore(replay, self._load(replay.trial)) for replay in replays}

    def replace(self, shares: Mapping[int, Allocation | None]) -> None:
        """This process is the worker: it cannot have died, and its share is what it is."""

    def stop(self) -> None:
        """As `Fleet.stop`."""
        if self._worker is not None:
            self._worker.stop()

    @property
    def _open(self) -> Worker:
        if self._worker is None:
            raise RuntimeError("the fleet is not open: use it as a context manager")
        return self._worker

    def _load(self, trial: Trial) -> Any:
        if trial.data_key not in self._loaded:
            self._loaded[trial.data_key] = self._open.load(trial)
        return self._loaded[trial.data_key]


def _together(slots: Sequence[Slot]) -> Allocation:
    """What one process may take that does the work of all: the overhead of a process is needed but once.

    It is the driver too, whose memory is not limited.
    """
    first = replace(slots[0].allocation, memory_mib=None)
    if first.gpu_memory_mib is None:
        return first
    limits = [slot.allocation.gpu_memory_mib or 0 for slot in slots if slot.allocation.gpus == first.gpus]
    return replace(first, gpu_memory_mib=sum(limits))
