"""Larger shares for slots that ran out of memory, from free memory and from what idle slots give up."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace

from runner.placement.cpu_slots import WORKER_MIB, room_mib
from runner.placement.machine import Machine
from runner.placement.packing import UNITS, units
from runner.placement.shares import MARGIN_MIB
from runner.records import Allocation, Slot


@dataclass(frozen=True, kw_only=True, slots=True)
class Growth:
    """Larger shares.

    Args:
        allocations: the new share of each slot that grows.
        retired: idle slots whose memory they get; the workers of these must end first.
    """

    allocations: Mapping[int, Allocation] = field(default_factory=dict)
    retired: tuple[int, ...] = ()


def enlarge(slots: Sequence[Slot], short: Collection[int], busy: Collection[int], machine: Machine) -> Growth:
    """Divides what is free on a GPU or on the host equally among its slots that are short of memory.

    Only the memory limit grows, and on a GPU the share that is booked with Ray. Threads never grow, because they change
    results. Trials that wait in a slot that is short of memory give up theirs on the GPU.

    Args:
        slots: all slots of the machine, as they are now.
        short: slots whose memory did not suffice.
        busy: slots that have a trial, including those that are short. The others are never used again.
        machine: its state when the slots were planned.

    Returns:
        Nothing for a slot without a limit or without free memory beside it.
    """
    allocations: dict[int, Allocation] = {}
    retired: list[int] = []
    for place in dict.fromkeys(slot.allocation.gpus for slot in slots if slot.index in short):
        here = [slot for slot in slots if slot.allocation.gpus == place]
        wanting = [slot for slot in here if slot.index in short and slot.allocation.memory_limit_mib is not None]
        kept = [slot.allocation for slot in here if slot.index in busy]
        idle = [slot for slot in here if slot.index not in busy]
        more_mib = _rest_mib(place, kept, machine) // len(wanting) if wanting else 0
        if more_mib > 0:
            more_units = sum(units(slot.allocation.num_gpus) for slot in idle) // len(wanting)
            allocations |= {slot.index: _larger(slot.allocation, more_mib, more_units) for slot in wanting}
            retired += [slot.index for slot in idle]
        allocations |= {
            slot.index: replace(allocations.get(slot.index, slot.allocation), places=1)
            for slot in wanting
            if slot.allocation.places > 1
        }
    return Growth(allocations=allocations, retired=tuple(retired))


def _rest_mib(gpus: tuple[str, ...], kept: Sequence[Allocation], machine: Machine) -> int:
    """What these slots leave of the fullest of their GPUs, or of the host."""
    if not gpus:
        return room_mib(machine) - sum((allocation.memory_mib or 0) + WORKER_MIB for allocation in kept)
    free_mib = min(gpu.free_mib for gpu in machine.gpus if gpu.id in gpus)
    return free_mib - MARGIN_MIB - sum((a.gpu_memory_mib or 0) + a.gpu_overhead_mib for a in kept)


def _larger(allocation: Allocation, more_mib: int, more_units: int) -> Allocation:
    if not allocation.gpus:
        return replace(allocation, memory_mib=(allocation.memory_mib or 0) + more_mib)
    share = (units(allocation.num_gpus) + more_units) / UNITS if more_units else allocation.num_gpus
    percentage = allocation.mps_thread_percentage
    return replace(
        allocation,
        num_gpus=share,
        gpu_memory_mib=(allocation.gpu_memory_mib or 0) + more_mib,
        mps_thread_percentage=None if percentage is None else max(percentage, min(100, int(share * 100 + 1e-9))),
    )
