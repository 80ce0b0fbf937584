"""Slots from resources: how many models fit side by side, and the share each gets. Pure arithmetic, with reasons."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from runner.errors import PlacementError
from runner.records import Allocation, Slot

Auto = Literal["auto"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Gpu:
    """One GPU as the driver found it; memory in MiB."""

    index: int
    name: str
    memory_mib: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Machine:
    """What there is to share; memory in MiB."""

    cpus: int
    memory_mib: int
    gpus: tuple[Gpu, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Request:
    """What the config asks for each slot (`resources`)."""

    num_gpus: float | Auto = "auto"
    num_cpus: float | Auto = "auto"
    gpu_memory_mib: int | Auto = "auto"
    max_concurrent: int | Auto = "auto"


def plan_slots(request: Request, machine: Machine, trials: int) -> tuple[Slot, ...]:
    """Equal slots, at most one for each trial.

    An allocation depends on the request and the machine alone, never on the number of trials: a trial gets the same
    threads, and so the same numbers, alone and in a sweep.

    Raises:
        PlacementError: the request cannot fit, with the sum and the nearest request that does.
    """
    gpu_share = _gpu_share(request, machine)
    room = _room(request, machine, gpu_share)
    wanted = room if request.max_concurrent == "auto" else request.max_concurrent
    num_cpus = _cpu_share(request, machine, wanted)
    _check_sum("CPUs", "num_cpus", wanted, num_cpus, machine.cpus)
    if gpu_share and wanted > (gpu_room := _fit_on_gpus(gpu_share, len(machine.gpus))):
        raise PlacementError(
            f"{wanted} × {gpu_share:g} GPUs do not fit on {len(machine.gpus)} GPU(s); lower resources.num_gpus or set "
            f"resources.max_concurrent={gpu_room}"
        )
    allocation = Allocation(
        num_cpus=num_cpus,
        num_gpus=gpu_share,
        gpu_memory_mib=_gpu_memory(request, machine, gpu_share),
        threads=max(1, math.floor(num_cpus)),
    )
    return tuple(Slot(index=index, allocation=allocation) for index in range(min(wanted, max(trials, 1))))


def _gpu_share(request: Request, machine: Machine) -> float:
    if request.num_gpus == "auto":
        return 1.0 if machine.gpus else 0.0
    if request.num_gpus and not machine.gpus:
        raise PlacementError(
            f"resources.num_gpus: {request.num_gpus:g} asked, no GPU found on this machine; set resources.num_gpus=0, "
            "or see that the NVIDIA driver runs (nvidia-smi)"
        )
    if request.num_gpus > len(machine.gpus):
        raise PlacementError(f"resources.num_gpus: {request.num_gpus:g} asked, {len(machine.gpus)} found")
    return request.num_gpus


def _room(request: Request, machine: Machine, gpu_share: float) -> int:
    if gpu_share:
        return _fit_on_gpus(gpu_share, len(machine.gpus))
    if request.num_cpus == "auto":
        return machine.cpus
    return max(1, math.floor(machine.cpus / request.num_cpus))


def _fit_on_gpus(share: float, gpus: int) -> int:
    """Models that fit: several to a GPU below 1, several GPUs to a model from 1."""
    return math.floor(1 / share + 1e-9) * gpus if share < 1 else math.floor(gpus / share)


def _cpu_share(request: Request, machine: Machine, slots: int) -> float:
    """One CPU each, or an equal fraction (rounded down to hundredths, Ray counts in 1/10000) where that is too many."""
    if request.num_cpus != "auto":
        return request.num_cpus
    return 1.0 if slots <= machine.cpus else max(0.01, math.floor(100 * machine.cpus / slots) / 100)


def _check_sum(what: str, key: str, slots: int, share: float, have: float) -> None:
    if slots * share <= have + 1e-9:
        return
    fits = math.floor(have / share + 1e-9)
    instead = f" or set resources.max_concurrent={fits}" if fits else ""
    raise PlacementError(
        f"{slots} × {share:g} {what} = {slots * share:g} > {have:g} {what} of this machine; lower "
        f"resources.{key} to {math.floor(100 * have / slots) / 100:g}{instead}"
    )


def _gpu_memory(request: Request, machine: Machine, gpu_share: float) -> int | None:
    if not gpu_share:
        return None
    smallest = min(gpu.memory_mib for gpu in machine.gpus)
    share = math.floor(min(gpu_share, 1.0) * smallest)
    if request.gpu_memory_mib == "auto":
        return share
    if request.gpu_memory_mib > share:
        raise PlacementError(
            f"resources.gpu_memory_mib: {request.gpu_memory_mib} > {gpu_share:g} × {smallest} = {share} MiB; raise "
            "resources.num_gpus or lower resources.gpu_memory_mib"
        )
    return request.gpu_memory_mib
