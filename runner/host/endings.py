"""Waits for processes of this machine to end, and for the GPU memory that they held."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Mapping, Sequence

from runner.errors import FleetError, ShareTakenError
from runner.host.inventory import GpuUse, gpu_use
from runner.host.processes import is_same, send

_END_TIMEOUT_S = 10.0


def wait_until_gone(
    pid: int, started: int, timeout_s: float = _END_TIMEOUT_S, sleep: Callable[[float], None] = time.sleep
) -> None:
    """Waits for a process of this machine to end, and kills it after a tenth of the time.

    Args:
        pid: its number, which the kernel may have given to another process since.
        started: its start time, from `start_of`.
        timeout_s: most seconds to wait.
        sleep: waits for a number of seconds.

    Raises:
        FleetError: it still runs.
    """
    began = time.monotonic()
    while is_same(pid, started):
        waited = time.monotonic() - began
        if waited > timeout_s:
            raise FleetError(f"worker process {pid} did not end within {timeout_s:.0f} s after it was killed")
        if waited > timeout_s / 10:  # Ray cannot, if a signal has ended its processes too
            send(pid, started, signal.SIGKILL)
        sleep(0.01)


def wait_until_free(
    gpus: Sequence[str],
    share_mib: int,
    pid: int,
    timeout_s: float = _END_TIMEOUT_S,
    look: Callable[[Sequence[str]], Mapping[str, GpuUse]] = gpu_use,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Waits until a process that has ended holds no memory on these GPUs, and a share is free on each.

    The driver frees the memory a moment after the process ends. Without a GPU there is nothing to wait for.

    Args:
        gpus: their names in CUDA_VISIBLE_DEVICES.
        share_mib: memory that must be free, MiB.
        pid: the process that has ended; waits as long as the driver lists it.
        timeout_s: most seconds to wait.
        look: reads the use of GPUs.
        sleep: waits for a number of seconds.

    Raises:
        ShareTakenError: the share is not free.
    """
    began = time.monotonic()
    while held := {name: use for name, use in look(gpus).items() if pid in use.processes or use.free_mib < share_mib}:
        if time.monotonic() - began > timeout_s:
            short = [f"{use.free_mib} MiB free on GPU {n}" for n, use in held.items() if use.free_mib < share_mib]
            if short:
                raise ShareTakenError(
                    f"a worker needs {share_mib} MiB, and {timeout_s:.0f} s after the end of process {pid}, which had "
                    f"them, there are {', '.join(short)}: another process has taken GPU memory (nvidia-smi lists them)"
                )
            return  # another process has got that number
        sleep(0.05)
