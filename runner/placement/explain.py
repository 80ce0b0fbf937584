"""Writes out the sums of a plan, and checks that nothing is given away twice."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from runner.placement.cpu_slots import WORKER_MIB, room_mib
from runner.placement.machine import MPS_CLIENTS, Gpu, Machine
from runner.placement.packing import UNITS, units
from runner.placement.shares import MARGIN_MIB
from runner.records import Slot


def explain(slots: Sequence[Slot], machine: Machine) -> tuple[str, ...]:
    """A sum for each GPU in use, one for the CPUs, and whether models compute at the same time."""
    lines = []
    for gpu, on_it in _by_gpu(slots, machine):
        terms = [
            f"({slot.allocation.gpu_memory_mib} limit + {slot.allocation.gpu_overhead_mib} overhead)" for slot in on_it
        ]
        first = terms[0] if len(set(terms)) == 1 else ""
        models = f"{len(terms)} × {first}" if first else " + ".join(terms)
        total = _taken_mib(gpu, on_it)
        lines.append(f"GPU {gpu.id} ({gpu.name}): {models} + {MARGIN_MIB} margin = {total} of {gpu.free_mib} MiB free")
        share, places = on_it[0].allocation, on_it[0].allocation.places
        if places > 1:
            lines.append(
                f"GPU {gpu.id}: no MPS, so that it has one worker, in which {places} trials take turns; each has "
                f"{(share.gpu_memory_mib or 0) // places} MiB of the limit, and its state stays on the GPU"
            )
    each, cpus = slots[0].allocation.num_cpus, sum(slot.allocation.num_cpus for slot in slots)
    lines.append(f"CPUs: {len(slots)} × {each:g} = {cpus:g} of {machine.cpus}")
    shared = {slot.allocation.mps: slot.allocation for slot in slots if slot.allocation.mps_thread_percentage}
    for kind, allocation in shared.items():
        whose = "a daemon of the sweep's own" if kind == "own" else "the daemon that serves already"
        lines.append(f"MPS: {whose}, {allocation.mps_thread_percentage} % of a GPU's multiprocessors for each model")
    return tuple(lines)


def without_mps(slots: Sequence[Slot], machine: Machine) -> tuple[str, ...]:
    """Warns about each GPU on which several models would train faster through MPS."""
    lines = []
    for gpu, on_it in _by_gpu(slots, machine):
        if any(slot.allocation.mps in ("own", "foreign") for slot in on_it):
            continue
        if len(on_it) > 1:
            lines.append(
                f"GPU {gpu.id}: the card switches between its {len(on_it)} workers, since {_why_not(machine)}. Small "
                "models then train slower than one after another; leave resources.num_gpus, gpu_memory_mib and "
                "max_concurrent to auto, and it has one worker (docs/gpu.md)"
            )
        elif (places := on_it[0].allocation.places) > 1:
            lines.append(
                f"GPU {gpu.id}: its {places} trials take turns in one worker, since {_why_not(machine)}. Through MPS "
                "small models train several times faster (docs/gpu.md)"
            )
    return tuple(lines)


def _why_not(machine: Machine) -> str:
    """Why models do not compute through MPS."""
    if machine.mps:
        return f"MPS serves at most {MPS_CLIENTS} processes on a GPU"
    return "resources.mps is off" if machine.mps.kind == "off" else f"MPS is unavailable: {machine.mps.reason}"


def over_committed(slots: Sequence[Slot], machine: Machine) -> tuple[str, ...]:
    """Resources that are given away twice; none for slots that were planned for this machine."""
    problems = []
    for gpu, on_it in _by_gpu(slots, machine):
        if (taken := _taken_mib(gpu, on_it)) > gpu.free_mib:
            problems.append(f"GPU {gpu.id}: {taken} > {gpu.free_mib} MiB free")
        if (parts := sum(min(units(slot.allocation.num_gpus), UNITS) for slot in on_it)) > UNITS:
            problems.append(f"GPU {gpu.id}: {parts / UNITS:g} > 1 GPU")
    limited = [slot.allocation.memory_mib + WORKER_MIB for slot in slots if slot.allocation.memory_mib is not None]
    if sum(limited) > room_mib(machine):
        problems.append(f"{sum(limited)} > {room_mib(machine)} MiB of free host memory")
    cpus = sum(units(slot.allocation.num_cpus) for slot in slots)
    if cpus > machine.cpus * UNITS:
        problems.append(f"{cpus / UNITS:g} > {machine.cpus} CPUs")
    known = {gpu.id for gpu in machine.gpus}
    unknown = {name for slot in slots for name in slot.allocation.gpus} - known
    return (*problems, *(f"GPU {name} is none of this machine's" for name in sorted(unknown)))


def _by_gpu(slots: Sequence[Slot], machine: Machine) -> Iterator[tuple[Gpu, list[Slot]]]:
    for gpu in machine.gpus:
        if on_it := [slot for slot in slots if gpu.id in slot.allocation.gpus]:
            yield gpu, on_it


def _taken_mib(gpu: Gpu, on_it: Sequence[Slot]) -> int:
    each = [(slot.allocation.gpu_memory_mib or 0) + slot.allocation.gpu_overhead_mib for slot in on_it]
    return sum(each) + MARGIN_MIB
