"""Worker processes of this machine: whether they live, and their certain end."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

from runner.errors import FleetError

_END_TIMEOUT_S = 10.0


def wait_until_gone(pid: int, timeout_s: float = _END_TIMEOUT_S, sleep: Callable[[float], None] = time.sleep) -> None:
    """Waits for a process of this machine to end, and after a tenth of the time kills it.

    Raises:
        FleetError: it is still there.
    """
    began = time.monotonic()
    while is_running(pid):
        waited = time.monotonic() - began
        if waited > timeout_s:
            raise FleetError(f"worker process {pid} did not end within {timeout_s:.0f} s after it was killed")
        if waited > timeout_s / 10:  # Ray cannot do it any more, where a signal has ended its own processes too
            send(pid, signal.SIGKILL)
        sleep(0.01)


def send(pid: int, number: signal.Signals) -> None:
    """Sends a signal to a process that may have ended."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def is_running(pid: int) -> bool:
    """True for a process that still holds something: a zombie does not, and its parent may be gone."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8")
    except (FileNotFoundError, ProcessLookupError):
        return False
    return stat.rpartition(")")[2].split()[0] != "Z"
