"""Simulates how Ray packs shares of GPUs, and orders requests so that each lands where the plan has it.

Ray, not the plan, picks the GPU. It counts in 1/10000 of a GPU. A share below 1 goes to the GPU with the least room
that still holds it, the first among equals; whole GPUs are the first ones that are entirely free. So requests that fit
together may be placed such that the last one finds no GPU: .5, .25, .75, .5 on two GPUs. Requested GPU by GPU they
always fit: a share goes where the plan has it, or fills a gap of a GPU whose requests are done.

Source: `NodeResourceInstanceSet::TryAllocate` in Ray's src/ray/common/scheduling/resource_instance_set.cc.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Sequence

from runner.records import Slot

UNITS = 10_000
"""Ray's resolution: parts of one GPU or CPU."""
_ROUNDING = 1e-6  # 0.07 * 10000 is 700.0000000000001, 0.29 * 10000 is just below 2900.0


def units(share: float) -> int:
    """A share in units of Ray's resolution, rounded down so that shares that fit still fit."""
    return math.floor(share * UNITS + _ROUNDING)


def place_as_ray(shares: Iterable[float], gpus: int) -> list[tuple[int, ...]] | None:
    """The GPUs that Ray gives to each of these requests in turn; None if one of them finds no GPU."""
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
    """The slots in an order in which Ray places all of them: several GPUs first, then GPU by GPU, large to small."""
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
    """The slots in waves: slots of one wave are equal to Ray, so that their order does not matter; waves start in turn.

    Each wave is on one node: the request names the node, and Ray picks the GPU there.
    """
    waves: list[list[Slot]] = []
    for node in dict.fromkeys(slot.allocation.node for slot in slots):
        ordered = in_order([slot for slot in slots if slot.allocation.node == node])
        waves += [list(wave) for _, wave in itertools.groupby(ordered, lambda slot: slot.allocation.num_gpus)]
    return waves


def gpus_used(slots: Sequence[Slot]) -> tuple[str, ...]:
    """The GPUs of these slots, in the order in which Ray must count them."""
    return tuple(dict.fromkeys(gpu for slot in in_order(slots) for gpu in slot.allocation.gpus))


def match(slots: Sequence[Slot], found: Sequence[tuple[str, ...]]) -> list[int] | None:
    """Assigns workers to slots by the GPUs that Ray gave them.

    Args:
        slots: the planned slots of one wave.
        found: the GPUs of each worker, as many as there are slots.

    Returns:
        For each slot the index of its worker in `found`; None if Ray did not place them as planned.
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
