"""Shares of the slots while a sweep runs; they grow if a trial runs out of memory."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from runner.placement import Growth, Machine, enlarge
from runner.records import Allocation, Slot


class Shares:
    """The current share of each slot.

    Args:
        slots: as planned.
        machines: for which they were planned, in their state at that time, by Ray's node id.
    """

    def __init__(self, slots: Sequence[Slot], machines: Mapping[str, Machine]) -> None:
        self._slots = {slot.index: slot for slot in slots}
        self._machines = machines

    def grow(self, short: Collection[int], busy: Collection[int]) -> Growth:
        """Enlarges the shares of slots that ran out of memory, as far as memory is free.

        Args:
            short: slots whose memory did not suffice.
            busy: slots that have a trial; the others are never used again.
        """
        allocations: dict[int, Allocation] = {}
        retired: list[int] = []
        for node, machine in self._machines.items():
            here = [slot for slot in self._slots.values() if slot.allocation.node == node]
            found = enlarge(here, short, {*busy, *short}, machine)
            allocations |= found.allocations
            retired += found.retired
        growth = Growth(allocations=allocations, retired=tuple(retired))
        for slot in growth.retired:
            del self._slots[slot]
        for slot, allocation in growth.allocations.items():
            self._slots[slot] = Slot(index=slot, allocation=allocation)
        return growth

    def put(self, allocations: Mapping[int, Allocation]) -> None:
        """Gives slots back the shares that they had before."""
        self._slots |= {slot: Slot(index=slot, allocation=allocation) for slot, allocation in allocations.items()}

    def of(self, slot: int) -> Allocation:
        """The slot's share."""
        return self._slots[slot].allocation
