"""Files that callbacks of trials have written: a folder for each trial, beside the journal."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from runner.journal.durable_files import own_file, write_durably
from runner.records import Files

FOLDER = "files"


def files_folder(folder: Path, trial_id: str) -> Path:
    """The folder of a trial's files; it need not exist.

    Args:
        folder: the sweep's.
        trial_id: the trial.

    Raises:
        JournalError: it is a link, or leads through one.
    """
    return own_file(folder, f"{FOLDER}/{trial_id}")


def files_of(folder: Path, trial_id: str) -> list[tuple[str, Path]]:
    """A trial's files, sorted: paths relative to its folder, with `/`, and where they are.

    Links are left out, because they may lead out of the sweep's folder.
    """
    root = files_folder(folder, trial_id)
    found = [Path(where, name) for where, _, names in os.walk(root) for name in names]
    regular = [path for path in found if path.is_file() and not path.is_symlink()]
    return sorted((path.relative_to(root).as_posix(), path) for path in regular)


def put_files(folder: Path, trial_id: str, files: Files) -> None:
    """Writes a trial's files that a worker has returned by value, in place of those it has.

    Raises:
        OSError: a file cannot be written.
        JournalError: a name leads out of the trial's folder.
    """
    shutil.rmtree(files_folder(folder, trial_id), ignore_errors=True)
    for name, content in files:
        path = own_file(folder, f"{FOLDER}/{trial_id}/{name}")
        path.parent.mkdir(parents=True, exist_ok=True)
        write_durably(path, content)
