"""Rows of trials and of what is decided about them. Each function is called inside a transaction."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable
from dataclasses import replace

from runner.journal.rows import insert_metrics, steps_taken
from runner.journal.tables import PARAM_PREFIX, Status
from runner.records import (
    Clone,
    Decision,
    Export,
    Failure,
    Report,
    Trial,
    Verdict,
    cloned,
    decisions_of,
    json_text,
    to_json,
)
from runner.texts.storable import storable

_ENDED: dict[str, Status] = {"complete": "complete", "stop": "stopped", "fail": "failed"}


def _settings_of(trial: Trial) -> str:
    """The flat settings of a trial, as JSON."""
    return json_text(trial.settings)


def insert_trials(db: sqlite3.Connection, trials: Iterable[Trial]) -> None:
    """Adds queued trials behind those that the sweep has."""
    if not (trials := tuple(trials)):
        return  # counting the others would read them all at each barrier
    (position,) = db.execute("SELECT coalesce(max(position) + 1, 0) FROM trial").fetchone()
    for number, trial in enumerate(trials, position):
        db.execute(
            "INSERT INTO trial (id, position, member, settings, record) VALUES (?, ?, ?, ?, ?)",
            (trial.id, number, trial.member, _settings_of(trial), to_json(trial)),
        )


def insert_decisions(db: sqlite3.Connection, decisions: Iterable[Decision]) -> None:
    """Adds decisions, in the order they were made."""
    db.executemany(
        "INSERT INTO decision (trial, step, kind, arguments, reason, by) VALUES (?, ?, ?, ?, ?, ?)",
        [
            (made.trial_id, made.step, made.kind, json.dumps(dict(made.arguments)), storable(made.reason), made.by)
            for made in decisions
        ],
    )


def apply_clones(db: sqlite3.Connection, decisions: Iterable[Decision], timestamp_ms: int) -> None:
    """Gives trials that go on from the state of others their new values, and records the old and new ones as metrics.

    A value that is a number is a metric by epoch: until the epoch at which it changes, and from the next one on.
    """
    for made in decisions:
        if made.kind != "clone":
            continue
        clone, query = Clone.of(made.arguments), "SELECT record FROM trial WHERE id = ?"
        was = Trial.of(json.loads(db.execute(query, (made.trial_id,)).fetchone()[0]))
        trial = cloned(was, clone)
        row = (_settings_of(trial), to_json(trial), trial.id)
        db.execute("UPDATE trial SET settings = ?, record = ? WHERE id = ?", row)
        values = [(1, clone.before), (clone.epoch, clone.before), (clone.epoch + 1, clone.values)]
        rows = [
            (PARAM_PREFIX + name, epoch, float(value))
            for epoch, chosen in values
            for name, value in chosen.items()
            if isinstance(value, int | float) and not isinstance(value, bool)
        ]
        insert_metrics(db, trial.id, rows, timestamp_ms)


def apply_verdict(
    db: sqlite3.Connection,
    trial_id: str,
    verdict: Verdict,
    report: Report | Failure | None,
    export: Export | Failure | None,
    timestamp_ms: int,
) -> None:
    """Records what was decided about a trial at its barrier, and its end if it ends there.

    Args:
        db: inside a transaction.
        trial_id: the trial.
        verdict: what was decided.
        report: of its turn; None if it had none.
        export: of its model; None if it does not end.
        timestamp_ms: when it ends, if it does; milliseconds since the epoch.
    """
    step = report.step if isinstance(report, Report) else steps_taken(db, trial_id)
    model_lost = isinstance(report, Report) and isinstance(export, Failure)
    failure = next((value for value in (report, export) if isinstance(value, Failure)), None)
    reason = f"{failure.kind}: {failure.message}" if failure else verdict.reason
    verdict = replace(verdict, reason=reason)
    insert_decisions(db, decisions_of(trial_id, step, verdict, model_lost=model_lost))
    if verdict.keep_best and isinstance(report, Report):
        db.execute("UPDATE trial SET best_epoch = ? WHERE id = ?", (report.epoch, trial_id))
    if not verdict.ends:
        return
    status = "failed" if failure else _ENDED[verdict.kind]
    traceback = failure.traceback if failure else ""
    db.execute(
        "UPDATE trial SET status = ?, reason = ?, traceback = ?, ended_ms = max(?, coalesce(started_ms, 0)) "
        "WHERE id = ?",
        (status, storable(reason), storable(traceback), timestamp_ms, trial_id),
    )


def let_go_on(db: sqlite3.Connection, trial: Trial, turns: int) -> None:
    """Lets a trial run again that has ended, with this record, after this number of its turns.

    Removes the turns beyond with the decisions that followed them, and its model.
    """
    db.execute("DELETE FROM turn WHERE trial = ? AND round >= ?", (trial.id, turns))
    db.execute("DELETE FROM decision WHERE trial = ? AND step > ?", (trial.id, steps_taken(db, trial.id)))
    db.execute(
        "UPDATE trial SET status = CASE WHEN started_ms IS NULL THEN 'queued' ELSE 'running' END, "
        "reason = '', traceback = '', ended_ms = NULL, settings = ?, record = ? WHERE id = ?",
        (_settings_of(trial), to_json(trial), trial.id),
    )
    db.execute("DELETE FROM model WHERE trial = ?", (trial.id,))
    db.execute("UPDATE projection SET model = 0 WHERE trial = ?", (trial.id,))
