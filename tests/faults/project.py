"""A user's folder in which a sweep is run, ended and resumed."""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import psutil

from faults.outcome import Outcome, read_outcome

EXPERIMENT = Path(__file__).with_name("trained.py")
# Three trials on two slots, so that one waits; turns of a quarter of an epoch; rules that stop and that lower rates.
SETTINGS = (
    "trained.py",
    "params.learning_rate=0.001,0.003,0.03",
    "train.epochs=4",
    "train.batch_size=8",
    "train.steps_per_round=8",
    "train.compile=graph",
    "train.early_stopping={patience: 1}",
    "train.reduce_lr_on_plateau={patience: 0}",
    "resources.max_concurrent=2",
    "resources.num_cpus=1",
    "recovery.snapshot_every_s=0.1",
    "tracking.uri=sqlite:///mlflow.db",
)


class Project:
    """One folder with the suite's experiment and a store that has its tables.

    Args:
        path: does not exist yet, or is empty.
        store: a store to begin with.
        log_file: what the drivers print goes there; elsewhere, since a full disk would take it ill.
    """

    def __init__(self, path: Path, store: Path, log_file: Path) -> None:
        self.path, self.log_file = path, log_file
        path.mkdir(parents=True, exist_ok=True)
        shutil.copy(EXPERIMENT, path)
        with closing(sqlite3.connect(store)) as source, closing(sqlite3.connect(self.store)) as target:
            source.backup(target)

    @property
    def store(self) -> Path:
        return self.path / "mlflow.db"

    @property
    def sweep(self) -> Path:
        """The folder's only sweep."""
        (found,) = (self.path / "sweeps").iterdir()
        return found

    @property
    def struck(self) -> bool:
        """True once the fault has happened."""
        return (self.path / "struck").exists()

    @property
    def struck_s(self) -> float:
        """When it happened, seconds since the epoch."""
        return (self.path / "struck").stat().st_mtime

    @property
    def log(self) -> str:
        """What the drivers have printed."""
        return self.log_file.read_text(encoding="utf-8") if self.log_file.exists() else ""

    def barriers(self) -> int:
        """How many rounds the journal has; 0 where there is none yet."""
        try:
            return self._count(self.sweep / "journal.db", "barrier")
        except (ValueError, OSError, sqlite3.Error):
            return 0

    def incidents(self) -> int:
        """How often a trial has lost its worker."""
        return self._count(self.sweep / "journal.db", "incident")

    def rows_in_store(self) -> int:
        """How many metric values MLflow has."""
        return self._count(self.store, "metrics")

    def _count(self, file: Path, table: str) -> int:
        with closing(sqlite3.connect(f"{file.as_uri()}?mode=ro", uri=True, timeout=30.0)) as db:
            return int(db.execute(f"SELECT count(*) FROM {table}").fetchone()[0])

    def outcome(self) -> Outcome:
        return read_outcome(self.sweep, self.store)

    def remove(self) -> None:
        shutil.rmtree(self.path)
        self.log_file.unlink(missing_ok=True)


def sweep_arguments(*more: str) -> list[str]:
    """The command line of the suite's sweep; later settings have the last word."""
    return ["sweep", *SETTINGS, *more]


def left_behind(group: int, within_s: float = 10.0) -> list[int]:
    """Processes of a process group or session that still run after so long."""
    deadline_s = time.monotonic() + within_s
    while (found := _members(group)) and time.monotonic() < deadline_s:
        time.sleep(0.05)
    return found


def _members(group: int) -> list[int]:
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(ProcessLookupError, psutil.NoSuchProcess):
            if group in (os.getpgid(process.pid), os.getsid(process.pid)) and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process.pid)
    return found


def eventually(question: Callable[[], bool], within_s: float, pause_s: float = 0.02) -> None:
    """Waits until it is so.

    Raises:
        TimeoutError: it is not so in time.
    """
    deadline_s = time.monotonic() + within_s
    while not question():
        if time.monotonic() > deadline_s:
            raise TimeoutError(f"not within {within_s:g} s")
        time.sleep(pause_s)
