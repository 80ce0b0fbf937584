"""Notices that a process has collected more of earlier models than it should.

TensorFlow keeps every program that XLA has compiled until the process ends, also those of models that are gone
(github.com/tensorflow/tensorflow/issues/64170). A small network on a CPU leaves 260 memory mappings and 20 MiB
(`python -m benchmarks.wear`). Linux allows a process `vm.max_map_count` mappings, 65,530 if nothing else is set, and
XLA crashes without another one: after some 200 such networks. As a graph such a network leaves 4 MiB, and an
experiment's code may keep anything. So a new process takes over before that matters.
"""

from __future__ import annotations

from pathlib import Path

from runner.host.inventory import free_memory_mib
from runner.worker.memory import own_mib

_MAPPINGS = Path("/proc/self/maps")
_MOST = Path("/proc/sys/vm/max_map_count")
_PART = 1 / 2  # of the mappings allowed, which leaves enough for the trial that comes next
_FEWEST = 20  # trials that a process has, however little memory there is, because a new one takes seconds
_PART_OF_MEMORY = 1 / 8  # of what is free, because all workers grow alike
_CHANGED_MIB = 128.0  # programs take this much long before their mappings matter; to count these takes up to 0.4 s


class Wear:
    """The wear of this process.

    Args:
        memory_mib: host memory that it may take beyond what it has now, MiB; None for no limit.

    Attributes:
        begun: how many trials have begun in it.
    """

    def __init__(self, memory_mib: int | None) -> None:
        self._memory_mib = memory_mib
        self._bare_mib = self._counted_mib = own_mib()
        self._is_worn, self.begun = False, 0

    @property
    def is_worn(self) -> bool:
        """Whether another process should have the trials to come. It takes no time unless memory has changed."""
        now_mib = own_mib()
        if abs(now_mib - self._counted_mib) > _CHANGED_MIB:
            self._counted_mib, self._is_worn = now_mib, self._look(now_mib - self._bare_mib)
        return self._is_worn

    def _look(self, grown_mib: float) -> bool:
        try:
            return self._is_too_much(grown_mib)
        except OSError:  # a container that hides /proc, for which no turn may be lost
            return False

    def _is_too_much(self, grown_mib: float) -> bool:
        room_mib = free_memory_mib() if self._memory_mib is None else self._memory_mib
        if self.begun >= _FEWEST and grown_mib > _PART_OF_MEMORY * room_mib:
            return True
        return mappings() > _PART * int(_MOST.read_text(encoding="ascii"))


def mappings() -> int:
    """The number of this process' memory mappings."""
    return _MAPPINGS.read_bytes().count(b"\n")
