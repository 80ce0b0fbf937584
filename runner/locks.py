"""Locks between processes of a machine, held by the kernel: a lock ends with its process, however that ends."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

FOLDER = os.O_RDONLY | os.O_DIRECTORY


@contextmanager
def lock(path: Path, flags: int, *, wait: bool = False) -> Iterator[int]:
    """Locks a file or folder for this process.

    The path is not removed, and its presence locks nothing. Processes that this one starts do not inherit the lock.

    Args:
        path: what to lock.
        flags: of `os.open`, `FOLDER` for a folder. A new file is this user's alone.
        wait: until another process gives the lock back.

    Yields:
        The descriptor of what is locked.

    Raises:
        BlockingIOError: another process has it, and `wait` is false.
        OSError: the path cannot be opened.
    """
    descriptor = os.open(path, flags | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield descriptor
    finally:
        os.close(descriptor)
