"""Rows of turns, metrics, models, barriers and tags. Each function is called inside a transaction."""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Iterable, Mapping
from dataclasses import astuple

from runner.journal.tables import END_PREFIX, GPU_PEAK, RATE, ROUND_PREFIX, SYSTEM_PREFIX, epoch_key
from runner.records import Export, Failure, Report, Sample, to_json
from runner.texts.storable import storable


def steps_taken(db: sqlite3.Connection, trial_id: str) -> int:
    """Optimizer steps of the trial's turns so far."""
    return _of_last_turn(db, trial_id, "step")


def marks(row: Mapping[str, object]) -> str:
    """Placeholders for the values of a row."""
    return ", ".join("?" * len(row))


def insert_metrics(
    db: sqlite3.Connection, trial_id: str, rows: list[tuple[str, int, float]], timestamp_ms: int
) -> None:
    """Adds metrics of a trial, each a key, a step and a value; those that it has already stay."""
    # sqlite has no NaN: it is stored as NULL and read back as NaN. Rows of a turn that a new driver repeats stand
    # already; `turn` itself takes no turn twice.
    db.executemany(
        "INSERT INTO metric (trial, key, step, value, timestamp_ms) VALUES (?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
        [
            (trial_id, storable(key), step, None if math.isnan(value) else value, timestamp_ms)
            for key, step, value in rows
        ],
    )


def insert_turn(db: sqlite3.Connection, report: Report, slot: int) -> None:
    """Adds a turn, which ran in this slot, and the running metrics at its end."""
    turn = report.turn
    db.execute(
        f"INSERT INTO turn VALUES ({', '.join('?' * 14)})",
        (report.trial_id, report.round, report.step, report.epoch, *astuple(turn), slot),
    )
    rows = [(ROUND_PREFIX + key, report.step, value) for key, value in report.running.items()]
    if turn.gpu_memory_mib > _highest_peak(db, report.trial_id):
        rows.append((GPU_PEAK, report.step, turn.gpu_memory_mib))
    insert_metrics(db, report.trial_id, rows, int(turn.ended_s * 1000))


def insert_barrier(
    db: sqlite3.Connection, began_s: float, reported_s: float, *, last_committed_s: float | None
) -> None:
    """Adds a barrier, and when the one before it was committed, which is known only after its transaction."""
    last = "(SELECT max(number) FROM barrier)"
    query = f"UPDATE barrier SET committed_s = coalesce(committed_s, ?) WHERE number = {last}"
    db.execute(query, (last_committed_s,))
    db.execute("INSERT INTO barrier (began_s, reported_s) VALUES (?, ?)", (began_s, reported_s))


def insert_models(db: sqlite3.Connection, files: Mapping[str, tuple[str | None, str]], *, final: bool) -> None:
    """Adds or replaces trials' models by the names of their files: the model, None if there is none, and weights."""
    db.executemany(
        "INSERT OR REPLACE INTO model (trial, file, weights, final) VALUES (?, ?, ?, ?)",
        [(trial_id, model, weights, final) for trial_id, (model, weights) in files.items()],
    )


def insert_epochs_and_facts(db: sqlite3.Connection, report: Report | Failure) -> None:
    """Adds the metrics of the epochs that ended, and what is known of the built model."""
    for epoch in report.epochs:
        rows = [(epoch_key(name), epoch.number, value) for name, value in epoch.metrics.items()]
        rows += [] if epoch.learning_rate is None else [(RATE, epoch.number, epoch.learning_rate)]
        insert_metrics(db, report.trial_id, rows, int(epoch.ended_s * 1000))
    if report.facts is not None:
        db.execute("UPDATE trial SET facts = ? WHERE id = ?", (to_json(report.facts), report.trial_id))


def _highest_peak(db: sqlite3.Connection, trial_id: str) -> float:
    query = "SELECT coalesce(max(value), 0) FROM metric WHERE trial = ? AND key = ?"
    return float(db.execute(query, (trial_id, GPU_PEAK)).fetchone()[0])


def insert_last_metrics(db: sqlite3.Connection, export: Export, timestamp_ms: int) -> None:
    """Adds the model's metrics on the test split, and the epoch whose weights it has if a callback chose it."""
    rows = [(name, _last_epoch(db, export.trial_id), value) for name, value in export.test_metrics.items()]
    insert_metrics(db, export.trial_id, rows, timestamp_ms)
    if export.best_epoch is not None:
        db.execute("UPDATE trial SET best_epoch = ? WHERE id = ?", (export.best_epoch, export.trial_id))


def insert_end_metrics(db: sqlite3.Connection, answer: Report | Export, timestamp_ms: int) -> None:
    """Adds what callbacks have logged at the end of training."""
    epoch = _last_epoch(db, answer.trial_id)
    rows = [(END_PREFIX + name, epoch, value) for name, value in answer.logged.items()]
    insert_metrics(db, answer.trial_id, rows, timestamp_ms)


def insert_standing(db: sqlite3.Connection, metrics: Mapping[str, float], timestamp_ms: int) -> None:
    """Adds metrics of the sweep itself, by the number of the barrier that was added last."""
    (number,) = db.execute("SELECT max(number) FROM barrier").fetchone()
    _insert_sweep_metrics(db, metrics, number, timestamp_ms)


def insert_samples(db: sqlite3.Connection, samples: Iterable[Sample]) -> None:
    """Adds samples of the machine's use, numbered on."""
    if not (samples := tuple(samples)):
        return
    query = f"SELECT coalesce(max(step) + 1, 0) FROM sweep_metric WHERE key LIKE '{SYSTEM_PREFIX}%'"
    (number,) = db.execute(query).fetchone()
    for step, sample in enumerate(samples, number):
        values = {SYSTEM_PREFIX + name: value for name, value in sample.values.items()}
        _insert_sweep_metrics(db, values, step, sample.taken_ms)


def insert_tags(db: sqlite3.Connection, trial_id: str, tags: Mapping[str, str]) -> None:
    """Adds or replaces tags of a trial, or of the sweep if the id is empty; new numbers show what stores lack."""
    db.executemany(
        "INSERT OR REPLACE INTO tag (trial, key, value) VALUES (?, ?, ?)",
        [(trial_id, storable(key), storable(value)) for key, value in tags.items()],
    )


def _insert_sweep_metrics(db: sqlite3.Connection, metrics: Mapping[str, float], step: int, timestamp_ms: int) -> None:
    db.executemany(
        "INSERT INTO sweep_metric (key, step, value, timestamp_ms) VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING",
        [(key, step, value, timestamp_ms) for key, value in metrics.items()],
    )


def _last_epoch(db: sqlite3.Connection, trial_id: str) -> int:
    return _of_last_turn(db, trial_id, "epoch")


def _of_last_turn(db: sqlite3.Connection, trial_id: str, column: str) -> int:
    """Reads one row: the largest value, which the last turn has, would be looked for in all turns."""
    query = f"SELECT {column} FROM turn WHERE trial = ? ORDER BY round DESC LIMIT 1"
    row = db.execute(query, (trial_id,)).fetchone()
    return 0 if row is None else int(row[0])
