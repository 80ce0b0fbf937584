"""What this machine has to share: CPUs, memory, NVIDIA GPUs."""

from __future__ import annotations

import os

from runner.placement import Gpu, Machine

_MIB = 1024 * 1024


def this_machine() -> Machine:
    """CPUs this process may use, physical memory, and the GPUs that the NVIDIA driver shows."""
    pages, page = os.sysconf("SC_PHYS_PAGES"), os.sysconf("SC_PAGE_SIZE")
    return Machine(cpus=len(os.sched_getaffinity(0)), memory_mib=pages * page // _MIB, gpus=_gpus())


def _gpus() -> tuple[Gpu, ...]:
    import pynvml

    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:  # no driver, no GPU
        return ()
    try:
        return tuple(_gpu(index) for index in range(pynvml.nvmlDeviceGetCount()) if _is_visible(index))
    finally:
        pynvml.nvmlShutdown()


def _is_visible(index: int) -> bool:
    """Whether CUDA_VISIBLE_DEVICES lets this process, and so Ray, have the GPU; NVML itself shows all of them."""
    from pynvml import nvmlDeviceGetHandleByIndex, nvmlDeviceGetUUID

    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is None:
        return True
    uuid = nvmlDeviceGetUUID(nvmlDeviceGetHandleByIndex(index))
    names = [name.strip() for name in visible.split(",")]
    return any(name == str(index) or (name.startswith("GPU-") and uuid.startswith(name)) for name in names)


def _gpu(index: int) -> Gpu:
    from pynvml import nvmlDeviceGetHandleByIndex, nvmlDeviceGetMemoryInfo, nvmlDeviceGetName

    handle = nvmlDeviceGetHandleByIndex(index)
    return Gpu(index=index, name=nvmlDeviceGetName(handle), memory_mib=nvmlDeviceGetMemoryInfo(handle).total // _MIB)
