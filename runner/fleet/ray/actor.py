"""The Ray actor that wraps a slot's worker."""

from __future__ import annotations

import os
import signal
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import ray

from runner.fleet.ray.transfers import Transfers
from runner.records import Allocation, Checked, Export, Failure, Renewed, Replay, Report, Snapshot, Trial, Work

if TYPE_CHECKING:
    from runner.worker.carry_over import CarryOver
    from runner.worker.startup import Device
    from runner.worker.worker import Loaded

STOP = signal.SIGUSR1
"""Signal that interrupts a worker's turn, because a call would wait until the turn has ended."""


class RayWorker:
    """A `Worker` as a Ray actor; data sets arrive as zero-copy arrays from the object store."""

    def __init__(self) -> None:
        self._transfers = Transfers()
        if signal.SIGTERM in signal.pthread_sigmask(
            signal.SIG_BLOCK, ()
        ):  # by `RaySession`, which does not in a running cluster
            _ignore_sigterm()

    def gpus(self) -> tuple[str, ...]:
        """Names of the GPUs that Ray assigned to this process."""
        return tuple(ray.get_runtime_context().get_accelerator_ids().get("GPU", ()))

    def start(self, allocation: Allocation) -> Device:
        """Applies the limits to this process, makes it a worker and returns the device that it has."""
        if (here := os.getcwd()) not in sys.path:  # the driver's folder; last, so that it shadows no module
            sys.path.append(here)
        from runner.worker import startup
        from runner.worker.exits import report_exits

        device = startup.configure(allocation)
        report_exits()
        self._become_worker(allocation)
        signal.signal(STOP, lambda *_: self._worker.stop())
        from runner.worker.memory import own_mib
        from runner.worker.wear import Wear

        self._allocation, self._bare_mib, self._wear = allocation, own_mib(), Wear(allocation.memory_mib)
        return device

    def prepare(self, allocation: Allocation, omp_threads: str) -> tuple[int, int]:
        """Imports all that a worker needs, so that a `start` with an equal allocation takes no time.

        Args:
            allocation: of the slots that it may take.
            omp_threads: OMP_NUM_THREADS, which Ray sets by the CPUs that an actor has booked: this one has none.

        Returns:
            The number of this process, and its start.
        """
        os.environ["OMP_NUM_THREADS"] = omp_threads
        from runner.host.processes import start_of
        from runner.worker import startup

        startup.import_tensorflow(allocation)
        import runner.worker.worker  # noqa: F401

        return os.getpid(), start_of(os.getpid()) or 0

    def renew(self) -> Renewed:
        """Ends everything of the sweep that has used this worker, and makes it one for the next."""
        from runner.worker import memory
        from runner.worker.leftovers import clear_up

        failed, earlier = self._worker.has_failed_imports, self._worker.leave()
        self._become_worker(self._allocation, earlier)
        reasons = clear_up(list(earlier.experiments.values()), self._bare_mib)
        if failed:
            reasons = ("the import of an experiment has failed in it", *reasons)
        memory.reset_peak()
        return Renewed(codes=frozenset(earlier.experiments), reasons=reasons)

    def _become_worker(self, allocation: Allocation, earlier: CarryOver | None = None) -> None:
        from runner.worker.printed import Descriptors, Output
        from runner.worker.worker import Worker

        self._worker = Worker(
            allocation.memory_mib, waiting_mib=allocation.waiting_mib, output=Output(Descriptors()), earlier=earlier
        )

    def load(self, trial: Trial) -> Loaded:
        """As `Worker.load`."""
        return self._worker.load(trial)

    def check(self, trial: Trial, until_s: float, loaded: Loaded) -> Checked | Failure:
        """As `Worker.check`."""
        return self._worker.check(trial, loaded, until_s)

    def probe(self, trial: Trial, until_s: float, loaded: Loaded) -> Checked | Failure:
        """As `Worker.probe`."""
        return self._worker.probe(trial, loaded, until_s)

    def advance(self, work: tuple[Work, ...], *loaded: Loaded) -> dict[str, Report | Failure]:
        """As `Worker.advance`; says whether another process should have the trials to come."""
        self._wear.begun += sum(item.round == 0 for item in work)
        answers = self._worker.advance(work, loaded)
        if not self._wear.is_worn:
            return answers
        return {
            trial_id: replace(answer, is_worn=True) if isinstance(answer, Report) else answer
            for trial_id, answer in answers.items()
        }

    def export(self, trial: Trial, best: bool, folder: Path | None) -> Export | Failure:
        """As `Worker.export`; without a folder of the driver it writes to a temporary one of this machine."""
        return self._worker.export(trial, best, folder or self._transfers.folder)

    def snapshot(self, trials: tuple[Trial, ...], folder: Path | None) -> dict[str, Snapshot | Failure]:
        """As `Worker.snapshot`; without a folder of the driver it writes to a temporary one of this machine."""
        return self._worker.snapshot(trials, folder or self._transfers.folder)

    def restore(self, replay: Replay, *loaded: Loaded) -> Report | Failure | None:
        """As `Worker.restore`."""
        try:
            return self._worker.restore(replay, loaded)
        finally:
            self._transfers.remove(replay.snapshot and replay.snapshot.state)

    def give(self, path: Path, offset: int) -> bytes:
        """As `Transfers.give`."""
        return self._transfers.give(path, offset)

    def take(self, name: str, piece: bytes, offset: int) -> Path:
        """As `Transfers.take`."""
        return self._transfers.take(name, piece, offset)


def _ignore_sigterm() -> None:
    """Ignores SIGTERM in this process but not in its children, because an experiment's process pools end theirs by it.

    A program that this process executes inherits a blocked signal but no handler. A forked process inherits both, so
    its default handler is restored before the signal is unblocked.
    """
    sigterm = {signal.SIGTERM}

    def restore_default() -> None:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, sigterm)

    signal.signal(signal.SIGTERM, lambda *_: None)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, sigterm)
    os.register_at_fork(
        before=lambda: signal.pthread_sigmask(signal.SIG_BLOCK, sigterm),
        after_in_parent=lambda: signal.pthread_sigmask(signal.SIG_UNBLOCK, sigterm),
        after_in_child=restore_default,
    )
