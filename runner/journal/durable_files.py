"""Files beside the journal: whole or absent, whatever happens, and within the sweep's folder."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from runner.errors import JournalError

STAGING = "staging"


def own_file(folder: Path, name: str) -> Path:
    """The path of a file in a sweep's folder, which may be someone else's work: no link below it leads elsewhere.

    Args:
        folder: the sweep's folder; may itself be a link.
        name: relative to it; the file need not exist.

    Raises:
        JournalError: the name is a link or leads through one.
    """
    path = folder / name
    if path.resolve() != folder.resolve() / name:
        raise JournalError(f"{path}: is a link or leads through one; a sweep's files lie in its own folder")
    return path


def write_durably(path: Path, content: bytes) -> None:
    """Writes a file that is complete under its name, also after a power cut: flushed, then renamed.

    Args:
        path: the file; one that exists is replaced.
        content: all of it.

    Raises:
        OSError: nothing was changed.
    """
    partial = path.with_name(path.name + ".partial")
    try:
        with open(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600), "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        partial.rename(path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def move_durably(source: Path, path: Path) -> None:
    """Gives a file that another process has written its name, flushed first; one that has the name is replaced.

    Args:
        source: on the same file system.
        path: its name from now on.

    Raises:
        OSError: the source is a link, say; nothing was changed.
    """
    descriptor = os.open(source, os.O_RDONLY | os.O_NOFOLLOW)
    try:
        os.fchmod(descriptor, 0o600)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    source.rename(path)
    sync_folder(path.parent)


def staging_folder(folder: Path) -> Path:
    """An empty folder within a sweep's, private to the user, for files that are not yet what they are to become.

    Raises:
        JournalError: it cannot be made, or is a link.
    """
    shutil.rmtree(own_file(folder, STAGING), ignore_errors=True)
    return open_staging(folder)


def open_staging(folder: Path) -> Path:
    """The absolute path of the same folder, with what is in it.

    Raises:
        JournalError: it cannot be made, or is a link.
    """
    path = own_file(folder, STAGING)
    try:
        path.mkdir(mode=0o700, exist_ok=True)
    except OSError as err:
        raise JournalError(f"{path}: cannot be made: {err.strerror}") from err
    return path.absolute()


def sync_folder(folder: Path) -> None:
    """Flushes a folder's list of names: until then a power cut may undo a rename or a new file."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
