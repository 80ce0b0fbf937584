"""Folders for sockets that are this user's alone; those that killed processes left behind are removed."""

from __future__ import annotations

import os
import platform
import shutil
import tempfile
from collections.abc import Collection, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from runner.locks import FOLDER, lock

_MARK = "made-by"


@contextmanager
def private_folder(parent: Path, prefix: str, names: Collection[str]) -> Iterator[Path]:
    """A new locked folder, which is removed at the end; removes those left behind first.

    Args:
        parent: where it is made.
        prefix: of its name. Short, because paths of sockets begin with it and have at most 107 characters.
        names: of everything that may be in it; a folder with other files is left alone.
    """
    for left in parent.glob(f"{prefix}*"):
        with _locked(left) as free:
            if free and is_ours(left, names):
                shutil.rmtree(left, ignore_errors=True)
    # Gets its final name only once it is locked, because another process may be removing folders left behind.
    new = Path(tempfile.mkdtemp(prefix=f".{prefix}", dir=parent))
    (new / _MARK).write_bytes(_machine())
    with _locked(new) as locked:
        private = new.rename(parent / new.name.removeprefix(".")) if locked else new
        try:
            yield private
        finally:
            shutil.rmtree(private, ignore_errors=True)  # files that are open go with their processes


def is_ours(folder: Path, names: Collection[str]) -> bool:
    """Whether this program made the folder on this machine and it has no other files.

    Machines that share a folder for temporary files may not see each other's locks.
    """
    try:
        found = {path.name for path in folder.iterdir()}
        return found <= {_MARK, *names} and (folder / _MARK).read_bytes() == _machine()
    except OSError:  # no mark, or another process has just removed the folder
        return False


def _machine() -> bytes:
    """Identifies this machine since its last boot."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_bytes()
    except OSError:  # not Linux
        return platform.node().encode()


@contextmanager
def _locked(folder: Path) -> Iterator[bool]:
    """Locks a folder until the context or this process ends; yields whether it could.

    False if another user owns the folder, another process has locked it, or it has been removed.
    """
    with ExitStack() as closing:
        try:
            descriptor = closing.enter_context(lock(folder, FOLDER | os.O_NOFOLLOW))
        except OSError:
            is_own = False
        else:
            is_own = os.fstat(descriptor).st_uid == os.getuid()
        yield is_own
