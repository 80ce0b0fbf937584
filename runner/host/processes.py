"""Processes of this machine, from Linux's /proc: which is which, and which are below another."""

from __future__ import annotations

import contextlib
from pathlib import Path


def start_of(pid: int) -> int | None:
    """When a process began, in ticks since the machine did: with its number, its identity. None where there is none."""
    stat = stat_of(pid)
    return int(stat[19]) if stat else None


def stat_of(pid: int) -> list[str]:
    """The process' state and what follows it, as proc_pid_stat(5) lists it from the third field; empty for none."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return []
    return stat.rpartition(")")[2].split()


def descendants(pid: int) -> list[int]:
    """All processes below this one, each after its parent."""
    children: dict[int, list[int]] = {}
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(PermissionError):  # somebody else's, where /proc hides them
            if stat := stat_of(int(folder.name)):
                children.setdefault(int(stat[1]), []).append(int(folder.name))
    found = list(children.get(pid, []))
    for child in found:
        found += children.get(child, [])
    return found
