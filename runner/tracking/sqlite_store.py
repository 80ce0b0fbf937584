"""MLflow's store as a sqlite file: made whole, by one process at a time, for this user alone."""

from __future__ import annotations

import fcntl
import os
import secrets
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from glob import escape
from pathlib import Path

from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

from runner.tracking.stores import sqlite_uri

ARTIFACTS = "mlartifacts"  # beside the file


@contextmanager
def private_store(file: Path) -> Iterator[None]:
    """The store is there, and no other sweep of this machine opens it meanwhile.

    Two processes that create MLflow's tables at once leave a store that no version of MLflow can open. What other
    programs write to the store is left to sqlite's own locks.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    folder = os.open(file.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)  # of the folder, so that no file is left behind
        if not file.exists():
            _create(file)
        _use_wal(file)
        yield
    finally:
        os.close(folder)


def _create(file: Path) -> None:
    """Makes the tables under another name: MLflow cannot go on where their making was interrupted."""
    for remains in file.parent.glob(f"{escape(file.name)}.*.unfinished*"):
        remains.unlink()
    unfinished = file.with_name(f"{file.name}.{secrets.token_hex(4)}.unfinished")  # MLflow remembers names
    os.close(os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    artifacts = file.parent / ARTIFACTS
    SqlAlchemyStore(sqlite_uri("sqlite://", unfinished), artifacts.as_uri())
    artifacts.mkdir(mode=0o700, exist_ok=True)
    unfinished.rename(file)


def _use_wal(file: Path) -> None:
    # With sqlite's default mode a reader (the user's browser) and this writer lock each other out.
    connection = sqlite3.connect(file, timeout=20.0)
    try:
        connection.execute("PRAGMA journal_mode = WAL")
    finally:
        connection.close()
