"""Finds why a worker's process died: out of memory, out of disk space, `os._exit` in its own code, or a crash."""

from __future__ import annotations

import re
import shutil
from dataclasses import dataclass, replace
from pathlib import Path

from ray.exceptions import ObjectStoreFullError, OutOfDiskError, OutOfMemoryError, RayError

from runner.errors import DISK_ERRNOS
from runner.fleet.ray.patches import session_folder
from runner.texts.excerpt import beginning_and_end
from runner.worker.exits import EXIT

_VMSTAT = Path("/proc/vmstat")
_TAIL = 8192  # characters at the end of a worker's standard error
_NO_MEMORY = ("std::bad_alloc", "Cannot allocate memory", "MemoryError")
_SHARED_MEMORY = Path("/dev/shm")
_MIN_FREE = 256 * 1024  # bytes
_NO_STACK = "Resource temporarily unavailable"  # no memory for a new thread, in a process at its limit
_EXIT = re.compile(rf"^{re.escape(EXIT)}(-?\d+)$", re.MULTILINE)
_CRASH = re.compile(r"^Fatal Python error: (.+)$", re.MULTILINE)  # written by faulthandler, which Ray enables


@dataclass(frozen=True, kw_only=True, slots=True)
class Death:
    """The known causes of a worker's death.

    Args:
        cause: a clause that states the cause; empty if it is unknown.
        of_memory: the worker ran out of memory.
        output: what the worker printed since its last answer.
        of_space: a disk or shared memory was full.
    """

    cause: str = ""
    of_memory: bool = False
    output: str = ""
    of_space: bool = False


class KernelKills:
    """Counts kills by this machine's out-of-memory killer, because a killed process has no other trace of it.

    The kernel counts its victims but does not name them. A worker that dies after the count has risen is considered
    one of them.

    Source: proc(5), `oom_kill` in /proc/vmstat; it includes kills at limits of control groups.
    """

    def __init__(self, file: Path = _VMSTAT) -> None:
        self._file = file
        self._seen = self._count()

    def since_marked(self) -> int:
        """Number of processes killed since the last mark."""
        return self._count() - self._seen

    def mark(self) -> None:
        """Sets the mark; called when all workers have just answered, so that earlier kills were none of them."""
        self._seen = self._count()

    def _count(self) -> int:
        lines = self._file.read_text(encoding="ascii").splitlines()
        return next((int(line.split()[1]) for line in lines if line.startswith("oom_kill ")), 0)


def explain(err: RayError, pid: int | None, kernel: KernelKills | None, limited: bool) -> Death:
    """Finds why a worker was lost.

    Args:
        err: Ray's error for the call to the worker.
        pid: the worker's process; None if it was on another machine.
        kernel: kills on the worker's machine; None for another machine, whose count is not known.
        limited: whether the worker's host memory had a limit.
    """
    output = "" if pid is None else _output(pid)
    if (full := _full(err, here=pid is not None)) is not None:
        return Death(of_space=True, cause=full, output=output)
    return replace(_cause(err, output[-_TAIL:], kernel, limited), output=output)


def _cause(err: RayError, stderr: str, kernel: KernelKills | None, limited: bool) -> Death:
    if isinstance(err, OutOfMemoryError):
        return Death(of_memory=True, cause="Ray's memory monitor has ended it")
    if isinstance(getattr(err, "cause", None), MemoryError):
        return Death(of_memory=True, cause="it had too little memory for the call")
    if found := _EXIT.search(stderr):
        return Death(cause=f"its code has ended the process by os._exit, exit code {found[1]}")
    if kernel is not None and (kills := kernel.since_marked()) > 0:
        victims = f"{kills} process{'es' * (kills > 1)} here since its last turn"
        return Death(of_memory=True, cause=f"the kernel's out-of-memory killer has ended {victims}")
    out_of_memory = (*_NO_MEMORY, _NO_STACK) if limited else _NO_MEMORY
    for text in out_of_memory:
        if text in stderr:
            return Death(of_memory=True, cause=f"the end of its standard error has {text!r}")
    if found := _CRASH.search(stderr):
        return Death(cause=f"its process has crashed: {found[1]}")
    return Death()


def _full(err: RayError, here: bool) -> str | None:
    """States that a disk, shared memory or Ray's object store was full; None if nothing indicates it.

    A process that writes to full shared memory dies by SIGBUS without a message.
    """
    if any(isinstance(each, ObjectStoreFullError | OutOfDiskError) for each in (err, getattr(err, "cause", None))):
        return "Ray's object store is full"
    if isinstance(cause := getattr(err, "cause", None), OSError) and cause.errno in DISK_ERRNOS:
        return "a disk of its machine is full, over quota or read-only"
    for folder in (_SHARED_MEMORY, session_folder()) if here else ():
        if folder is not None and folder.is_dir() and shutil.disk_usage(folder).free < _MIN_FREE:
            return f"{folder}, where Ray keeps its objects and logs, is full"
    return None


def _output(pid: int) -> str:
    """What a worker of a Ray started here wrote to its standard error since its last answer."""
    session = session_folder()
    found = [] if session is None else sorted((session / "logs").glob(f"worker-*-{pid}.err"))
    return beginning_and_end(found[-1]).decode(errors="backslashreplace") if found else ""
