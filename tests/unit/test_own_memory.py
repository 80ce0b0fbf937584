"""Idle workers of a session hold memory that is free to its next sweep."""

from __future__ import annotations

from runner.placement import Machine
from runner.placement.machine import Gpu
from runner.placement.own_memory import counted_as_free

GPUS = tuple(Gpu(id=name, uuid=name, name="H100", memory_mib=1000, free_mib=400) for name in ("0", "1"))
MACHINE = Machine(cpus=4, memory_mib=8000, free_memory_mib=3000, gpus=GPUS)


def test_memory_of_own_processes_counts_as_free_and_that_of_others_does_not() -> None:
    use = {"0": {10: 300, 11: 100, 99: 150}, "1": {99: 500}}
    found = counted_as_free(MACHINE, use, {10: 700, 11: 800, 99: 900}, own=(10, 11))
    assert [gpu.free_mib for gpu in found.gpus] == [800, 400]
    assert found.free_memory_mib == 4500


def test_no_more_is_free_than_there_is() -> None:
    found = counted_as_free(MACHINE, {"0": {10: 5000}}, {10: 9000}, own=(10, 12))
    assert found.gpus[0].free_mib == 1000
    assert found.free_memory_mib == 8000
