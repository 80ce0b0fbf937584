"""How many models the host holds: by CPUs for all models, by memory for models without a GPU."""

from __future__ import annotations

import math
from typing import Literal

from runner.placement.machine import Machine, Request
from runner.placement.packing import UNITS
from runner.placement.refusal import Change, DoesNotFitError
from runner.placement.shares import limit_for

WORKER_MIB = 700
"""Resident memory of a process with TensorFlow, before it has a model."""
_MARGIN_MIB = 1024  # for the driver, Ray and the data sets in its object store
_SMALLEST_CPU = 0.01  # of an equal part


def models_on_cpus(request: Request, machine: Machine, need_mib: float | None) -> int:
    """How many models train without a GPU, by CPUs and memory.

    A measured need is not enforced: it bounds what the request leaves open and never refuses a request. A requested
    limit does both.

    Raises:
        DoesNotFitError: the memory limit does not fit.
    """
    free_mib = room_mib(machine)
    by_memory = None if need_mib is None else max(1, free_mib // limit_for(need_mib))
    if request.memory_mib != "auto":
        by_memory = _by_limit(request.memory_mib, request.max_concurrent, free_mib)
    by_cpus = machine.cpus if request.num_cpus == "auto" else machine.cpus * UNITS // _cpu_units(request.num_cpus)
    if request.max_concurrent != "auto":
        return max(by_cpus, request.max_concurrent) if request.num_cpus == "auto" else by_cpus
    return max(1, by_cpus if by_memory is None else min(by_cpus, by_memory))


def room_mib(machine: Machine) -> int:
    """Host memory that models may take."""
    free = machine.memory_mib if machine.free_memory_mib is None else machine.free_memory_mib
    return max(0, free - _MARGIN_MIB)


def cpus_of_each(request: Request, wanted: int, cpus: int) -> float:
    """CPUs of each model: as requested, else one, or an equal part in hundredths if there are more models than CPUs.

    Raises:
        DoesNotFitError: the machine has too few.
    """
    equal = math.floor(cpus / wanted / _SMALLEST_CPU + 1e-9) * _SMALLEST_CPU
    if request.num_cpus == "auto":
        if equal == 0:
            raise DoesNotFitError(
                f"resources.max_concurrent={wanted}: {cpus} CPUs give less than {_SMALLEST_CPU} to each",
                {"max_concurrent": math.floor(cpus / _SMALLEST_CPU)},
            )
        return min(1.0, round(equal, 2))
    asked = _cpu_units(request.num_cpus)
    if wanted * asked > cpus * UNITS:
        changes: list[Change] = [{"num_cpus": round(equal, 2)}] if equal else []
        changes += [{"max_concurrent": cpus * UNITS // asked}] if cpus * UNITS >= asked else []
        raise DoesNotFitError(
            f"{wanted} × {request.num_cpus:g} CPUs = {wanted * asked / UNITS:g} > {cpus} CPUs of this machine", *changes
        )
    return asked / UNITS


def most_by_cpus(request: Request, machine: Machine) -> int:
    """How many models get the requested CPUs each; at least one, which may then be refused."""
    if request.num_cpus == "auto":
        return machine.cpus
    return max(1, machine.cpus * UNITS // _cpu_units(request.num_cpus))


def _cpu_units(num_cpus: float) -> int:
    """CPUs in units of Ray's resolution, at least one."""
    return max(1, math.floor(num_cpus * UNITS + 1e-6))


def _by_limit(limit_mib: int, wanted: int | Literal["auto"], free_mib: int) -> int:
    models = 1 if wanted == "auto" else wanted
    each = limit_mib + WORKER_MIB
    fitting = free_mib // each
    if models <= fitting:
        return fitting
    changes: list[Change] = [{"memory_mib": most}] if (most := free_mib // models - WORKER_MIB) > 0 else []
    changes += [{"max_concurrent": fitting}] if fitting else []
    raise DoesNotFitError(
        f"resources.memory_mib={limit_mib}: {models} × ({limit_mib} + {WORKER_MIB} of a worker) = {models * each} > "
        f"{free_mib} MiB of free host memory",
        *changes,
        {"memory_mib": "auto"},
    )
