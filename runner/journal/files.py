"""Files beside the journal: whole or absent, whatever happens, and within the sweep's folder."""

from __future__ import annotations

import os
from pathlib import Path

from runner.errors import JournalError


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


def sync_folder(folder: Path) -> None:
    """Flushes a folder's list of names: until then a power cut may undo a rename or a new file."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
