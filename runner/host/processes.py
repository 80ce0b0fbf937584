"""Identity and descendants of processes, read from Linux's /proc; garbage collection of this process."""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Iterator
from pathlib import Path


def start_of(pid: int) -> int | None:
    """Start time of a process in clock ticks since boot, which with its number identifies it; None if there is none."""
    stat = stat_of(pid)
    return int(stat[19]) if stat else None


def stat_of(pid: int) -> list[str]:
    """The fields of proc_pid_stat(5) from the third, the state, on; empty if there is no such process."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return []
    return stat.rpartition(")")[2].split()


def descendants(pid: int) -> list[int]:
    """All descendants of this process, each after its parent."""
    children: dict[int, list[int]] = {}
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(PermissionError):  # another user's, if /proc hides them
            if stat := stat_of(int(folder.name)):
                children.setdefault(int(stat[1]), []).append(int(folder.name))
    found = list(children.get(pid, []))
    for child in found:
        found += children.get(child, [])
    return found


@contextlib.contextmanager
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
