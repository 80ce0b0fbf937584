"""The journal: one sqlite file for each sweep, committed at every barrier before anyone acts on it.

MLflow, the console and `results` follow it; none of them holds anything that the journal does not.
"""

from __future__ import annotations

import json
import math
import os
import sqlite3
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, astuple, dataclass, field
from pathlib import Path
from typing import Any, Literal, Self

from runner.errors import SweepNotFoundError
from runner.records import Allocation, Export, Failure, Report, Trial, Verdict, Work, to_json

FILE = "journal.db"
ROUND_PREFIX = "round/"  # metrics of the current epoch so far; their step is the optimizer step
Status = Literal["queued", "running", "complete", "stopped", "failed", "killed"]
SweepStatus = Literal["running", "complete", "failed", "killed"]
_ENDED: dict[str, Status] = {"complete": "complete", "stop": "stopped", "fail": "failed"}

_SCHEMA = """
CREATE TABLE sweep (
    id TEXT PRIMARY KEY, name TEXT NOT NULL, created_ms INTEGER NOT NULL, ended_ms INTEGER, status TEXT NOT NULL,
    metric TEXT NOT NULL, goal TEXT NOT NULL, config TEXT NOT NULL, command TEXT NOT NULL, tracking_uri TEXT NOT NULL,
    mlflow_experiment TEXT NOT NULL, versions TEXT NOT NULL, run_id TEXT
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
    evaluate_s REAL NOT NULL, seat_s REAL NOT NULL, memory_mib REAL NOT NULL, PRIMARY KEY (trial, round)
) WITHOUT ROWID;
CREATE TABLE metric (
    seq INTEGER PRIMARY KEY AUTOINCREMENT, trial TEXT NOT NULL REFERENCES trial(id), key TEXT NOT NULL,
    step INTEGER NOT NULL, value REAL, timestamp_ms INTEGER NOT NULL, UNIQUE (trial, key, step)
);
CREATE INDEX metric_of_trial ON metric (trial);
CREATE TABLE model (trial TEXT PRIMARY KEY REFERENCES trial(id), file TEXT, weights TEXT NOT NULL);
CREATE TABLE projection (
    trial TEXT PRIMARY KEY, run_id TEXT, metric_seq INTEGER NOT NULL DEFAULT 0, facts INTEGER NOT NULL DEFAULT 0,
    model INTEGER NOT NULL DEFAULT 0, status TEXT
);
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class SweepRecord:
    """One sweep as the journal knows it. Times are milliseconds since the epoch.

    Args:
        config: the resolved config as YAML.
        command: the command line that repeats the sweep.
        versions: packages whose versions may change results.
    """

    id: str
    name: str
    created_ms: int
    metric: str
    goal: str
    config: str
    command: str
    tracking_uri: str
    mlflow_experiment: str
    versions: Mapping[str, str]
    status: SweepStatus = "running"
    ended_ms: int | None = None
    run_id: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class TrialRecord:
    """One trial as the journal knows it.

    Args:
        settings: what distinguishes it, flat, `Trial.settings`.
        record: the whole `Trial` as plain data.
        metrics: each epoch metric as the trial's model has it: at `best_epoch` if there is one, else the latest.
        best_epoch: the epoch whose weights the trial's model has, where early stopping restores the best.
        model: path of the exported `.keras` file relative to the sweep's folder; None before its end.
        run_id: its MLflow run, once there is one.
    """

    id: str
    position: int
    member: str
    settings: Mapping[str, Any]
    record: Mapping[str, Any]
    status: Status
    reason: str
    traceback: str
    slot: int | None
    allocation: Mapping[str, Any] | None
    facts: Mapping[str, Any] | None
    best_epoch: int | None
    started_ms: int | None
    ended_ms: int | None
    model: str | None = None
    weights: str | None = None
    run_id: str | None = None
    metrics: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, slots=True)
class MetricRow:
    """One value of one metric; `seq` orders all rows of a sweep."""

    seq: int
    trial: str
    key: str
    step: int
    value: float
    timestamp_ms: int


def connect(path: Path) -> sqlite3.Connection:
    """A connection that waits for other writers, reads rows by name and loses nothing at a power cut."""
    connection = sqlite3.connect(path, timeout=30.0, isolation_level=None, check_same_thread=False)
    connection.row_factory = sqlite3.Row
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA foreign_keys = ON")
    return connection


@contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[sqlite3.Connection]:
    """All statements inside, or none."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield connection
    except BaseException:
        connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")


class SqliteJournal:
    """The driver's side: the only writer of everything but the `projection` table.

    Args:
        folder: the sweep's own folder; it must exist.
        allocations: what each slot's worker is given, recorded with every trial that begins there.
        clock: seconds since the epoch.
    """

    def __init__(
        self, folder: Path, allocations: Mapping[int, Allocation], clock: Callable[[], float] = time.time
    ) -> None:
        self._folder = folder
        self._allocations = allocations
        self._clock = clock
        self._connection: sqlite3.Connection | None = None

    def __enter__(self) -> Self:
        self._connection = connect(self._folder / FILE)
        return self

    def __exit__(self, *exc: object) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    @property
    def _open(self) -> sqlite3.Connection:
        if self._connection is None:
            raise RuntimeError("the journal is not open: use it as a context manager")
        return self._connection

    def create(self, sweep: SweepRecord, trials: tuple[Trial, ...]) -> None:
        """Writes the sweep and all its trials, queued. Once, before the first assignment."""
        self._open.executescript(f"BEGIN;{_SCHEMA}COMMIT;")
        row = {**asdict(sweep), "versions": json.dumps(dict(sweep.versions), sort_keys=True)}
        with transaction(self._open) as db:
            db.execute(f"INSERT INTO sweep ({', '.join(row)}) VALUES ({_marks(row)})", tuple(row.values()))
            for position, trial in enumerate(trials):
                settings = json.dumps(trial.settings, default=str)
                db.execute(
                    "INSERT INTO trial (id, position, member, settings, record) VALUES (?, ?, ?, ?, ?)",
                    (trial.id, position, trial.member, settings, to_json(trial)),
                )

    def assign(self, work: Mapping[int, tuple[Work, ...]]) -> None:
        """Marks the trials whose first turn this is as running in their slot."""
        begun = [(slot, item.trial.id) for slot, items in work.items() for item in items if item.round == 0]
        if not begun:
            return
        with transaction(self._open) as db:
            for slot, trial_id in begun:
                db.execute(
                    "UPDATE trial SET status = 'running', slot = ?, allocation = ?, started_ms = ? WHERE id = ?",
                    (slot, to_json(self._allocations[slot]), self._now_ms(), trial_id),
                )

    def commit(
        self,
        reports: Mapping[str, Report | Failure],
        verdicts: Mapping[str, Verdict],
        exports: Mapping[str, Export | Failure],
    ) -> None:
        """Records one barrier in one transaction. Model files are on disk before the rows that name them."""
        files = {key: self._write_model(value) for key, value in exports.items() if isinstance(value, Export)}
        with transaction(self._open) as db:
            for report in reports.values():
                if isinstance(report, Report):
                    _insert_report(db, report)
            for trial_id, (model, weights) in files.items():
                db.execute("INSERT OR REPLACE INTO model VALUES (?, ?, ?)", (trial_id, model, weights))
            for export in exports.values():
                if isinstance(export, Export):
                    _insert_test_metrics(db, export, self._now_ms())
            for trial_id, verdict in verdicts.items():
                self._apply_verdict(db, trial_id, verdict, reports.get(trial_id), exports.get(trial_id))

    def end(self, status: SweepStatus) -> None:
        """Closes the sweep; trials still running or queued take its end as theirs."""
        with transaction(self._open) as db:
            db.execute("UPDATE sweep SET status = ?, ended_ms = ?", (status, self._now_ms()))
            db.execute(
                "UPDATE trial SET status = 'killed', ended_ms = ?, reason = 'the sweep was ended' "
                "WHERE status IN ('running', 'queued')",
                (self._now_ms(),),
            )

    def _apply_verdict(
        self,
        db: sqlite3.Connection,
        trial_id: str,
        verdict: Verdict,
        report: Report | Failure | None,
        export: Export | Failure | None,
    ) -> None:
        if verdict.keep_best and isinstance(report, Report):
            db.execute("UPDATE trial SET best_epoch = ? WHERE id = ?", (report.epoch, trial_id))
        if not verdict.ends:
            return
        failure = next((value for value in (report, export) if isinstance(value, Failure)), None)
        status = "failed" if failure else _ENDED[verdict.kind]
        reason = f"{failure.kind}: {failure.message}" if failure else verdict.reason
        db.execute(
            "UPDATE trial SET status = ?, reason = ?, traceback = ?, ended_ms = ? WHERE id = ?",
            (status, reason, failure.traceback if failure else "", self._now_ms(), trial_id),
        )

    def _write_model(self, export: Export) -> tuple[str | None, str]:
        (self._folder / "models").mkdir(exist_ok=True)
        model, weights = f"models/{export.trial_id}.keras", f"models/{export.trial_id}.weights.npz"
        _write_durably(self._folder / weights, export.weights)
        if not export.model:
            return None, weights
        _write_durably(self._folder / model, export.model)
        return model, weights

    def _now_ms(self) -> int:
        return int(self._clock() * 1000)


def _write_durably(path: Path, content: bytes) -> None:
    """Whole or not at all: a temporary file, flushed to the disk, then renamed."""
    partial = path.with_name(path.name + ".partial")
    with partial.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    partial.rename(path)


def _marks(row: Mapping[str, object]) -> str:
    return ", ".join("?" * len(row))


def _insert_report(db: sqlite3.Connection, report: Report) -> None:
    turn = report.turn
    db.execute(
        f"INSERT INTO turn VALUES ({', '.join('?' * 11)})",
        (report.trial_id, report.round, report.step, report.epoch, *astuple(turn)),
    )
    timestamp_ms = int(turn.ended_s * 1000)
    rows = [(ROUND_PREFIX + key, report.step, value) for key, value in report.running.items()]
    rows += [(key, report.epoch, value) for key, value in (report.epoch_metrics or {}).items()]
    _insert_metrics(db, report.trial_id, rows, timestamp_ms)
    if report.facts is not None:
        db.execute("UPDATE trial SET facts = ? WHERE id = ?", (to_json(report.facts), report.trial_id))


def _insert_test_metrics(db: sqlite3.Connection, export: Export, timestamp_ms: int) -> None:
    (epoch,) = db.execute("SELECT coalesce(max(epoch), 0) FROM turn WHERE trial = ?", (export.trial_id,)).fetchone()
    _insert_metrics(db, export.trial_id, [(k, epoch, v) for k, v in export.test_metrics.items()], timestamp_ms)


def _insert_metrics(
    db: sqlite3.Connection, trial_id: str, rows: list[tuple[str, int, float]], timestamp_ms: int
) -> None:
    # sqlite has no NaN: it is stored as NULL and read back as NaN.
    db.executemany(
        "INSERT INTO metric (trial, key, step, value, timestamp_ms) VALUES (?, ?, ?, ?, ?)",
        [(trial_id, key, step, None if math.isnan(value) else value, timestamp_ms) for key, step, value in rows],
    )


class JournalReader:
    """Everyone else's side: reads a journal that may be growing meanwhile.

    Args:
        folder: the sweep's folder.

    Raises:
        SweepNotFoundError: where there is no journal.
    """

    def __init__(self, folder: Path) -> None:
        if not (folder / FILE).is_file():
            raise SweepNotFoundError(f"{folder}: no sweep here; `python -m runner list` shows the sweeps")
        self._connection = connect(folder / FILE)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self._connection.close()

    def sweep(self) -> SweepRecord:
        """The sweep itself."""
        row = dict(self._connection.execute("SELECT * FROM sweep").fetchone())
        return SweepRecord(**{**row, "versions": json.loads(row["versions"])})

    def trials(self) -> tuple[TrialRecord, ...]:
        """All trials in the order they were proposed."""
        return self._trials(None)

    def trial(self, trial_id: str) -> TrialRecord:
        """One trial.

        Raises:
            KeyError: for an id the sweep does not have.
        """
        found = self._trials(trial_id)
        if not found:
            raise KeyError(trial_id)
        return found[0]

    def _trials(self, trial_id: str | None) -> tuple[TrialRecord, ...]:
        where, values = ("WHERE trial.id = ?", (trial_id,)) if trial_id is not None else ("", ())
        rows = self._connection.execute(
            "SELECT trial.*, model.file AS model, model.weights AS weights, projection.run_id AS run_id FROM trial "
            "LEFT JOIN model ON model.trial = trial.id LEFT JOIN projection ON projection.trial = trial.id "
            f"{where} ORDER BY position",
            values,
        ).fetchall()
        return tuple(_trial_record(row, self._model_metrics(row["id"], row["best_epoch"])) for row in rows)

    def _model_metrics(self, trial_id: str, best_epoch: int | None) -> dict[str, float]:
        # sqlite gives the other columns of the row that has the maximum.
        rows = self._connection.execute(
            "SELECT key, value, max(step) FROM metric WHERE trial = ? AND key NOT LIKE ? "
            "AND (? IS NULL OR step <= ? OR key LIKE 'test!_%' ESCAPE '!') GROUP BY key ORDER BY key",
            (trial_id, f"{ROUND_PREFIX}%", best_epoch, best_epoch),
        )
        return {row["key"]: _number(row["value"]) for row in rows}

    def metrics(self, trial_id: str | None = None, after_seq: int = 0, limit: int = -1) -> tuple[MetricRow, ...]:
        """Metric rows in the order they were committed, of one trial or of all."""
        where, values = ("AND trial = ?", (trial_id,)) if trial_id is not None else ("", ())
        query = f"SELECT * FROM metric WHERE seq > ? {where} ORDER BY seq LIMIT ?"
        rows = self._connection.execute(query, (after_seq, *values, limit))
        return tuple(MetricRow(**{**row, "value": _number(row["value"])}) for row in rows)

    def turns(self) -> tuple[dict[str, Any], ...]:
        """Every turn: trial, round, step, epoch, pid, started_s, ended_s, compute_s, evaluate_s, seat_s, memory_mib."""
        return tuple(dict(row) for row in self._connection.execute("SELECT * FROM turn ORDER BY started_s"))


def _number(value: float | None) -> float:
    return math.nan if value is None else value


def _trial_record(row: sqlite3.Row, metrics: Mapping[str, float]) -> TrialRecord:
    values = dict(row)
    for key in ("settings", "record", "allocation", "facts"):
        values[key] = None if values[key] is None else json.loads(values[key])
    return TrialRecord(**values, metrics=metrics)
