"""Fleet that trains all models in this process, one turn after another: for debuggers and for machines without Ray."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Self

from runner.fleet.deadlines import answer_by_s
from runner.records import Allocation, Checked, Export, Failure, Replay, Report, Slot, Snapshot, Trial, Work

if TYPE_CHECKING:
    from runner.worker.worker import Loaded, Worker


class LocalFleet:
    """One worker for all trials, in the driver's process.

    Args:
        slots: their number limits the trials at once. The worker uses the threads and GPUs of the first slot, and the
            memory of all slots on those GPUs.
        check_s: limit in seconds of a check's validation whose length is unknown. Nothing else has a deadline because
            the worker is the driver.
    """

    def __init__(self, slots: Sequence[Slot], check_s: float = math.inf) -> None:
        self._slots, self._check_s = slots, check_s
        self._worker: Worker | None = None
        self._loaded: dict[str, Loaded] = {}

    def __enter__(self) -> Self:
        from runner.worker import startup

        allocation = _combined(self._slots)
        startup.configure(allocation)
        from runner.worker.worker import Worker

        self._worker = Worker(waiting_mib=allocation.waiting_mib)
        return self

    def __exit__(self, *exc: object) -> None:
        self._worker = None
        self._loaded.clear()

    def check(self, trials: Sequence[Trial]) -> Mapping[str, Checked | Failure]:
        """As `Fleet.check`."""
        return {trial.id: self._open.check(trial, self._load(trial), answer_by_s(self._check_s)) for trial in trials}

    @property
    def is_loading(self) -> bool:
        """As `Fleet.is_loading`; never, because every call ends before another begins."""
        return False

    def probe(self, trials: Sequence[Trial]) -> Mapping[str, Checked | Failure]:
        """As `Fleet.probe`."""
        return {trial.id: self._open.probe(trial, self._load(trial), answer_by_s(self._check_s)) for trial in trials}

    def retire(self, slot: int) -> None:
        """Does nothing because this process is the worker of all slots."""

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
        return {
            replay.trial.id: self._open.restore(replay, [self._load(segment.trial) for segment in replay.segments])
            for replay in replays
        }

    def replace(self, shares: Mapping[int, Allocation | None]) -> None:
        """Does nothing because the worker is this process: it cannot have died, and its limits cannot change."""

    def stop(self) -> None:
        """As `Fleet.stop`."""
        if self._worker is not None:
            self._worker.stop()

    @property
    def _open(self) -> Worker:
        if self._worker is None:
            raise RuntimeError("the fleet is not open: use it as a context manager")
        return self._worker

    def _load(self, trial: Trial) -> Loaded:
        if trial.data_key not in self._loaded:
            self._loaded[trial.data_key] = self._open.load(trial)
        return self._loaded[trial.data_key]


def _combined(slots: Sequence[Slot]) -> Allocation:
    """The allocation of one process for all slots, which has the overhead of a process only once.

    Its host memory is not limited because it is also the driver's process.
    """
    first = replace(slots[0].allocation, memory_mib=None)
    if first.gpu_memory_mib is None:
        return first
    there = [slot.allocation for slot in slots if slot.allocation.gpus == first.gpus]
    limit = sum(share.gpu_memory_mib or 0 for share in there)
    return replace(first, gpu_memory_mib=limit, places=sum(share.places for share in there))
