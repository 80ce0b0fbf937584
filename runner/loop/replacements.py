"""New workers in place of lost ones, with larger shares if they ran out of memory and more is free."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from runner.errors import ShareTakenError
from runner.loop.interfaces import Fleet
from runner.loop.renewals import Renewals
from runner.loop.slots import Shares
from runner.placement import Growth
from runner.records import Allocation, Work


class Replacements:
    """Replaces workers.

    Args:
        fleet: open.
        shares: the slots' shares, which can grow; None if they cannot.

    Attributes:
        renewals: workers that ask to be replaced.
        retired: slots whose share another one has got.
    """

    def __init__(self, fleet: Fleet, shares: Shares | None) -> None:
        self._fleet, self._shares = fleet, shares
        self.renewals, self.retired = Renewals(), set[int]()
        self._before: dict[int, Allocation] = {}

    def grow(self, short: Sequence[int], live: Mapping[int, tuple[Work, ...]]) -> Growth:
        """The growth of slots that were short of memory, as far as more is free.

        Args:
            short: the slots.
            live: the trials that have a place, by slot.
        """
        if self._shares is None or not short:
            return Growth()
        self._before = {slot: self._shares.of(slot) for slot in short}
        return self._shares.grow(short, live)

    def start(self, lost: Sequence[int], growth: Growth) -> Growth:
        """Starts workers in these slots; returns the growth that they have.

        They have their previous shares if another process has taken the free memory.

        Args:
            lost: the slots.
            growth: as `grow` has returned it.
        """
        for slot in growth.retired:
            self._fleet.retire(slot)
        self.retired |= set(growth.retired)
        self.renewals.forget([*growth.retired, *lost])
        try:
            self._fleet.replace({slot: growth.allocations.get(slot) for slot in lost})
        except ShareTakenError:
            if self._shares is None or not growth.allocations:
                raise
            self._shares.put(self._before)
            growth = Growth(retired=growth.retired)
            self._fleet.replace(dict.fromkeys(lost))
        return growth

    def remedy(self, slot: int, growth: Growth) -> str:
        """What was done about a slot that was short of memory, for a person."""
        if self._shares is None:
            return "tried again"
        limit = self._shares.of(slot).memory_limit_mib
        grown = growth.allocations.get(slot)
        if grown is not None and grown.memory_limit_mib != self._before[slot].memory_limit_mib:
            return f"tried again under a larger limit of {limit} MiB"
        if grown is not None:
            return f"tried again under the same limit of {limit} MiB, without the states of trials that wait"
        if limit is None:
            return "tried again in a new process"
        return f"tried again in a new process under the same limit of {limit} MiB: no more memory is free"
