"""MLflow's store as a sqlite file: created completely or not at all, by one process at a time, for this user alone."""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from glob import escape
from pathlib import Path

from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

from runner.tracking.addresses import ARTIFACTS, sqlite_uri

_MERGE_TIMEOUT_S = 1.0


@contextmanager
def private_store(file: Path) -> Iterator[None]:
    """Creates the store if it is missing, and keeps other sweeps on this machine from opening it meanwhile.

    Two processes that create MLflow's tables at the same time leave a store that no version of MLflow can open. Later
    writes of other programs are safe by sqlite's own locks.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    folder = os.open(file.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)  # locks the folder, so that no lock file is left behind
        if not file.exists():
            _create(file)
        _use_wal(file)
        yield
    finally:
        os.close(folder)


def merge_log(file: Path) -> None:
    """Merges sqlite's write-ahead log into the file, so that a copy of the file alone has everything.

    sqlite merges it when the last connection is closed, but MLflow never closes its connections.
    """
    # While another process reads, or if the disk is full, the data stay in the log, where they are as safe.
    with contextlib.suppress(sqlite3.Error):
        with closing(sqlite3.connect(f"{file.as_uri()}?mode=rw", timeout=_MERGE_TIMEOUT_S, uri=True)) as connection:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def _create(file: Path) -> None:
    """Creates the tables under a temporary name, because MLflow cannot continue after an interruption."""
    for remains in file.parent.glob(f"{escape(file.name)}.*.unfinished*"):
        remains.unlink()
    for kind in ("wal", "shm"):  # left by a store that was removed without them; they would damage this one
        file.with_name(f"{file.name}-{kind}").unlink(missing_ok=True)
    # A random name, because MLflow caches stores by name.
    unfinished = file.with_name(f"{file.name}.{secrets.token_hex(4)}.unfinished")
    os.close(os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    artifacts = file.parent / ARTIFACTS
    SqlAlchemyStore(sqlite_uri("sqlite://", unfinished), artifacts.as_uri())
    artifacts.mkdir(mode=0o700, exist_ok=True)
    unfinished.rename(file)


def _use_wal(file: Path) -> None:
    # In sqlite's default mode a reader (the user's browser) and this writer lock each other out.
    connection = sqlite3.connect(file, timeout=20.0)
    try:
        connection.execute("PRAGMA journal_mode = WAL")
    finally:
        connection.close()
