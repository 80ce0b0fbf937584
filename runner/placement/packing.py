"""How Ray packs shares of GPUs: it, not the plan, picks the GPU, so the plan asks in an order that leads to its own.

Ray counts in 1/10000 of a GPU. A share below 1 goes to the GPU with the least room that still holds it, the first of
equals; whole GPUs are the first ones that are entirely free. Requests that fit together may so be placed such that the
last one finds no GPU: .5, .25, .75, .5 on two GPUs. Asked for GPU by GPU they always find their places: a share goes
where the plan has it, or fills a gap of a GPU that is already done with.

Source: `NodeResourceInstanceSet::TryAllocate` in Ray's src/ray/common/scheduling/resource_instance_set.cc.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Sequence

from runner.records import Slot

UNITS = 10_000
"""Ray's resolution: parts of one GPU or CPU."""
_ROUNDING = 1e-6  # 0.07 * 10000 is 700.0000000000001, 0.29 * 10000 is 2900.0 less a last bit


def units(share: float) -> int:
    """A share in Ray's parts, rounded down so that shares which fit still do."""
    return math.floor(share * UNITS + _ROUNDING)


def place_as_ray(shares: Iterable[float], gpus: int) -> list[tuple[int, ...]] | None:
    """The GPUs that Ray gives to each request, asked for one after another; None where one of them finds no place."""
    free, placed = [UNITS] * gpus, []
    for share in shares:
        whole, part = divmod(units(share), UNITS)
        taken = [index for index, room in enumerate(free) if room == UNITS][:whole]
        for index in taken:
            free[index] = 0
        fitting = [index for index, room in enumerate(free) if room >= part]
        if len(taken) < whole or (part and not fitting):
            return None
        if part:
            best = min(fitting, key=lambda index: free[index])
            free[best] -= part
            taken.append(best)
        placed.append(tuple(taken))
    return placed


def in_order(slots: Sequence[Slot]) -> list[Slot]:
    """The slots in an order in which Ray places all of them: those of several GPUs, then GPU by GPU, large to small."""
    first_of = {gpus: index for index, gpus in reversed([*enumerate(slot.allocation.gpus for slot in slots)])}
    return sorted(
        slots,
        key=lambda slot: (
            slot.allocation.num_gpus <= 1,
            first_of[slot.allocation.gpus],
            -slot.allocation.num_gpus,
            slot.index,
        ),
    )


def in_waves(slots: Sequence[Slot]) -> list[list[Slot]]:
    """The slots by creation: those of one wave are alike to Ray, so that their order is nothing; waves wait.

    Node by node: Ray is told on which node a worker is to be, and picks the GPU there.
    """
    waves: list[list[Slot]] = []
    for node in dict.fromkeys(slot.allocation.node for slot in slots):
        ordered = in_order([slot for slot in slots if slot.allocation.node == node])
        waves += [list(wave) for _, wave in itertools.groupby(ordered, lambda slot: slot.allocation.num_gpus)]
    return waves


def gpus_used(slots: Sequence[Slot]) -> tuple[str, ...]:
    """The GPUs of these slots, in the order in which Ray is to count them."""
    return tuple(dict.fromkeys(gpu for slot in in_order(slots) for gpu in slot.allocation.gpus))


def match(slots: Sequence[Slot], found: Sequence[tuple[str, ...]]) -> list[int] | None:
    """Which worker goes to which slot, once it is known where Ray has put them.

    Args:
        slots: planned, of one wave.
        found: the GPUs of each of as many workers.

    Returns:
        For each slot the worker's place in `found`; None where Ray has placed them otherwise than planned.
    """
    left = list(range(len(found)))
    chosen = []
    for slot in slots:
        worker = next((index for index in left if set(found[index]) == set(slot.allocation.gpus)), None)
        if worker is None:
            return None
        left.remove(worker)
        chosen.append(worker)
    return chosen
