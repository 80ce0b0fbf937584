"""Slots from resources: how many models fit side by side, and the share each gets. Pure arithmetic, with reasons."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from runner.errors import PlacementError
from runner.placement.machine import Machine, Request
from runner.placement.packing import UNITS, units
from runner.placement.shares import MARGIN_MIB, MOST_ON_ONE, Room, limit_for, models_in, share_of
from runner.records import Allocation, Slot

_HOST_MARGIN_MIB = 1024  # for the driver, Ray and the data sets in its object store
_NO_GPU: dict[str, Any] = {"num_gpus": 0.0}
_ANYTHING: dict[str, Any] = {**_NO_GPU, "num_cpus": "auto", "max_concurrent": "auto"}
_SMALLEST_CPU = 0.01  # where an equal part is computed


@dataclass(frozen=True, kw_only=True, slots=True)
class _Bank:
    """A room, and the models that fit there.

    Args:
        room: None for the host.
        models: how many.
        limit: the memory limit of each, given how many there are.
    """

    room: Room | None
    models: int
    limit: Callable[[int], int | None] = lambda models: None


class _DoesNotFitError(Exception):
    """A request that cannot be met: the sum, and changes that may help."""

    def __init__(self, why: str, *changes: Mapping[str, Any]) -> None:
        super().__init__(why)
        self.changes = changes


def plan_slots(request: Request, machine: Machine, trials: int, need_mib: float | None = None) -> tuple[Slot, ...]:
    """Slots for as many models as fit, at most one for each trial, spread over the GPUs.

    Threads, memory limit and MPS share depend on the request and the machine alone, never on the number of trials: a
    trial gets the same ones, and so the same numbers, alone and in a sweep.

    Args:
        request: what is asked for.
        machine: what there is.
        trials: how many there are to train.
        need_mib: what the largest model was measured to take, GPU memory or where there is no GPU host memory; None
            where that is not known: `num_gpus: auto` then gives each model a GPU.

    Raises:
        PlacementError: the request cannot fit, with the sum and the nearest request that does.
    """
    try:
        return _plan(request, machine, trials, need_mib)
    except _DoesNotFitError as err:
        nearest = _nearest(err.changes, lambda change: _fits(replace(request, **change), machine, trials, need_mib))
        instead = " or ".join(_written(change) for change in nearest)
        raise PlacementError(f"{err}; set {instead}", nearest) from err


def needs_a_probe(request: Request, machine: Machine) -> bool:
    """Whether the slots follow from what a model takes on the GPU, which only a measurement can tell."""
    return bool(machine.gpus) and request.num_gpus == "auto" and request.gpu_memory_mib == "auto"


def _plan(request: Request, machine: Machine, trials: int, need_mib: float | None) -> tuple[Slot, ...]:
    banks = _banks(request, machine, need_mib)
    wanted, num_cpus = _concurrency(request, machine, sum(bank.models for bank in banks))
    planned = _spread([bank.models for bank in banks], wanted)
    used = _spread(planned, max(1, min(wanted, trials)))
    alone = sum(count > 0 for count in used) == 1
    slots: list[Slot] = []
    for bank, models, count in zip(banks, planned, used, strict=True):
        if count == 0:
            continue
        share = _share(request, bank, models)
        allocation = _allocation(machine, bank, models, share, num_cpus)
        allocation = replace(allocation, num_gpus=_booked(share, count, alone))
        slots += [Slot(index=len(slots) + place, allocation=allocation) for place in range(count)]
    return tuple(slots)


def _banks(request: Request, machine: Machine, need_mib: float | None) -> list[_Bank]:
    """Where models can go."""
    asked = request.num_gpus
    if asked == 0 or (asked == "auto" and not machine.gpus):
        return [_Bank(room=None, models=_on_the_host(request, machine, need_mib))]
    if not machine.gpus:
        raise _DoesNotFitError(
            f"resources.num_gpus: {asked:g} asked, no GPU found on this machine (python -m runner doctor tells why)",
            _NO_GPU,
        )
    if asked != "auto" and asked > len(machine.gpus):
        raise _DoesNotFitError(
            f"resources.num_gpus: {asked:g} asked, {len(machine.gpus)} found", {"num_gpus": float(len(machine.gpus))}
        )
    if asked != "auto" and units(asked) == 0:
        raise _DoesNotFitError(f"resources.num_gpus: {asked:g} asked, Ray counts in 0.0001", {"num_gpus": 0.0001})
    rooms = _rooms(request, machine)
    if asked != "auto":
        banks = [_by_share(request, room, asked) for room in rooms]
    elif request.gpu_memory_mib != "auto":
        limit_mib = request.gpu_memory_mib
        banks = [_Bank(room=room, models=room.holds(limit_mib), limit=lambda _: limit_mib) for room in rooms]
    elif need_mib is not None:
        banks = [_by_need(room, need_mib) for room in rooms]
    else:
        each = 1 if request.max_concurrent == "auto" else math.ceil(request.max_concurrent / len(rooms))
        banks = [_unmeasured(room, each) for room in rooms]
    if not any(bank.models for bank in banks):
        raise _no_room(request, rooms, need_mib)
    return banks


def _rooms(request: Request, machine: Machine) -> list[Room]:
    """Each GPU, or groups of GPUs for models that get several; those that hold none make no group."""
    overhead = machine.gpu_overhead_mib if request.gpu_overhead_mib == "auto" else request.gpu_overhead_mib
    alone = [Room(gpus=(gpu,), overhead_mib=overhead) for gpu in machine.gpus]
    if request.num_gpus == "auto" or request.num_gpus <= 1:
        return alone
    size, limit = math.floor(request.num_gpus), 1 if request.gpu_memory_mib == "auto" else request.gpu_memory_mib
    fitting = [room.gpus[0] for room in alone if room.holds(limit)]
    gpus = fitting if len(fitting) >= size else machine.gpus
    groups = [tuple(gpus[start : start + size]) for start in range(0, len(gpus) - size + 1, size)]
    return [Room(gpus=group, overhead_mib=overhead) for group in groups]


def _by_share(request: Request, room: Room, share: float) -> _Bank:
    """A share of the GPU gives its limit; a limit asked for must agree."""
    models = models_in(share)
    limit = room.limit_of(share) if request.gpu_memory_mib == "auto" else request.gpu_memory_mib
    agree = limit > 0 and room.holds(limit) >= models
    return _Bank(room=room, models=models if agree else 0, limit=lambda _: limit)


def _by_need(room: Room, need_mib: float) -> _Bank:
    """As many models as were measured to fit, all of the GPU divided among them; one may do without headroom."""
    alone = min(1, room.holds(math.ceil(need_mib)))
    return _Bank(room=room, models=max(alone, room.holds(limit_for(need_mib))), limit=room.limit_of_one_in)


def _unmeasured(room: Room, models: int) -> _Bank:
    """One model, or as many as are asked for."""
    return _Bank(room=room, models=min(models, room.holds(1)), limit=room.limit_of_one_in)


def _on_the_host(request: Request, machine: Machine, need_mib: float | None) -> int:
    by_cpus = machine.cpus if request.num_cpus == "auto" else machine.cpus * UNITS // _cpu_units(request.num_cpus)
    if request.max_concurrent != "auto":  # asked for, and nothing on a host enforces a share
        return max(by_cpus, request.max_concurrent) if request.num_cpus == "auto" else by_cpus
    if need_mib is None:
        return max(1, by_cpus)
    return max(1, min(by_cpus, host_room_mib(machine) // limit_for(need_mib)))


def host_room_mib(machine: Machine) -> int:
    """Host memory that models may take."""
    free = machine.memory_mib if machine.free_memory_mib is None else machine.free_memory_mib
    return max(0, free - _HOST_MARGIN_MIB)


def _no_room(request: Request, rooms: Sequence[Room], need_mib: float | None) -> _DoesNotFitError:
    """Not one model fits on any GPU: the sum for the emptiest, and what would fit there."""
    room, share, limit = max(rooms, key=lambda room: room.free_mib), request.num_gpus, request.gpu_memory_mib
    smaller: list[dict[str, Any]] = []
    if limit != "auto":
        models = 1 if share == "auto" else models_in(share)
        asked = "" if share == "auto" else f"resources.num_gpus={share:g} and "
        why = f"{asked}resources.gpu_memory_mib={limit}: {room.sum_of(models, limit)}"
        smaller += [{"gpu_memory_mib": room.limit_of_one_in(models)}] if room.limit_of_one_in(models) > 0 else []
        smaller += [{"num_gpus": share_of(room.holds(limit))}] if share != "auto" and room.holds(limit) else []
    elif share != "auto":
        why = (
            f"resources.num_gpus={share:g}: {share:g} × ({room.free_mib} MiB free - {MARGIN_MIB} margin) - "
            f"{room.overhead_mib} overhead leaves a limit of {room.limit_of(share)} MiB on {room.label}"
        )
        smaller += [{"num_gpus": share_of(room.holds(1))}] if room.holds(1) else []
    elif need_mib is not None:
        why = f"a model takes {need_mib:.0f} MiB: {room.sum_of(1, math.ceil(need_mib))}"
    else:
        why = f"no GPU has room for a model: {room.sum_of(1, 1)}"
    return _DoesNotFitError(why, *smaller, _NO_GPU)


def _concurrency(request: Request, machine: Machine, room: int) -> tuple[int, float]:
    """How many models at a time, and the CPUs of each."""
    on_gpus = bool(machine.gpus) and request.num_gpus != 0
    wanted = room if request.max_concurrent == "auto" else request.max_concurrent
    if request.max_concurrent == "auto":
        if request.num_cpus != "auto":
            wanted = min(room, max(1, machine.cpus * UNITS // _cpu_units(request.num_cpus)))
        elif request.num_gpus == "auto":  # what follows from measurements leaves a CPU to each
            wanted = min(room, machine.cpus)
    elif wanted > room and on_gpus:
        raise _DoesNotFitError(
            f"resources.max_concurrent={wanted}: {room} model{'s' * (room != 1)} of this size fit on "
            f"{len(machine.gpus)} GPU{'s' * (len(machine.gpus) != 1)}",
            {"max_concurrent": room},
        )
    return wanted, _cpus_of_each(request, wanted, machine.cpus)


def _cpus_of_each(request: Request, wanted: int, cpus: int) -> float:
    """The CPUs of each model: as asked, else one, or an equal part in hundredths where there are more models."""
    equal = math.floor(cpus / wanted / _SMALLEST_CPU + 1e-9) * _SMALLEST_CPU
    if request.num_cpus == "auto":
        if equal == 0:
            raise _DoesNotFitError(
                f"resources.max_concurrent={wanted}: {cpus} CPUs give less than {_SMALLEST_CPU} to each",
                {"max_concurrent": math.floor(cpus / _SMALLEST_CPU)},
            )
        return min(1.0, round(equal, 2))
    asked = _cpu_units(request.num_cpus)
    if wanted * asked > cpus * UNITS:
        changes: list[dict[str, Any]] = [{"num_cpus": round(equal, 2)}] if equal else []
        changes += [{"max_concurrent": cpus * UNITS // asked}] if cpus * UNITS >= asked else []
        raise _DoesNotFitError(
            f"{wanted} × {request.num_cpus:g} CPUs = {wanted * asked / UNITS:g} > {cpus} CPUs of this machine", *changes
        )
    return asked / UNITS


def _cpu_units(num_cpus: float) -> int:
    """CPUs in Ray's parts; what is less than one part takes one."""
    return max(1, math.floor(num_cpus * UNITS + 1e-6))


def _spread(room: Sequence[int], models: int) -> list[int]:
    """So many models over places with so much room, as evenly as it goes; earlier places first."""
    if len(room) == 1:
        return [min(models, *room)]
    counts = [0] * len(room)
    for _ in range(min(models, sum(room))):
        open_ = [index for index, most in enumerate(room) if counts[index] < most]
        counts[min(open_, key=lambda index: counts[index])] += 1
    return counts


def _share(request: Request, bank: _Bank, models: int) -> float:
    """The part of a GPU that each of so many models there may call its own."""
    if bank.room is None:
        return 0.0
    if request.num_gpus == "auto":
        return share_of(models)
    return max(units(request.num_gpus) / UNITS, share_of(MOST_ON_ONE))


def _booked(share: float, models: int, alone: bool) -> float:
    """The share to ask of Ray. Where there are several GPUs these models, and no more, must fill theirs.

    Ray fills a GPU before it turns to the next one.
    """
    if alone or share == 0 or share >= 1 or models_in(share) == models:
        return share
    return share_of(models)


def _allocation(machine: Machine, bank: _Bank, models: int, share: float, num_cpus: float) -> Allocation:
    threads = max(1, math.floor(num_cpus))
    if bank.room is None:
        return Allocation(num_cpus=num_cpus, threads=threads)
    return Allocation(
        num_cpus=num_cpus,
        num_gpus=share,
        gpus=tuple(gpu.id for gpu in bank.room.gpus),
        gpu_memory_mib=bank.limit(models),
        gpu_overhead_mib=bank.room.overhead_mib,
        threads=threads,
        mps_thread_percentage=max(1, min(100, math.floor(share * 100 + 1e-9))) if machine.mps else None,
    )


def _nearest(
    changes: Sequence[Mapping[str, Any]], fits: Callable[[Mapping[str, Any]], bool]
) -> tuple[Mapping[str, Any], ...]:
    """The changes that make the request fit: each of those, all at once, or a plain request for CPUs."""
    single = tuple(change for change in changes if fits(change))
    if single:
        return single
    together: dict[str, Any] = {}
    for change in changes:
        together |= change
    return (together,) if fits(together) else (_ANYTHING,)


def _fits(request: Request, machine: Machine, trials: int, need_mib: float | None) -> bool:
    try:
        _plan(request, machine, trials, need_mib)
    except _DoesNotFitError:
        return False
    return True


def _written(change: Mapping[str, Any]) -> str:
    values = {key: f"{value:g}" if isinstance(value, float) else str(value) for key, value in change.items()}
    return " ".join(f"resources.{key}={value}" for key, value in values.items())
