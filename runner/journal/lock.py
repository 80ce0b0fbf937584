"""One writer for each sweep: the driver that trains it, or a command that goes on with what it left."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from runner.errors import SweepBusyError

FILE = "lock"


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """The right to write a sweep, for one process at a time.

    The kernel holds it, not the file: it ends with the process, however that ends, and a file left behind locks nobody
    out. Processes that this one starts do not inherit it.

    Args:
        folder: the sweep's folder.

    Raises:
        SweepBusyError: another process has it.
    """
    file = os.open(folder / FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as err:
            owner = os.pread(file, 20, 0).decode("ascii", "replace").strip() or "unknown"
            raise SweepBusyError(
                f"sweep {folder.name} is still at work in process {owner}; wait for its end, or stop it with Ctrl-C"
            ) from err
        os.ftruncate(file, 0)
        os.pwrite(file, f"{os.getpid()}\n".encode(), 0)
        yield
    finally:
        os.close(file)
