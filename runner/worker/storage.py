"""Recognises errors of a full or read-only disk, and moves Keras' temporary files."""

from __future__ import annotations

import re
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from runner.errors import DISK_ERRNOS
from runner.worker.error_text import text_of
from runner.worker.oom import chain_of

# TensorFlow, HDF5 and sqlite have errors of their own, which only their texts identify.
_WORDS = re.compile(
    r"No space left on device|Disk quota exceeded|Read-only file system|No usable temporary directory found|"
    r"database or disk is full"
)


def is_out_of_space(err: BaseException) -> bool:
    """Whether an error, or one of its causes, says that a disk is full or cannot be written.

    It does not matter which code wrote, because a trial is not to blame for the disk even if its own code wrote.
    """
    return any(
        (isinstance(each, OSError) and (each.errno in DISK_ERRNOS or _has_no_temporary_folder(each)))
        or _WORDS.search(text_of(each)) is not None
        for each in chain_of(err)
    )


def _has_no_temporary_folder(err: OSError) -> bool:
    """Whether a file was not found because the folder of temporary files is gone."""
    return isinstance(err, FileNotFoundError) and tempfile.tempdir is not None and not Path(tempfile.tempdir).is_dir()


@contextmanager
def temporary_files_in(folder: Path) -> Iterator[None]:
    """Makes Python create temporary files in this folder, because the system's may be full or gone.

    Side effects:
        Replaces `tempfile.gettempdir` inside. Other threads get their former folder. MLflow's threads, which are in
        this process if the driver is the worker, would lose their files when this folder is moved and removed.
    """
    before, thread = tempfile.gettempdir, threading.get_ident()
    tempfile.gettempdir = lambda: str(folder) if threading.get_ident() == thread else before()
    try:
        yield
    finally:
        tempfile.gettempdir = before
