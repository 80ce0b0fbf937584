"""A user's folder in which a sweep is run, ended and resumed."""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
import time
from collections.abc import Sequence
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
    """

    def __init__(self, path: Path, store: Path | None = None) -> None:
        self.path = path
        path.mkdir(parents=True, exist_ok=True)
        shutil.copy(EXPERIMENT, path)
        if store is not None:
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
    def log(self) -> str:
        """What the drivers have printed."""
        file = self.path / "driver.log"
        return file.read_text(encoding="utf-8") if file.exists() else ""

    def outcome(self) -> Outcome:
        return read_outcome(self.sweep, self.store)

    def remove(self) -> None:
        shutil.rmtree(self.path)


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


def eventually(question: object, within_s: float, pause_s: float = 0.02) -> None:
    """Waits until it is so.

    Raises:
        TimeoutError: it is not so in time.
    """
    assert callable(question)
    deadline_s = time.monotonic() + within_s
    while not question():
        if time.monotonic() > deadline_s:
            raise TimeoutError(f"not within {within_s:g} s")
        time.sleep(pause_s)


def rows_in_journal(project: Project, least: Sequence[int] = (1,)) -> bool:
    """Whether the journal has at least so many barriers."""
    try:
        with closing(sqlite3.connect(f"file:{project.sweep / 'journal.db'}?mode=ro", uri=True)) as db:
            return int(db.execute("SELECT count(*) FROM barrier").fetchone()[0]) >= least[0]
    except (ValueError, OSError, sqlite3.Error):
        return False
