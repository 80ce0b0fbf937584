"""One writer per sweep: the driver that trains it, or a later command that continues its work."""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from runner.errors import JournalError, SweepBusyError

FILE = "lock"


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """The right to write a sweep, for one process at a time.

    The kernel holds the lock, not the file: it always ends with the process, and a file that is left behind locks no
    other process out. Child processes do not inherit it.

    Args:
        folder: the sweep's folder.

    Raises:
        SweepBusyError: another process holds the lock.
        JournalError: the file is a link; its target is not touched.
    """
    file = _open(folder / FILE)
    try:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as err:
            owner = os.pread(file, 20, 0).decode("ascii", "replace").strip() or "unknown"
            raise SweepBusyError(
                f"sweep {folder.name} is in use by process {owner}; wait for its end, or stop it with Ctrl-C"
            ) from err
        os.ftruncate(file, 0)
        os.pwrite(file, f"{os.getpid()}\n".encode(), 0)
        yield
    finally:
        os.close(file)


def _open(path: Path) -> int:
    try:
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except OSError as err:
        if err.errno != errno.ELOOP:
            raise
        raise JournalError(f"{path}: is a link, and this program makes no links; remove it") from err
