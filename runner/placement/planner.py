"""Plans the slots of one machine: how many models fit side by side, and the share of each. Pure arithmetic."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from runner.errors import PlacementError
from runner.placement.cpu_slots import cpus_of_each, models_on_cpus, most_by_cpus
from runner.placement.gpu_slots import Bank, banks_of, booked, share_in
from runner.placement.machine import MPS_CLIENTS, Machine, Request
from runner.placement.refusal import Change, DoesNotFitError, nearest, written
from runner.placement.shares import limit_for
from runner.records import Allocation, MpsKind, Slot


def plan_slots(request: Request, machine: Machine, trials: int, need_mib: float | None = None) -> tuple[Slot, ...]:
    """Slots for as many models as fit, at most one for each trial, spread over the GPUs.

    Threads, memory limit and MPS share depend on the request and the machine alone, never on the number of trials, so
    that a trial gives the same numbers alone and in a sweep. If `takes_turns`, a GPU that several models would share
    has one slot with a place for each of them.

    Args:
        request: for each slot.
        machine: its resources.
        trials: number of trials to train.
        need_mib: measured peak of the largest model, GPU memory or, without a GPU, host memory; None if unknown:
            `num_gpus: auto` then gives each model a GPU.

    Raises:
        PlacementError: the request does not fit, with the sum and the nearest request that does.
    """
    try:
        return _plan(request, machine, trials, need_mib)
    except DoesNotFitError as err:

        def fits(change: Change) -> bool:
            try:
                _plan(replace(request, **change), machine, trials, need_mib)
            except DoesNotFitError:
                return False
            return True

        instead = nearest(err.changes, fits)
        raise PlacementError(f"{err}; set {' or '.join(map(written, instead))}", instead) from err


def needs_a_probe(request: Request, machine: Machine) -> bool:
    """Whether the slots depend on the GPU memory of a model, which must be measured."""
    return bool(machine.gpus) and request.num_gpus == "auto" and request.gpu_memory_mib == "auto"


def takes_turns(request: Request, machine: Machine) -> bool:
    """Whether models that share a GPU do so in one worker, in turns.

    Without MPS several processes on a GPU are slower than one, because the card switches between them. Who gives a
    share, a limit or a number of models gets a worker for each model all the same. So do models in stacks, which are
    several in one worker anyway.
    """
    open_ = needs_a_probe(request, machine) and request.max_concurrent == "auto"
    return open_ and (request.in_stacks or not machine.mps)


def with_places(slots: Sequence[Slot], places: int, need_mib: float | None) -> tuple[Slot, ...]:
    """These slots of a GPU each, with as many places as they had, or as their limits hold now.

    Args:
        slots: for the trials of a sweep that goes on.
        places: of each slot before.
        need_mib: measured peak of the largest model; None if unknown.
    """
    each_mib = 1 if need_mib is None else limit_for(need_mib)

    def fitting(share: Allocation) -> int:
        return max(1, min(places, (share.gpu_memory_mib or 0) // each_mib))

    return tuple(replace(slot, allocation=replace(slot.allocation, places=fitting(slot.allocation))) for slot in slots)


def _plan(request: Request, machine: Machine, trials: int, need_mib: float | None) -> tuple[Slot, ...]:
    if request.num_gpus == 0 or (request.num_gpus == "auto" and not machine.gpus):
        return _on_cpus(request, machine, trials, need_mib)
    banks = banks_of(request, machine, need_mib)
    wanted = _concurrency(request, machine, sum(bank.models for bank in banks))
    planned = places = spread([bank.models for bank in banks], wanted)
    if takes_turns(request, machine):
        planned = [min(1, models) for models in places]
        wanted = sum(planned)
    num_cpus = cpus_of_each(request, wanted, machine.cpus)
    used = spread(planned, max(1, min(wanted, trials)))
    alone = sum(count > 0 for count in used) == 1
    slots: list[Slot] = []
    for bank, models, live, count in zip(banks, planned, places, used, strict=True):
        if count:
            share = share_in(request, models)
            allocation = _allocation(machine, bank, models, share, num_cpus)
            allocation = replace(allocation, num_gpus=booked(share, count, alone), places=live // models)
            slots += [Slot(index=len(slots) + place, allocation=allocation) for place in range(count)]
    return tuple(slots)


def _on_cpus(request: Request, machine: Machine, trials: int, need_mib: float | None) -> tuple[Slot, ...]:
    room = models_on_cpus(request, machine, need_mib)
    wanted = room if request.max_concurrent == "auto" else request.max_concurrent
    num_cpus = cpus_of_each(request, wanted, machine.cpus)
    limit = None if request.memory_mib == "auto" else request.memory_mib
    allocation = Allocation(num_cpus=num_cpus, threads=_threads(num_cpus), memory_mib=limit)
    return tuple(Slot(index=index, allocation=allocation) for index in range(max(1, min(wanted, trials))))


def _concurrency(request: Request, machine: Machine, room: int) -> int:
    """How many models share the GPUs at a time."""
    if request.max_concurrent == "auto":
        # A number from a measurement or a limit leaves each model a CPU; a requested share need not.
        bounded = request.num_cpus != "auto" or request.num_gpus == "auto"
        return min(room, most_by_cpus(request, machine)) if bounded else room
    if request.max_concurrent > room:
        raise DoesNotFitError(
            f"resources.max_concurrent={request.max_concurrent}: {room} model{'s' * (room != 1)} of this size fit on "
            f"{len(machine.gpus)} GPU{'s' * (len(machine.gpus) != 1)}",
            {"max_concurrent": room},
        )
    return request.max_concurrent


def spread(room: Sequence[int], models: int) -> list[int]:
    """Spreads models over places as evenly as their room allows; earlier places first."""
    counts = [0] * len(room)
    for _ in range(min(models, sum(room))):
        open_ = [index for index, most in enumerate(room) if counts[index] < most]
        counts[min(open_, key=lambda index: counts[index])] += 1
    return counts


def _allocation(machine: Machine, bank: Bank, models: int, share: float, num_cpus: float) -> Allocation:
    percentage = max(1, min(100, math.floor(share * 100 + 1e-9)))
    mps = _mps(machine, models, percentage)
    return Allocation(
        num_cpus=num_cpus,
        num_gpus=share,
        gpus=tuple(gpu.id for gpu in bank.room.gpus),
        gpu_memory_mib=bank.limit(models),
        gpu_overhead_mib=bank.room.overhead_mib,
        threads=_threads(num_cpus),
        mps=mps,
        mps_thread_percentage=percentage if mps in ("own", "foreign") else None,
    )


def _mps(machine: Machine, models: int, percentage: int) -> MpsKind:
    """Whose daemon a model computes through: none is started for a model with a GPU of its own."""
    if machine.mps.kind == "own" and (percentage == 100 or models > MPS_CLIENTS):
        return "off"
    return machine.mps.kind


def _threads(num_cpus: float) -> int:
    return max(1, math.floor(num_cpus))
