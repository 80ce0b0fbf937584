"""Spare processes: they have TensorFlow imported, have run no experiment's code, and wait for a slot.

A worker that has run one sweep's code never runs another's, so a sweep of other code needs new processes, and their
imports take seconds. Spares import while no sweep runs, one at a time.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Sequence
from dataclasses import dataclass

import ray
from ray.exceptions import RayError

from runner.fleet.ray.actor import RayWorker
from runner.host.inventory import free_memory_mib
from runner.host.processes import is_same
from runner.placement import WORKER_MIB
from runner.records import Allocation

_AFTER_S = 2.0  # a program that starts its next sweep at once needs its cores for that
_POLL_S = 0.1
_IMPORT_S = 120.0
_SHARE = 4  # spares take a quarter of the free memory at most


@dataclass(frozen=True, kw_only=True, slots=True)
class Spare:
    """A process that waits.

    Args:
        allocation: of the slots that it may take.
        process: its number, and when it started.
    """

    actor: ray.actor.ActorHandle
    allocation: Allocation
    process: tuple[int, int]


class Spares:
    """The spares of one Ray.

    Slots on GPUs have none, because Ray assigns a GPU when it starts an actor, and a spare has booked nothing.
    """

    def __init__(self) -> None:
        self._spares: list[Spare] = []
        self._pausing = threading.Event()
        self._thread: threading.Thread | None = None

    @property
    def processes(self) -> list[int]:
        """Numbers of the processes."""
        return [spare.process[0] for spare in self._spares]

    def make(self, allocations: Sequence[Allocation]) -> None:
        """Starts to make a spare for each of these shares in the background, as far as memory allows."""
        self._keep_only(allocations)
        wanted = list(allocations)
        for spare in self._spares:
            wanted.remove(spare.allocation)
        self._pausing.clear()
        self._thread = threading.Thread(target=self._make, args=(wanted,), name="spares", daemon=True)
        self._thread.start()

    def pause(self) -> None:
        """Makes no more spares; one whose import has not ended is given up."""
        self._pausing.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    def take(self, allocation: Allocation) -> ray.actor.ActorHandle | None:
        """A spare for a slot with this share; None if there is none."""
        for spare in self._spares:
            if spare.allocation == allocation:
                self._spares.remove(spare)
                if is_same(*spare.process):
                    return spare.actor
                return self.take(allocation)
        return None

    def end(self) -> None:
        """Ends all spares."""
        self.pause()
        self._keep_only(())

    def _keep_only(self, allocations: Sequence[Allocation]) -> None:
        left, kept = list(allocations), []
        for spare in self._spares:
            if spare.allocation in left and is_same(*spare.process):
                left.remove(spare.allocation)
                kept.append(spare)
            else:
                _kill(spare.actor)
        self._spares = kept

    def _make(self, allocations: Sequence[Allocation]) -> None:
        if self._pausing.wait(_AFTER_S):
            return
        for allocation in allocations:
            if allocation.gpus or free_memory_mib() < _SHARE * WORKER_MIB:
                continue
            with contextlib.suppress(RayError):  # without spares the next sweep starts its workers itself
                if not self._make_one(allocation):
                    return

    def _make_one(self, allocation: Allocation) -> bool:
        """Makes a spare; false if it was given up."""
        actor = ray.remote(RayWorker).options(num_cpus=0, max_restarts=0).remote()
        omp_threads = os.environ.get("OMP_NUM_THREADS", str(allocation.threads))  # what Ray sets for a booked actor
        ready = actor.prepare.remote(allocation, omp_threads)
        for _ in range(int(_IMPORT_S / _POLL_S)):
            if ray.wait([ready], timeout=_POLL_S)[0]:
                self._spares.append(Spare(actor=actor, allocation=allocation, process=ray.get(ready)))
                return True
            if self._pausing.is_set():
                break
        _kill(actor)
        return False


def _kill(actor: ray.actor.ActorHandle) -> None:
    with contextlib.suppress(RayError):
        ray.kill(actor, no_restart=True)
