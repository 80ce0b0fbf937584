"""Starts workers on the planned nodes and GPUs, and ends them reliably."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import ray
from ray.exceptions import RayActorError, RayError, RayTaskError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from runner.errors import FleetError
from runner.fleet.ray.actor import RayWorker
from runner.fleet.ray.nodes import wait_on
from runner.host.endings import wait_until_free, wait_until_gone
from runner.placement import in_waves, match
from runner.records import Allocation, Slot

if TYPE_CHECKING:
    from runner.worker.startup import Device

_START_TIMEOUT_S = 180.0
_POLL_S = 0.25  # signal handlers run between two polls


@dataclass(frozen=True, kw_only=True, slots=True)
class Warm:
    """A worker that has started.

    Args:
        actor: its process in Ray.
        device: what it has.
        allocation: its share.
    """

    actor: ray.actor.ActorHandle
    device: Device
    allocation: Allocation


class Supply(Protocol):
    """Processes that are there already."""

    def warm(self, allocation: Allocation) -> Warm | None:
        """A worker with this share; None if there is none."""

    def spare(self, allocation: Allocation) -> ray.actor.ActorHandle | None:
        """An actor that can become a worker with this share; None if there is none."""


class Workers:
    """One actor for each slot that has been started.

    Args:
        slots: the initial slots.
        supply: is asked before a process is started.
        stopped: called while workers start; true ends the wait.

    Attributes:
        slots: the slots with their current allocations, by index.
        actors: workers that were started and not ended, by slot.
        devices: each worker's device, by slot.
    """

    def __init__(self, slots: Sequence[Slot], supply: Supply, stopped: Callable[[], bool]) -> None:
        self.slots = {slot.index: slot for slot in slots}
        self.actors: dict[int, ray.actor.ActorHandle] = {}
        self.devices: dict[int, Device] = {}
        self._ended: dict[int, int] = {}  # pid of the last worker that ended, by slot
        self._supply, self._stopped = supply, stopped

    def start(self, slots: Iterable[int]) -> None:
        """Starts these slots' workers, those that are not there in waves of workers that Ray can place at a time.

        Raises:
            FleetError: a worker does not start, or Ray places it elsewhere than planned.
        """
        pending: dict[int, ray.ObjectRef] = {}
        for wave in in_waves([self.slots[slot] for slot in slots if not self._take(slot)]):
            pending |= self._create(wave)
        found = {slot: self._ready(slot, future) for slot, future in sorted(pending.items())}
        self.devices |= {slot: device for slot, device in found.items() if device is not None}

    def replace(self, shares: Mapping[int, Allocation | None]) -> None:
        """Ends these slots' workers and starts new ones, with a new allocation if one is given.

        Starts them together because Ray may swap the places of workers with equal requests.

        Raises:
            ShareTakenError: other processes use the GPU memory of an allocation.
            FleetError: a worker does not start or end.
        """
        for slot, allocation in shares.items():
            pid = self.end(slot)
            share = allocation or self.slots[slot].allocation
            if share.gpus and pid is not None:
                share_mib = (share.gpu_memory_mib or 0) + share.gpu_overhead_mib
                wait_on(share.node, wait_until_free, share.gpus, share_mib, pid)
        changed = {slot: allocation for slot, allocation in shares.items() if allocation is not None}
        self.slots |= {slot: Slot(index=slot, allocation=allocation) for slot, allocation in changed.items()}
        self.start(shares)

    def end(self, slot: int) -> int | None:
        """Kills the worker and waits until its process has ended and its GPU memory is free.

        Returns:
            The pid of the slot's last worker, which ended now or earlier; None if there was none.
        """
        if slot in self.devices and slot in self.actors:
            self._ended[slot] = self.devices[slot].pid
            end_worker(self.give_up(slot))
        elif (actor := self.actors.pop(slot, None)) is not None:
            _kill(actor)
        return self._ended.get(slot)

    def give_up(self, slot: int) -> Warm:
        """Hands a slot's worker over, and knows it no more."""
        allocation = self.slots[slot].allocation
        return Warm(actor=self.actors.pop(slot), device=self.devices.pop(slot), allocation=allocation)

    def last_process(self, slot: int) -> int | None:
        """The pid of the slot's worker, or of the last one that ended; None if there was none."""
        device = self.devices.get(slot)
        return self._ended.get(slot) if device is None else device.pid

    def _take(self, slot: int) -> bool:
        """Gives the slot a worker that is there; false if there is none."""
        worker = self._supply.warm(self.slots[slot].allocation)
        if worker is None:
            return False
        self.actors[slot], self.devices[slot] = worker.actor, worker.device
        return True

    def _create(self, wave: Sequence[Slot]) -> dict[int, ray.ObjectRef]:
        """Starts workers for slots with equal requests; assigns them to slots once Ray has placed them on GPUs.

        Returns:
            References to the workers' devices, by slot.
        """
        workers = [self._supply.spare(slot.allocation) or _actor(slot.allocation) for slot in wave]
        places = {slot.index: index for index, slot in enumerate(wave)}
        self.actors |= {slot: workers[place] for slot, place in places.items()}  # so that `end` kills them on an error
        if any(slot.allocation.gpus for slot in wave):
            pending = [(slot.index, worker.gpus.remote()) for slot, worker in zip(wave, workers, strict=True)]
            found = [self._ready(slot, future) for slot, future in pending]
            places = places if None in found else _places(wave, found)
        self.actors |= {slot: workers[place] for slot, place in places.items()}
        return {slot.index: self.actors[slot.index].start.remote(slot.allocation) for slot in wave}

    def _ready(self, slot: int, future: ray.ObjectRef) -> Any:
        """Waits for the answer of a worker that starts; None if a stop ends the wait.

        Raises:
            FleetError: the worker does not start, or its allocation cannot be applied.
        """
        began_s = time.monotonic()
        while not ray.wait([future], timeout=_POLL_S)[0]:
            if self._stopped():
                return None
            if time.monotonic() - began_s > _START_TIMEOUT_S:
                allocation = self.slots[slot].allocation
                raise FleetError(
                    f"slot {slot}: no worker after {_START_TIMEOUT_S:.0f} s for {allocation.num_cpus:g} CPUs and "
                    f"{allocation.num_gpus:g} GPUs; Ray has {ray.available_resources()} free"
                )
        try:
            return ray.get(future)
        except RayTaskError as err:
            raise FleetError(f"slot {slot}: {err.cause if isinstance(err.cause, FleetError) else err}") from err
        except RayError as err:
            raise FleetError(f"slot {slot}: the worker did not start: {err}") from err


def end_worker(worker: Warm) -> None:
    """Kills a worker and waits until its process has ended and its GPU memory is free."""
    _kill(worker.actor)
    device, allocation = worker.device, worker.allocation
    wait_on(allocation.node, wait_until_gone, device.pid, device.started)
    if allocation.gpus:
        wait_on(allocation.node, wait_until_free, allocation.gpus, 0, device.pid)


def _kill(actor: ray.actor.ActorHandle) -> None:
    with contextlib.suppress(RayActorError):
        ray.kill(actor, no_restart=True)


def _actor(allocation: Allocation) -> ray.actor.ActorHandle:
    options = {"num_cpus": allocation.num_cpus, "num_gpus": allocation.num_gpus, "max_restarts": 0}
    if allocation.node:
        options["scheduling_strategy"] = NodeAffinitySchedulingStrategy(allocation.node, soft=False)
    return ray.remote(RayWorker).options(**options).remote()


def _places(wave: Sequence[Slot], found: Sequence[tuple[str, ...]]) -> dict[int, int]:
    """Index of each slot's worker in the wave, matched by the GPUs that Ray assigned.

    Raises:
        FleetError: the GPUs are not those planned, so that one could be over-committed.
    """
    chosen = match(wave, found)
    if chosen is None:
        planned = "; ".join(",".join(slot.allocation.gpus) for slot in wave)
        raise FleetError(
            f"{len(wave)} workers of {wave[0].allocation.num_gpus:g} GPU were planned for GPUs {planned}; Ray has put "
            f"them on {'; '.join(map(','.join, found))}, where their memory limits may not fit; a cluster's Ray "
            "fills all GPUs of a node in their order: end what else uses them, or start the sweep without fleet.address"
        )
    return {slot.index: place for slot, place in zip(wave, chosen, strict=True)}
