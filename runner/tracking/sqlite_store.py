"""MLflow's store as a sqlite file: made whole, by one process at a time, for this user alone."""

from __future__ import annotations

import contextlib
import os
import secrets
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from glob import escape
from pathlib import Path

from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

from runner.locks import FOLDER, lock
from runner.tracking.addresses import ARTIFACTS, sqlite_uri

_MERGE_TIMEOUT_S = 1.0


@contextmanager
def private_store(file: Path) -> Iterator[None]:
    """The store is there, and no other sweep of this machine opens it meanwhile.

    Two processes that create MLflow's tables at once leave a store that no version of MLflow can open. What other
    programs write to the store is left to sqlite's own locks.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    with lock(file.parent, FOLDER, wait=True):  # of the folder, so that no file is left behind
        if not file.exists():
            _create(file)
        _use_wal(file)
        yield


def merge_log(file: Path) -> None:
    """Merges sqlite's write-ahead log into the file, so that a copy of the file alone has everything.

    sqlite does it when the last connection closes, but MLflow never closes its connections.
    """
    # While another process reads, or when the disk is full, it stays in the log, and is as safe there.
    with contextlib.suppress(sqlite3.Error):
        with closing(sqlite3.connect(f"{file.as_uri()}?mode=rw", timeout=_MERGE_TIMEOUT_S, uri=True)) as connection:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def _create(file: Path) -> None:
    """Makes the tables under another name: MLflow cannot go on where their making was interrupted."""
    for remains in file.parent.glob(f"{escape(file.name)}.*.unfinished*"):
        remains.unlink()
    for kind in ("wal", "shm"):  # of a store that was removed without them: they would spoil this one
        file.with_name(f"{file.name}-{kind}").unlink(missing_ok=True)
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
