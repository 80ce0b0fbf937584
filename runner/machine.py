"""What this machine has to share: CPUs, memory, NVIDIA GPUs and whether MPS serves them."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from runner.mps import is_serving
from runner.placement import Gpu, Machine

_MIB = 1024 * 1024
_MEMORY = Path("/proc/meminfo")
_CONTAINER = Path("/sys/fs/cgroup")


@dataclass(frozen=True, kw_only=True, slots=True)
class GpuUse:
    """What a GPU's memory is used for now.

    Args:
        free_mib: taken by no process, MiB.
        processes: MiB by the ids of the processes that compute there, as the driver counts them: in a container these
            may be other numbers. 0 where the driver does not say.
    """

    free_mib: int
    processes: Mapping[int, int]


def this_machine() -> Machine:
    """CPUs this process may use, host memory, and the GPUs that the NVIDIA driver shows and the environment allows."""
    pages, page = os.sysconf("SC_PHYS_PAGES"), os.sysconf("SC_PAGE_SIZE")
    gpus = gpus_of(os.environ)
    return Machine(
        cpus=len(os.sched_getaffinity(0)),
        memory_mib=pages * page // _MIB,
        free_memory_mib=free_memory_mib(),
        gpus=gpus,
        mps=bool(gpus) and is_serving(os.environ),
    )


def free_memory_mib(memory: Path = _MEMORY, container: Path = _CONTAINER) -> int:
    """Host memory that can still be taken: the kernel's estimate, and what a container's limit leaves."""
    lines = dict(line.split(":", 1) for line in memory.read_text(encoding="utf-8").splitlines() if ":" in line)
    free = int(lines["MemAvailable"].split()[0]) // 1024
    try:
        limit, used = ((container / name).read_text(encoding="utf-8") for name in ("memory.max", "memory.current"))
        return min(free, max(0, int(limit) - int(used)) // _MIB)
    except (OSError, ValueError):  # no container, or one without a limit ("max")
        return free


def driver_version() -> str | None:
    """The NVIDIA driver's version; None without one."""
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
    except pynvml.NVMLError:  # no driver, no GPU
        return ()
    try:
        handles = _visible(pynvml, environ.get("CUDA_VISIBLE_DEVICES"))
        return tuple(_gpu(pynvml, name, handle) for name, handle in handles)
    finally:
        pynvml.nvmlShutdown()


def gpu_use(names: Iterable[str]) -> dict[str, GpuUse]:
    """The use of GPUs by their names in CUDA_VISIBLE_DEVICES; none of those that the driver does not show."""
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
    try:
        found = pynvml.nvmlDeviceGetComputeRunningProcesses(handle)
    except pynvml.NVMLError:  # a part of a GPU may not tell its processes
        found = []
    processes = {int(process.pid): (process.usedGpuMemory or 0) // _MIB for process in found}
    return GpuUse(free_mib=pynvml.nvmlDeviceGetMemoryInfo(handle).free // _MIB, processes=processes)


def _visible(pynvml: Any, visible: str | None) -> list[tuple[str, Any]]:
    """Names and handles of the devices that CUDA_VISIBLE_DEVICES lists; NVML itself shows all of them.

    As CUDA reads it: indices, beginnings of UUIDs ("GPU-", "MIG-"); the first name that is none ends the list.

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
    )
