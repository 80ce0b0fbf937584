"""Processes of this machine: their identity, state and descendants; and garbage collection in this one."""

from __future__ import annotations

import gc
import os
import signal
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil


def start_of(pid: int) -> int | None:
    """Start time of a process in clock ticks since boot, which with its number identifies it; None if there is none.

    psutil's `create_time` follows the wall clock: if that is set while a sweep runs, a worker that reported its start
    before would seem to have ended.

    Source: proc_pid_stat(5), field 22.
    """
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return None
    return int(stat.rpartition(")")[2].split()[19])


def is_running(pid: int) -> bool:
    """True for a process that still holds resources. A zombie does not, and its parent may be gone."""
    with suppress(psutil.NoSuchProcess):
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    return False


def is_same(pid: int, started: int) -> bool:
    """Whether the process that started then still runs."""
    return start_of(pid) == started and is_running(pid)


def send(pid: int, started: int, number: signal.Signals) -> None:
    """Sends a signal to the process that started then, unless it has ended and another has its number."""
    if start_of(pid) == started:
        with suppress(ProcessLookupError):
            os.kill(pid, number)


def private_mib(pids: Iterable[int]) -> dict[int, int]:
    """Host memory that each process has alone, MiB; of those that have ended, none."""
    found: dict[int, int] = {}
    for pid in pids:
        with suppress(psutil.NoSuchProcess, psutil.AccessDenied):
            found[pid] = psutil.Process(pid).memory_full_info().uss // 2**20
    return found


def descendants(pid: int) -> list[psutil.Process]:
    """All descendants of this process, each after its parent.

    psutil's `Process.children` raises AccessDenied if /proc hides other users' processes (`hidepid=1`), which
    cannot be descendants.
    """
    children: dict[int, list[psutil.Process]] = {}
    for process in psutil.process_iter():
        with suppress(psutil.NoSuchProcess, psutil.AccessDenied):
            children.setdefault(process.ppid(), []).append(process)
    found = list(children.get(pid, ()))
    for child in found:
        found += children.get(child.pid, ())
    return found


def kill(processes: Iterable[psutil.Process]) -> None:
    """Kills processes in this order; skips those that have ended or belong to another user."""
    for process in processes:
        with suppress(psutil.NoSuchProcess, psutil.AccessDenied):
            process.kill()


@contextmanager
def without_collecting() -> Iterator[None]:
    """Switches garbage collection off in all threads inside of it.

    For large imports: their objects stay, and the collector would scan them again and again as they grow, which is a
    sixth of the import time of TensorFlow and MLflow.
    """
    collects = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collects:
            gc.enable()
