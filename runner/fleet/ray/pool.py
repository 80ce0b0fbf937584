"""Ray on this machine, and workers that stay warm from one sweep to the next.

A pool that keeps nothing lives as long as one fleet. One that keeps has its Ray until it is closed, and gives a fleet

- workers that have run the same code in an equal slot, and in which nothing of the sweep before is left,
- else spares, which have run no code,
- else new processes.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import sys
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass

import ray
from ray.exceptions import RayError

from runner.errors import FleetError
from runner.fleet.ray.session import RaySession
from runner.fleet.ray.spares import Spares
from runner.fleet.ray.workers import Warm, Workers, end_worker
from runner.host.mps_daemon import MpsDaemon
from runner.host.processes import is_same
from runner.records import Allocation, Renewed, Slot

# Variables that a worker does not read: the driver sets the first when it connects to a store, pytest the second.
_OF_THE_DRIVER = ("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "PYTEST_CURRENT_TEST")
_RENEW_S = 20.0  # a worker that has not answered by then is still busy with the sweep before


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What workers take over from the process that starts their Ray."""

    environment: tuple[tuple[str, str], ...]
    folder: str
    path: tuple[str, ...]

    @classmethod
    def current(cls) -> Surroundings:
        """Those of this process now."""
        variables = ((name, value) for name, value in os.environ.items() if name not in _OF_THE_DRIVER)
        return cls(tuple(sorted(variables)), os.getcwd(), tuple(sys.path))


@dataclass(frozen=True, kw_only=True, slots=True)
class Idle:
    """A worker that waits for the next sweep.

    Args:
        worker: the process and its share.
        renewed: reference to its answer, whether it can serve one.
    """

    worker: Warm
    renewed: ray.ObjectRef


class Pool:
    """Ray, and the workers that no fleet uses now.

    Args:
        keeps: keep both when a fleet gives its workers back.

    Attributes:
        mps: the MPS daemon of the sweeps, which ends after Ray.
    """

    def __init__(self, keeps: bool = False) -> None:
        self._keeps = keeps
        self._session: RaySession | None = None
        self._surroundings: Surroundings | None = None
        self._idle: list[Idle] = []
        self._warm: list[Warm] = []
        self._spares = Spares()
        self.mps = MpsDaemon()

    @property
    def is_warm(self) -> bool:
        """Whether workers wait for a sweep."""
        return bool(self._idle or self._spares.processes)

    @property
    def processes(self) -> list[int]:
        """Numbers of the processes that wait."""
        return [*(idle.worker.device.pid for idle in self._idle), *self._spares.processes]

    @property
    def shares(self) -> list[Allocation]:
        """The shares of the workers that wait."""
        return [idle.worker.allocation for idle in self._idle]

    def open(self, wanted: RaySession) -> RaySession:
        """Ray as it is wanted: the one that runs if it was started alike, else a new one.

        Raises:
            FleetError: Ray does not start.
        """
        self._spares.pause()
        alike = self._session is not None and self._session.is_like(wanted) and self._session.is_alive
        if not alike or self._surroundings != Surroundings.current():
            self.close_ray()
        if self._session is None:
            wanted.__enter__()
            self._session = wanted
            if self._keeps:
                atexit.register(self.close)  # after Ray's own, so that it runs before
        return self._session

    def choose(self, slots: Sequence[Slot], codes: Collection[str], say: Callable[[str], None]) -> None:
        """Chooses the workers that a sweep may use, and ends all others.

        Args:
            slots: of the sweep.
            codes: identities of its sources.
            say: is given why workers are replaced.
        """
        left = [slot.allocation for slot in slots]
        idle, self._idle = self._idle, []
        ray.wait([one.renewed for one in idle], num_returns=len(idle), timeout=_RENEW_S) if idle else None
        others, reasons = list[Warm](), dict[str, None]()
        for one in idle:
            renewed = _answer(one)
            same = renewed is not None and renewed.codes <= set(codes)
            if same and renewed is not None:
                reasons |= dict.fromkeys(renewed.reasons[:1])
            if same and renewed is not None and not renewed.reasons and one.worker.allocation in left:
                left.remove(one.worker.allocation)
                self._warm.append(one.worker)
            else:
                others.append(one.worker)
        for reason in reasons:
            say(f"a worker starts again, because of what the sweep before has left in its process: {reason}")
        _end_all(others)

    def warm(self, allocation: Allocation) -> Warm | None:
        """A worker with this share that may serve the sweep; None if there is none."""
        for worker in self._warm:
            if worker.allocation == allocation:
                self._warm.remove(worker)
                return worker
        return None

    def spare(self, allocation: Allocation) -> ray.actor.ActorHandle | None:
        """A process that can become a worker with this share; None if there is none."""
        return self._spares.take(allocation)

    def take_back(self, workers: Workers, busy: Collection[int]) -> None:
        """Takes the workers of a fleet that closes; ends them, and Ray, if nothing is kept.

        Args:
            workers: of the fleet.
            busy: slots whose workers may still be at work.
        """
        is_alive = self._keeps and self._session is not None and self._session.is_alive
        with contextlib.ExitStack() as endings:  # ends all others if one fails
            if not is_alive:
                endings.callback(self.close)
            kept = [slot for slot in workers.devices if is_alive and slot not in busy and _may_stay(workers, slot)]
            _end_all(self._warm)
            self._warm = []
            for slot in [slot for slot in workers.actors if slot not in kept]:
                endings.callback(workers.end, slot)
            for slot in kept:
                worker = workers.give_up(slot)
                self._idle.append(Idle(worker=worker, renewed=worker.actor.renew.remote()))
        if is_alive:
            self._surroundings = Surroundings.current()
            self._spares.make([slot.allocation for slot in workers.slots.values()])

    def settle(self) -> None:
        """Notes what surrounds the workers now that a sweep is over: its libraries set variables until its end."""
        if self._session is not None:
            self._surroundings = Surroundings.current()

    def check(self) -> None:
        """As `RaySession.check`."""
        if self._session is not None:
            self._session.check()

    def close(self) -> None:
        """Ends all workers, Ray and the MPS daemon."""
        self.close_ray()
        self.mps.end()

    def close_ray(self) -> None:
        """Ends all workers and Ray."""
        session, self._session = self._session, None
        with contextlib.ExitStack() as endings:
            if session is not None:
                endings.callback(session.__exit__)
            self._spares.end()
            waiting = [*(idle.worker for idle in self._idle), *self._warm]
            self._idle, self._warm = [], []
            _end_all(waiting)
        atexit.unregister(self.close)


def _answer(idle: Idle) -> Renewed | None:
    """What a worker has answered; None if it has not yet, or has ended."""
    device = idle.worker.device
    if not is_same(device.pid, device.started) or not ray.wait([idle.renewed], timeout=0)[0]:
        return None
    try:
        renewed: Renewed = ray.get(idle.renewed)
    except RayError:
        return None
    return renewed


def _may_stay(workers: Workers, slot: int) -> bool:
    """Whether a worker may serve another sweep: what it holds would count against a limit of host memory."""
    return workers.slots[slot].allocation.memory_mib is None and slot in workers.actors


def _end_all(workers: Iterable[Warm]) -> None:
    """Ends workers that no fleet uses.

    Raises:
        FleetError: one of them does not end.
    """
    errors = []
    for worker in workers:
        try:
            end_worker(worker)
        except FleetError as err:
            errors.append(err)
    if errors:
        raise errors[0]
