"""How many models the GPUs hold and the memory limit of each, from a share, a limit, or a measurement."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from runner.placement.machine import Machine, Request
from runner.placement.packing import UNITS, units
from runner.placement.refusal import NO_GPU, DoesNotFitError
from runner.placement.shares import MARGIN_MIB, MOST_ON_ONE, Room, limit_for, models_in, share_of


@dataclass(frozen=True, kw_only=True, slots=True)
class Bank:
    """A GPU, or the group of GPUs of a model that has several, and the models that fit there.

    Args:
        models: number of models that fit.
        limit: memory limit of each as a function of their number.
    """

    room: Room
    models: int
    limit: Callable[[int], int]


def banks_of(request: Request, machine: Machine, need_mib: float | None) -> list[Bank]:
    """The banks that models can use, one for each GPU or group of GPUs.

    Raises:
        DoesNotFitError: no bank holds a model.
    """
    asked = request.num_gpus
    if asked != "auto":
        _check(asked, len(machine.gpus))
    rooms = _rooms(request, machine)
    if asked != "auto":
        banks = [_by_share(request, room, asked) for room in rooms]
    elif request.gpu_memory_mib != "auto":
        limit_mib = request.gpu_memory_mib
        banks = [Bank(room=room, models=room.holds(limit_mib), limit=lambda _: limit_mib) for room in rooms]
    elif need_mib is not None:
        banks = [_by_need(room, need_mib) for room in rooms]
    else:
        banks = _unmeasured(request, rooms)
    if not any(bank.models for bank in banks):
        raise _no_room(request, rooms, need_mib)
    return banks


def share_in(request: Request, models: int) -> float:
    """The part of a GPU that each of its models gets."""
    if request.num_gpus == "auto":
        return share_of(models)
    return max(units(request.num_gpus) / UNITS, share_of(MOST_ON_ONE))


def booked(share: float, models: int, alone: bool) -> float:
    """The share to request from Ray. If there are several GPUs, exactly these models must fill theirs.

    The reason is that Ray fills a GPU before it uses the next one.
    """
    if alone or share >= 1 or models_in(share) == models:
        return share
    return share_of(models)


def _check(asked: float, found: int) -> None:
    """Refuses a number of GPUs that the machine lacks or that Ray cannot represent."""
    if not found:
        raise DoesNotFitError(
            f"resources.num_gpus: {asked:g} asked, no GPU found on this machine (python -m runner doctor says why)",
            NO_GPU,
        )
    if asked > found:
        raise DoesNotFitError(f"resources.num_gpus: {asked:g} asked, {found} found", {"num_gpus": float(found)})
    if units(asked) == 0:
        raise DoesNotFitError(f"resources.num_gpus: {asked:g} asked, Ray counts in 0.0001", {"num_gpus": 0.0001})


def _rooms(request: Request, machine: Machine) -> list[Room]:
    """Each GPU, or groups of GPUs for models that get several; GPUs without room are left out."""
    overhead = machine.gpu_overhead_mib if request.gpu_overhead_mib == "auto" else request.gpu_overhead_mib
    alone = [Room(gpus=(gpu,), overhead_mib=overhead) for gpu in machine.gpus]
    if request.num_gpus == "auto" or request.num_gpus <= 1:
        return alone
    size, limit = math.floor(request.num_gpus), 1 if request.gpu_memory_mib == "auto" else request.gpu_memory_mib
    fitting = [room.gpus[0] for room in alone if room.holds(limit)]
    gpus = fitting if len(fitting) >= size else machine.gpus
    groups = [tuple(gpus[start : start + size]) for start in range(0, len(gpus) - size + 1, size)]
    return [Room(gpus=group, overhead_mib=overhead) for group in groups]


def _by_share(request: Request, room: Room, share: float) -> Bank:
    """The limit that follows from a share of the GPU; a requested limit must agree."""
    models = models_in(share)
    limit = room.limit_of(share) if request.gpu_memory_mib == "auto" else request.gpu_memory_mib
    agree = limit > 0 and room.holds(limit) >= models
    return Bank(room=room, models=models if agree else 0, limit=lambda _: limit)


def _by_need(room: Room, need_mib: float) -> Bank:
    """As many models as fit by their measured peak; they share the whole GPU. A single model needs no headroom."""
    alone = min(1, room.holds(math.ceil(need_mib)))
    return Bank(room=room, models=max(alone, room.holds(limit_for(need_mib))), limit=room.limit_of_one_in)


def _unmeasured(request: Request, rooms: Sequence[Room]) -> list[Bank]:
    """One model, or as many as requested; none if other processes leave less than half of the emptiest GPU's room."""
    least_mib = max(room.limit_of_one_in(1) for room in rooms) // 2
    in_use = {room.gpus: room.limit_of_one_in(1) >= least_mib for room in rooms}
    each = 1 if request.max_concurrent == "auto" else math.ceil(request.max_concurrent / max(1, sum(in_use.values())))
    return [
        Bank(room=room, models=min(each, room.holds(1)) if in_use[room.gpus] else 0, limit=room.limit_of_one_in)
        for room in rooms
    ]


def _no_room(request: Request, rooms: Sequence[Room], need_mib: float | None) -> DoesNotFitError:
    """The error if no GPU holds a model: the sum for the emptiest GPU, and what would fit there."""
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
    return DoesNotFitError(why, *smaller, NO_GPU)
