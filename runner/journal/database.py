"""The journal's file: its tables and its connections."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from runner.journal.durable_files import own_file

FILE = "journal.db"
FORMAT = 2  # `PRAGMA user_version`; raised when older journals can no longer be read as they are

SCHEMA = """
CREATE TABLE sweep (
    id TEXT PRIMARY KEY, name TEXT NOT NULL, created_ms INTEGER NOT NULL, ended_ms INTEGER, status TEXT NOT NULL,
    metric TEXT NOT NULL, goal TEXT NOT NULL, config TEXT NOT NULL, command TEXT NOT NULL, tracking_uri TEXT NOT NULL,
    mlflow_experiment TEXT NOT NULL, versions TEXT NOT NULL, run_id TEXT, register TEXT, notified INTEGER
);
CREATE TABLE trial (
    id TEXT PRIMARY KEY, position INTEGER NOT NULL, member TEXT NOT NULL, settings TEXT NOT NULL,
    record TEXT NOT NULL, status TEXT NOT NULL DEFAULT 'queued', reason TEXT NOT NULL DEFAULT '',
    traceback TEXT NOT NULL DEFAULT '', slot INTEGER, allocation TEXT, facts TEXT, best_epoch INTEGER,
    started_ms INTEGER, ended_ms INTEGER
);
CREATE TABLE turn (
    trial TEXT NOT NULL REFERENCES trial(id), round INTEGER NOT NULL, step INTEGER NOT NULL, epoch INTEGER NOT NULL,
    pid INTEGER NOT NULL, started_s REAL NOT NULL, ended_s REAL NOT NULL, compute_s REAL NOT NULL,
    evaluate_s REAL NOT NULL, seat_s REAL NOT NULL, swap_s REAL NOT NULL, memory_mib REAL NOT NULL,
    gpu_memory_mib REAL NOT NULL, slot INTEGER NOT NULL, PRIMARY KEY (trial, round)
) WITHOUT ROWID;
CREATE TABLE decision (
    number INTEGER PRIMARY KEY, trial TEXT NOT NULL REFERENCES trial(id), step INTEGER NOT NULL, kind TEXT NOT NULL,
    arguments TEXT NOT NULL, reason TEXT NOT NULL, by TEXT NOT NULL
);
CREATE INDEX decision_of_trial ON decision (trial, step);
CREATE TABLE barrier (
    number INTEGER PRIMARY KEY, began_s REAL NOT NULL, reported_s REAL NOT NULL, committed_s REAL
);
CREATE INDEX barrier_by_time ON barrier (reported_s);
CREATE TABLE metric (
    seq INTEGER PRIMARY KEY AUTOINCREMENT, trial TEXT NOT NULL REFERENCES trial(id), key TEXT NOT NULL,
    step INTEGER NOT NULL, value REAL, timestamp_ms INTEGER NOT NULL, UNIQUE (trial, key, step)
);
CREATE INDEX metric_of_trial ON metric (trial);
CREATE TABLE incident (
    number INTEGER PRIMARY KEY, trial TEXT NOT NULL REFERENCES trial(id), round INTEGER NOT NULL, kind TEXT NOT NULL,
    message TEXT NOT NULL, noticed_s REAL NOT NULL
);
CREATE TABLE model (
    trial TEXT PRIMARY KEY REFERENCES trial(id), file TEXT, weights TEXT NOT NULL, final INTEGER NOT NULL
);
CREATE TABLE projection (
    store TEXT NOT NULL, trial TEXT NOT NULL, run_id TEXT NOT NULL, metric_seq INTEGER NOT NULL DEFAULT 0,
    facts INTEGER NOT NULL DEFAULT 0, model INTEGER NOT NULL DEFAULT 0, status TEXT,
    tag_seq INTEGER NOT NULL DEFAULT 0, experiment TEXT, PRIMARY KEY (store, trial)
) WITHOUT ROWID;
"""
# Tables and columns that journals of this format lacked at first. An older one gets them when it is next written.
LATER_TABLES = """
CREATE TABLE IF NOT EXISTS sweep_metric (
    seq INTEGER PRIMARY KEY AUTOINCREMENT, key TEXT NOT NULL, step INTEGER NOT NULL, value REAL,
    timestamp_ms INTEGER NOT NULL, UNIQUE (key, step)
);
CREATE TABLE IF NOT EXISTS tag (
    seq INTEGER PRIMARY KEY AUTOINCREMENT, trial TEXT NOT NULL, key TEXT NOT NULL, value TEXT NOT NULL,
    UNIQUE (trial, key)
);
"""
_LATER_COLUMNS = (
    ("sweep", "register", "TEXT"),
    ("sweep", "notified", "INTEGER"),
    ("projection", "tag_seq", "INTEGER NOT NULL DEFAULT 0"),
    ("projection", "experiment", "TEXT"),
)


def connect(path: Path) -> sqlite3.Connection:
    """A connection that waits for other writers, reads rows by name and survives a power cut.

    Raises:
        JournalError: the file, or one beside it that sqlite would write, is a link.
    """
    for suffix in ("", "-wal", "-shm", "-journal"):
        own_file(path.parent, path.name + suffix)
    connection = sqlite3.connect(path, timeout=30.0, isolation_level=None, check_same_thread=False)
    connection.row_factory = sqlite3.Row
    try:
        for setting in ("journal_mode = WAL", "synchronous = FULL", "foreign_keys = ON"):
            connection.execute(f"PRAGMA {setting}")
    except BaseException:
        connection.close()
        raise
    return connection


def upgrade(connection: sqlite3.Connection) -> None:
    """Adds what an older journal of this format lacks; does nothing to one that is whole, or still empty."""
    known = {row["name"] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    if "sweep" not in known or {"sweep_metric", "tag"} <= known:
        return
    with transaction(connection) as db:
        for statement in filter(str.strip, LATER_TABLES.split(";")):
            db.execute(statement)
        for table, column, kind in _LATER_COLUMNS:
            has = {row["name"] for row in db.execute(f"PRAGMA table_info({table})")}
            if column not in has:
                db.execute(f"ALTER TABLE {table} ADD COLUMN {column} {kind}")


@contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[sqlite3.Connection]:
    """Executes all statements inside, or none."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield connection
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:  # sqlite ends it by itself when the disk is full
            connection.execute("ROLLBACK")
        raise
