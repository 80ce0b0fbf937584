"""The slots' workers, from their start in the places that were planned to their certain end."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import ray
from ray.exceptions import RayActorError, RayError, RayTaskError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from runner.errors import FleetError
from runner.fleet.ray.actor import RayWorker
from runner.fleet.ray.nodes import wait_on
from runner.host.endings import wait_until_free, wait_until_gone
from runner.placement import in_waves, match
from runner.records import Allocation, Slot

_START_TIMEOUT_S = 180.0
_POLL_S = 0.25  # a signal's handler runs between two polls


class Workers:
    """One actor for each slot, once it is started.

    Args:
        slots: all that there are at first.
        stopped: asked while a worker starts; true ends the waiting.

    Attributes:
        slots: by index, with the shares that they have now.
        actors: of the slots whose worker has been started and not ended.
        devices: what each worker has found when it started.
    """

    def __init__(self, slots: Sequence[Slot], stopped: Callable[[], bool]) -> None:
        self.slots = {slot.index: slot for slot in slots}
        self.actors: dict[int, Any] = {}
        self.devices: dict[int, Any] = {}
        self._ended: dict[int, int] = {}  # the last process of each slot that has ended
        self._stopped = stopped

    def start(self, slots: Iterable[int]) -> None:
        """Starts these slots' workers, all that Ray can place at once together.

        Raises:
            FleetError: one does not start, or not where it was planned.
        """
        pending: dict[int, Any] = {}
        for wave in in_waves([self.slots[slot] for slot in slots]):
            pending |= self._create(wave)
        found = {slot: self._ready(slot, future) for slot, future in sorted(pending.items())}
        self.devices |= {slot: device for slot, device in found.items() if device is not None}

    def replace(self, shares: Mapping[int, Allocation | None]) -> None:
        """Ends these slots' workers and starts new ones, with another share where one is given.

        Together, as Ray may put workers that are alike in each other's places.
        """
        for slot, allocation in shares.items():
            pid = self.end(slot)
            share = allocation or self.slots[slot].allocation
            if share.gpus and pid is not None:
                share_mib = (share.gpu_memory_mib or 0) + share.gpu_overhead_mib
                wait_on(share.node, wait_until_free, share.gpus, share_mib, pid)
        given = {slot: allocation for slot, allocation in shares.items() if allocation is not None}
        self.slots |= {slot: Slot(index=slot, allocation=allocation) for slot, allocation in given.items()}
        self.start(shares)

    def end(self, slot: int) -> int | None:
        """Kills the worker and waits until its process is gone, and with it what it held on the device.

        Returns:
            The process that was ended here or earlier in this slot; None where there was none.
        """
        actor, device = self.actors.pop(slot, None), self.devices.pop(slot, None)
        if actor is None:
            return self._ended.get(slot)
        with contextlib.suppress(RayActorError):
            ray.kill(actor, no_restart=True)
        if device is not None:
            self._ended[slot] = device.pid
            allocation = self.slots[slot].allocation
            wait_on(allocation.node, wait_until_gone, device.pid, device.started)
            if allocation.gpus:
                wait_on(allocation.node, wait_until_free, allocation.gpus, 0, device.pid)
        return self._ended.get(slot)

    def last_process(self, slot: int) -> int | None:
        """The slot's process, or the last one that has ended; None where there was none."""
        device = self.devices.get(slot)
        return self._ended.get(slot) if device is None else device.pid

    def _create(self, wave: Sequence[Slot]) -> dict[int, Any]:
        """Starts workers for slots that are alike to Ray; which is whose is decided once Ray has put them on GPUs.

        Returns:
            The future device of each slot.
        """
        workers = [_actor(slot.allocation) for slot in wave]
        places = {slot.index: index for index, slot in enumerate(wave)}
        self.actors |= {slot: workers[place] for slot, place in places.items()}  # to be ended, whatever happens
        if any(slot.allocation.gpus for slot in wave):
            pending = [(slot.index, worker.gpus.remote()) for slot, worker in zip(wave, workers, strict=True)]
            found = [self._ready(slot, future) for slot, future in pending]
            places = places if None in found else _places(wave, found)
        self.actors |= {slot: workers[place] for slot, place in places.items()}
        return {slot.index: self.actors[slot.index].start.remote(slot.allocation) for slot in wave}

    def _ready(self, slot: int, future: Any) -> Any:
        """The answer of a worker that starts; None where a stop ends the waiting."""
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


def _actor(allocation: Allocation) -> Any:
    options = {"num_cpus": allocation.num_cpus, "num_gpus": allocation.num_gpus, "max_restarts": 0}
    if allocation.node:
        options["scheduling_strategy"] = NodeAffinitySchedulingStrategy(allocation.node, soft=False)
    return ray.remote(RayWorker).options(**options).remote()


def _places(wave: Sequence[Slot], found: Sequence[tuple[str, ...]]) -> dict[int, int]:
    """Which of the workers is each slot's, by the GPUs that they got.

    Raises:
        FleetError: Ray has placed them otherwise than planned, so that a GPU could be over-committed.
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
