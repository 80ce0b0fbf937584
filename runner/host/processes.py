"""Processes of this machine: their identity, their state, those below another; and this one without collecting."""

from __future__ import annotations

import gc
import os
import signal
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil


def start_of(pid: int) -> int | None:
    """When a process began, in clock ticks since boot; None if it does not exist. With its number, its identity.

    psutil's `create_time` counts from the wall clock. If that is set while a sweep runs, a worker that told its time
    before would seem to have ended.

    Source: proc_pid_stat(5), field 22.
    """
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return None
    return int(stat.rpartition(")")[2].split()[19])


def is_running(pid: int) -> bool:
    """Whether a process still holds anything: a zombie does not, and its parent may be gone."""
    with suppress(psutil.NoSuchProcess):
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    return False


def send(pid: int, started: int, number: signal.Signals) -> None:
    """Sends a signal to the process that began then; it may have ended, and another may have its number."""
    if start_of(pid) == started:
        with suppress(ProcessLookupError):
            os.kill(pid, number)


def below(pid: int) -> list[psutil.Process]:
    """All processes below this one, each after its parent."""
    with suppress(psutil.NoSuchProcess):
        return list(psutil.Process(pid).children(recursive=True))
    return []


def kill(processes: Iterable[psutil.Process]) -> None:
    """Kills processes, in this order; those that have ended or belong to another user are left out."""
    for process in processes:
        with suppress(psutil.NoSuchProcess, psutil.AccessDenied):
            process.kill()


@contextmanager
def without_collecting() -> Iterator[None]:
    """Disables garbage collection in this process.

    For large imports: their modules stay, and Python would search all of them again and again as their number grows.
    Without that, TensorFlow and MLflow are imported in five sixths of the time.
    """
    collects = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collects:
            gc.enable()
