"""Memory that a program's own idle workers hold: it is free to a sweep, which takes them over or ends them."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace

from runner.placement.machine import Machine


def counted_as_free(
    machine: Machine, on_gpus: Mapping[str, Mapping[int, int]], on_host: Mapping[int, int], own: Collection[int]
) -> Machine:
    """The machine as it will be once these processes have ended.

    Args:
        machine: with these processes.
        on_gpus: MiB of each process, by the id of the GPU.
        on_host: MiB of host memory of each process that are its own alone.
        own: numbers of the processes.
    """
    gpus = tuple(
        replace(gpu, free_mib=min(gpu.memory_mib, gpu.free_mib + _sum(on_gpus.get(gpu.id, {}), own)))
        for gpu in machine.gpus
    )
    free = machine.free_memory_mib
    if free is not None:
        free = min(machine.memory_mib, free + _sum(on_host, own))
    return replace(machine, gpus=gpus, free_memory_mib=free)


def _sum(of_processes: Mapping[int, int], own: Collection[int]) -> int:
    return sum(of_processes.get(pid, 0) for pid in own)
