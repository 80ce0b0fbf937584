"""One writer for each sweep: the driver that trains it, or a command that goes on with what it left."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from runner.errors import JournalError, SweepBusyError
from runner.locks import lock

FILE = "lock"


def is_locked(folder: Path) -> bool:
    """Whether a process trains the sweep, or goes on with it."""
    try:
        with lock(folder / FILE, os.O_RDWR | os.O_NOFOLLOW):
            return False
    except BlockingIOError:
        return True
    except FileNotFoundError:
        return False


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Locks a sweep for this process, which alone may then write to it.

    The lock ends with the process, however that ends: a file left behind locks nothing. The file names the process.

    Args:
        folder: the sweep's folder.

    Raises:
        SweepBusyError: another process has the lock.
        JournalError: the file is a link; its target is left unchanged.
    """
    path = folder / FILE
    with ExitStack() as held:
        try:
            file = held.enter_context(lock(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW))
        except BlockingIOError as err:
            owner = path.read_bytes()[:20].decode("ascii", "replace").strip() or "unknown"
            raise SweepBusyError(
                f"sweep {folder.name} is in use by process {owner}; wait for its end, or stop it with Ctrl-C"
            ) from err
        except OSError as err:
            if err.errno != errno.ELOOP:
                raise
            raise JournalError(f"{path}: is a link, which this program did not make; remove it") from err
        os.ftruncate(file, 0)
        os.pwrite(file, f"{os.getpid()}\n".encode(), 0)
        yield
