"""Makes a new process a worker: sets its limits, then imports TensorFlow, and Keras without optional packages."""

from __future__ import annotations

import gc
import os
import resource
import sys
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

from runner.errors import FleetError
from runner.host.mps import PIPES
from runner.host.processes import start_of, without_collecting
from runner.records import Allocation
from runner.worker.lean import Deferral

# Keras imports each of these if it is installed and works without it; together they double its import time.
_OPTIONAL_IMPORTS = ("jax", "matplotlib", "pandas", "pyarrow", "scipy", "sklearn")


@dataclass(frozen=True, kw_only=True, slots=True)
class Device:
    """What a worker has after it has applied its allocation.

    Args:
        pid: the process' number.
        started: when the process began, in ticks since the machine started; with `pid` it identifies the process.
        gpus: names of the GPUs that TensorFlow sees.
        gpu_memory_mib: the memory limit in force on each GPU; None without a GPU.
        threads: TensorFlow's intra-op and inter-op threads.
        visible_devices: CUDA_VISIBLE_DEVICES of the process.
    """

    pid: int
    started: int
    gpus: tuple[str, ...]
    gpu_memory_mib: int | None
    threads: int
    visible_devices: str | None


def configure(allocation: Allocation) -> Device:
    """Imports TensorFlow and applies the allocation before it initialises its devices.

    Raises:
        FleetError: the limits cannot be applied: TensorFlow sees no GPU, or was initialised before.
    """
    import_tensorflow(allocation)
    import tensorflow as tf

    device = apply_limits(tf, allocation)
    if allocation.memory_mib is not None:
        _limit_memory(allocation.memory_mib)
    return device


def import_tensorflow(allocation: Allocation) -> None:
    """Imports TensorFlow, with the environment of the allocation, and initialises no device."""
    os.environ |= environment(allocation)
    is_first = "tensorflow" not in sys.modules
    with Deferral(_OPTIONAL_IMPORTS).hidden(), without_collecting():
        import keras  # noqa: F401
        import tensorflow  # noqa: F401
    if is_first:
        gc.freeze()  # modules stay, so that no later garbage collection visits them


def environment(allocation: Allocation) -> dict[str, str]:
    """Environment variables that TensorFlow and CUDA read when they start.

    Sources:
        https://docs.nvidia.com/cuda/cuda-c-programming-guide/index.html#cuda-environment-variables
        https://docs.nvidia.com/deploy/mps/index.html#cuda-mps-active-thread-percentage
    """
    found = {
        "TF_CPP_MIN_LOG_LEVEL": os.environ.get("TF_CPP_MIN_LOG_LEVEL", "3"),  # errors are exceptions too
        "KERAS_BACKEND": "tensorflow",
        # Without GPUs in the allocation all are hidden, because TensorFlow would take every one.
        "CUDA_VISIBLE_DEVICES": ",".join(allocation.gpus) or "-1",
        "CUDA_DEVICE_ORDER": "PCI_BUS_ID",  # the order of NVML, with which the slots were planned
        # TensorFlow's other allocators have no limit, and one that grows does not show what the limit takes.
        "TF_GPU_ALLOCATOR": "",
        "TF_FORCE_GPU_ALLOW_GROWTH": "false",
    }
    if allocation.mps == "off":
        found[PIPES] = os.devnull  # no folder: CUDA finds no daemon there
    if allocation.mps_thread_percentage is not None:
        found["CUDA_MPS_ACTIVE_THREAD_PERCENTAGE"] = str(allocation.mps_thread_percentage)
    return found


def apply_limits(tf: ModuleType, allocation: Allocation) -> Device:
    """Sets threads and, on each GPU of the allocation, the memory limit.

    Args:
        tf: TensorFlow, imported and not initialised.
        allocation: of the worker's slot.

    Raises:
        FleetError: as `configure`.

    Source: https://www.tensorflow.org/guide/gpu#limiting_gpu_memory_growth
    """
    try:
        tf.config.threading.set_intra_op_parallelism_threads(allocation.threads)
        tf.config.threading.set_inter_op_parallelism_threads(allocation.threads)
    except RuntimeError as err:
        have = tf.config.threading.get_intra_op_parallelism_threads()
        if have != allocation.threads:
            raise FleetError(
                f"TensorFlow already runs with {have} intra-op threads in this process, the slot needs "
                f"{allocation.threads}; start the sweep in a fresh process or use fleet.kind=ray"
            ) from err
    gpus = tuple(tf.config.list_physical_devices("GPU")) if allocation.gpus else ()
    if len(gpus) != len(allocation.gpus):
        raise FleetError(
            f"the slot has GPU {', '.join(allocation.gpus)}, TensorFlow sees {len(gpus)} GPUs; "
            "python -m runner doctor shows why, resources.num_gpus=0 trains on the CPU"
        )
    if allocation.gpu_memory_mib is not None:
        limit = tf.config.LogicalDeviceConfiguration(memory_limit=allocation.gpu_memory_mib)
        for gpu in gpus:
            tf.config.set_logical_device_configuration(gpu, [limit])
    return Device(
        pid=os.getpid(),
        started=start_of(os.getpid()) or 0,
        gpus=tuple(gpu.name for gpu in gpus),
        gpu_memory_mib=allocation.gpu_memory_mib if gpus else None,
        threads=allocation.threads,
        visible_devices=os.environ.get("CUDA_VISIBLE_DEVICES"),
    )


def _limit_memory(more_mib: int) -> None:
    """Limits this process to the memory that it has now and `more_mib` MiB; shared memory does not count.

    Then TensorFlow's allocator raises `ResourceExhaustedError`. Code that does not expect it may end the process.

    Source: getrlimit(2), RLIMIT_DATA
    """
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    (data_kib,) = (int(line.split()[1]) for line in status.splitlines() if line.startswith("VmData:"))
    limit = data_kib * 1024 + more_mib * 1024 * 1024
    resource.setrlimit(resource.RLIMIT_DATA, (limit, resource.getrlimit(resource.RLIMIT_DATA)[1]))


def peak_memory_mib() -> float:
    """Peak resident memory of this process, MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
