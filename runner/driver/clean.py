"""Removes what an ended sweep no longer needs: snapshots, stray files, models and files of all but the best trials."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from runner.driver.record import COLLECTED
from runner.errors import StorageError
from runner.journal import (
    STAGING,
    JournalReader,
    SqliteJournal,
    TrialRecord,
    beyond,
    files_folder,
    is_locked,
    locked,
    own_file,
)
from runner.journal.snapshots import FOLDER as SNAPSHOTS
from runner.journal.trial_files import FOLDER as WRITTEN

_MODELS = "models"
_MIB = 1024 * 1024
_STARTING_S = 3600.0  # no sweep needs as long to start, and until then it has no lock


@dataclass(frozen=True, kw_only=True, slots=True)
class Removed:
    """Files that were removed, or would be.

    Args:
        what: description for the user.
        size_bytes: size of the files.
        shared_bytes: size of those that MLflow also has, as hard links, so that removing them frees nothing.
    """

    what: str
    size_bytes: int
    shared_bytes: int = 0

    @property
    def freed_bytes(self) -> int:
        """Disk space that is freed."""
        return self.size_bytes - self.shared_bytes


def clean(folder: Path, models: int | None, dry_run: bool, files: int | None = None) -> list[Removed]:
    """Removes what a sweep that is not running no longer needs.

    Args:
        folder: the sweep's.
        models: number of best trials of each member that keep their models; None for all.
        dry_run: removes nothing.
        files: number of best trials of each member that keep what their callbacks have written; None for all.

    Raises:
        SweepBusyError: the sweep is running.
        StorageError: a file cannot be removed.
        JournalError: a file of the sweep is a link.
    """
    with locked(folder):
        with JournalReader(folder) as reader:
            sweep, trials = reader.sweep(), reader.trials()
        with_model = [trial for trial in trials if trial.weights is not None]
        surplus = [] if models is None else beyond(models, with_model, sweep)
        with_files = [trial for trial in trials if files_folder(folder, trial.id).is_dir()]
        written = [
            files_folder(folder, trial.id) for trial in ([] if files is None else beyond(files, with_files, sweep))
        ]
        snapshots, leftovers, code = _snapshots(folder, trials), _leftovers(folder, trials), _code(folder)
        found = [
            _measured(snapshots, f"snapshots of {len(snapshots)} trials"),
            _measured(leftovers, "files that an interrupted sweep has left"),
            _measured(_files(folder, surplus), f"models of {len(surplus)} trials"),
            _measured(written, f"files that callbacks of {len(written)} trials have written"),
            _measured(code, f"code of functions, of which each sweep has a copy, in {folder.parent.name}/{COLLECTED}"),
        ]
        if not dry_run:
            _remove([*snapshots, *leftovers, *written, *code])
            with SqliteJournal(folder, {}) as journal:
                journal.drop_models([trial.id for trial in surplus])
    return [removed for removed in found if removed.size_bytes]


def replayed(folder: Path) -> int:
    """Number of trials that `resume` would repeat from their beginning if there were no snapshots."""
    with JournalReader(folder) as reader:
        trials = reader.trials()
    unfinished = {t.id for t in trials if t.started_ms is not None and not t.ended_well}
    return len(unfinished & {path.name for path in _snapshots(folder, trials)})


def mib(size_bytes: int) -> str:
    """A size as text."""
    return f"{size_bytes / _MIB:,.1f} MiB"


def _snapshots(folder: Path, trials: Iterable[TrialRecord]) -> list[Path]:
    """The folder of each trial that has snapshots."""
    root = own_file(folder, SNAPSHOTS)
    return [path for trial in trials if (path := own_file(folder, f"{root.name}/{trial.id}")).is_dir()]


def _leftovers(folder: Path, trials: Iterable[TrialRecord]) -> list[Path]:
    """Models and files of trials that are unknown, and unfinished files of a killed driver."""
    root, staging = own_file(folder, _MODELS), own_file(folder, STAGING)
    known = {path for trial in trials for path in _files(folder, [trial])}
    found = sorted(root.iterdir()) if root.is_dir() else []
    strays, ids = own_file(folder, WRITTEN), {trial.id for trial in trials}
    foreign = [path for path in sorted(strays.iterdir()) if path.name not in ids] if strays.is_dir() else []
    return [path for path in found if path not in known] + foreign + ([staging] if staging.is_dir() else [])


def _code(folder: Path) -> list[Path]:
    """Modules that were made of functions, unless a sweep of this folder runs or may start with one."""
    root = own_file(folder.parent, COLLECTED)
    others = [path for path in folder.parent.iterdir() if path != folder and path.is_dir()]
    if not root.is_dir() or any(is_locked(other) for other in others):
        return []
    before_s = time.time() - _STARTING_S
    return sorted(path for path in root.iterdir() if path.lstat().st_mtime < before_s)


def _files(folder: Path, trials: Iterable[TrialRecord]) -> list[Path]:
    return [own_file(folder, name) for trial in trials for name in (trial.model, trial.weights) if name is not None]


def _measured(paths: Iterable[Path], what: str) -> Removed:
    found = [os.lstat(file) for path in paths for file in _below(path)]
    shared = sum(stat.st_size for stat in found if stat.st_nlink > 1)
    return Removed(what=what, size_bytes=sum(stat.st_size for stat in found), shared_bytes=shared)


def _below(path: Path) -> Iterator[Path]:
    if path.is_dir() and not path.is_symlink():
        for child in path.iterdir():
            yield from _below(child)
    elif path.is_symlink() or path.exists():
        yield path


def _remove(paths: Iterable[Path]) -> None:
    for path in paths:
        try:
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink()
        except OSError as err:
            raise StorageError(f"{path}: cannot be removed: {err.strerror}") from err
