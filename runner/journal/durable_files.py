"""Files beside the journal: complete or absent after any crash, and inside the sweep's folder."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from runner.errors import JournalError

STAGING = "staging"


REPORT = "report.html"  # in a sweep's folder: the page of all figures


def own_file(folder: Path, name: str) -> Path:
    """The path of a file in a sweep's folder, checked not to lead out of it: another user may have packed the folder.

    Args:
        folder: the sweep's folder; may itself be a link.
        name: relative to the folder; the file need not exist.

    Raises:
        JournalError: the name is a link or leads through one.
    """
    path = folder / name
    if path.resolve() != folder.resolve() / name:
        raise JournalError(f"{path}: is a link or leads through one; a sweep's files lie in its own folder")
    return path


def write_durably(path: Path, content: bytes) -> None:
    """Writes a file so that even after a power cut it is complete: flushes it, then gives it its name.

    Args:
        path: the file; an existing one is replaced.
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
    """Flushes a file that another process has written, and then moves it.

    Args:
        source: on the same file system.
        path: its new name; an existing file is replaced.

    Raises:
        OSError: the source is a link, for example; nothing was changed.
    """
    _sync(source, os.O_NOFOLLOW, mode=0o600)
    source.rename(path)
    sync_folder(path.parent)


def put_durably(path: Path, content: bytes | Path) -> None:
    """Gives content its place: writes bytes, moves a file from the same file system.

    Raises:
        OSError: nothing was changed.
    """
    if isinstance(content, Path):
        move_durably(content, path)
    else:
        write_durably(path, content)


def staging_folder(folder: Path) -> Path:
    """Makes an empty folder in a sweep's folder, private to the user, for files that are not complete yet.

    Raises:
        JournalError: the folder cannot be made, or is a link.
    """
    shutil.rmtree(own_file(folder, STAGING), ignore_errors=True)
    return open_staging(folder)


def open_staging(folder: Path) -> Path:
    """The absolute path of the same folder; keeps what is in it.

    Raises:
        JournalError: the folder cannot be made, or is a link.
    """
    path = own_file(folder, STAGING)
    try:
        path.mkdir(mode=0o700, exist_ok=True)
    except OSError as err:
        raise JournalError(f"{path}: cannot be made: {err.strerror}") from err
    return path.absolute()


def sync_folder(folder: Path) -> None:
    """Flushes a folder's list of names, because until then a power cut may undo a rename or a new file."""
    _sync(folder, os.O_DIRECTORY)


def _sync(path: Path, flags: int, mode: int | None = None) -> None:
    descriptor = os.open(path, os.O_RDONLY | flags)
    try:
        if mode is not None:
            os.fchmod(descriptor, mode)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
