"""What this machine has to share: CPUs, memory, NVIDIA GPUs and whether MPS serves them."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from runner.host import cgroups
from runner.host.mps import mps_of
from runner.placement import Gpu, Machine

_MIB = 1024 * 1024
_MEMORY = Path("/proc/meminfo")
_DRIVER = (Path("/proc/driver/nvidia"), Path("/dev/nvidia0"))


@dataclass(frozen=True, kw_only=True, slots=True)
class GpuUse:
    """Use of a GPU's memory now.

    Args:
        free_mib: free memory, MiB.
        processes: memory of each process that computes there, MiB, by process id as the driver counts: in a container
            the ids may differ. 0 if the driver does not report it.
    """

    free_mib: int
    processes: Mapping[int, int]


def this_machine() -> Machine:
    """CPUs this process may use, host memory, and the GPUs that the NVIDIA driver shows and the environment allows."""
    pages, page = os.sysconf("SC_PHYS_PAGES"), os.sysconf("SC_PAGE_SIZE")
    gpus = gpus_of(os.environ)
    return Machine(
        cpus=min(len(os.sched_getaffinity(0)), cgroups.cpus() or sys.maxsize),
        memory_mib=pages * page // _MIB,
        free_memory_mib=free_memory_mib(),
        gpus=gpus,
        mps=mps_of(os.environ, gpus),
    )


def free_memory_mib() -> int:
    """Free host memory, MiB: the smaller of the kernel's estimate and what the container's limit leaves."""
    lines = dict(line.split(":", 1) for line in _MEMORY.read_text(encoding="utf-8").splitlines() if ":" in line)
    free, left = int(lines["MemAvailable"].split()[0]) // 1024, cgroups.memory_left_mib()
    return free if left is None else min(free, left)


def driver_problem() -> str | None:
    """Why the NVIDIA driver of this machine does not answer; None if it answers or there is none."""
    import pynvml

    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError as err:
        return str(err) if any(path.exists() for path in _DRIVER) else None
    pynvml.nvmlShutdown()
    return None


def driver_version() -> str | None:
    """The NVIDIA driver's version; None if no driver answers."""
    import pynvml

    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return None
    try:
        return str(pynvml.nvmlSystemGetDriverVersion())
    finally:
        pynvml.nvmlShutdown()


def gpus_of(environ: Mapping[str, str]) -> tuple[Gpu, ...]:
    """The GPUs in the order in which CUDA and Ray count them under this environment."""
    import pynvml

    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:  # no GPU, or `driver_problem`
        return ()
    try:
        handles = _visible(pynvml, environ.get("CUDA_VISIBLE_DEVICES"))
        return tuple(_gpu(pynvml, name, handle) for name, handle in handles)
    finally:
        pynvml.nvmlShutdown()


def gpu_use(names: Iterable[str]) -> dict[str, GpuUse]:
    """Memory use of GPUs by their names in CUDA_VISIBLE_DEVICES; GPUs that the driver does not show are left out."""
    import pynvml

    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return {}
    try:
        return {name: _use(pynvml, handle) for name, handle in _visible(pynvml, ",".join(names))}
    finally:
        pynvml.nvmlShutdown()


def _use(pynvml: Any, handle: Any) -> GpuUse:
    found = []
    for ask in (pynvml.nvmlDeviceGetComputeRunningProcesses, pynvml.nvmlDeviceGetMPSComputeRunningProcesses):
        with suppress(pynvml.NVMLError):  # a MIG instance may not list its processes
            found += ask(handle)
    processes = {int(process.pid): (process.usedGpuMemory or 0) // _MIB for process in found}
    return GpuUse(free_mib=pynvml.nvmlDeviceGetMemoryInfo(handle).free // _MIB, processes=processes)


def _visible(pynvml: Any, visible: str | None) -> list[tuple[str, Any]]:
    """Names and handles of the devices that CUDA_VISIBLE_DEVICES lists; NVML itself shows all of them.

    As CUDA reads it: indices, or prefixes of UUIDs ("GPU-", "MIG-"); the first invalid name ends the list.

    Source: https://docs.nvidia.com/cuda/cuda-c-programming-guide/index.html#cuda-environment-variables
    """
    every = [(str(index), pynvml.nvmlDeviceGetHandleByIndex(index)) for index in range(pynvml.nvmlDeviceGetCount())]
    if visible is None:
        return every
    found: list[tuple[str, Any]] = []
    for name in (part.strip() for part in visible.split(",")):
        if name.startswith("MIG-"):
            handle = _by_uuid(pynvml, name)
        elif name.startswith("GPU-"):
            handle = next((h for _, h in every if pynvml.nvmlDeviceGetUUID(h).startswith(name)), None)
        else:
            handle = dict(every).get(name)
        if handle is None:
            break
        found.append((name, handle))
    return found


def _by_uuid(pynvml: Any, uuid: str) -> Any:
    try:
        return pynvml.nvmlDeviceGetHandleByUUID(uuid)
    except pynvml.NVMLError:
        return None


def _gpu(pynvml: Any, name: str, handle: Any) -> Gpu:
    memory = pynvml.nvmlDeviceGetMemoryInfo(handle)
    return Gpu(
        id=name,
        uuid=pynvml.nvmlDeviceGetUUID(handle),
        name=pynvml.nvmlDeviceGetName(handle),
        memory_mib=memory.total // _MIB,
        free_mib=memory.free // _MIB,
        mig=name.startswith("MIG-") or _is_divided(pynvml, handle),
    )


def _is_divided(pynvml: Any, handle: Any) -> bool:
    """Whether MIG divides a GPU; most GPUs do not know of it."""
    with suppress(pynvml.NVMLError):
        return bool(pynvml.nvmlDeviceGetMigMode(handle)[0])
    return False
