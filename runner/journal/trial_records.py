"""Reads trials from a journal as records, with the metrics of their models."""

from __future__ import annotations

import json
import re
import sqlite3
from dataclasses import replace

from runner.errors import JournalError
from runner.journal.tables import (
    END_PREFIX,
    GPU_PEAK,
    PARAM_PREFIX,
    RATE,
    ROUND_PREFIX,
    TEST_PREFIX,
    TrialRecord,
    number_of,
)
from runner.records import Allocation, Clone, Facts, Trial
from runner.texts.storable import original

_ID = re.compile(r"[\w-]+")  # names files and folders


def read_trials(db: sqlite3.Connection, trial_id: str | None = None) -> tuple[TrialRecord, ...]:
    """One trial, or all in the order in which they were proposed.

    Raises:
        JournalError: another version of this program has written a trial, or it names what is not this sweep's.
    """
    where, values = ("WHERE trial.id = ?", (trial_id,)) if trial_id is not None else ("", ())
    query = (
        "SELECT trial.*, model.file AS model, model.weights AS weights, projection.run_id AS run_id, "
        "(SELECT coalesce(max(epoch), 0) FROM turn WHERE turn.trial = trial.id) AS epochs, "
        "(SELECT coalesce(sum(compute_s + evaluate_s + seat_s + swap_s), 0.0) FROM turn WHERE turn.trial = trial.id) "
        "AS seconds, "
        "coalesce((SELECT by FROM decision WHERE decision.trial = trial.id "
        "AND kind IN ('stop', 'complete', 'fail') ORDER BY number DESC LIMIT 1), '') AS ended_by FROM trial "
        "LEFT JOIN model ON model.trial = trial.id "
        "LEFT JOIN projection ON projection.trial = trial.id "
        f"AND projection.store = '' {where} ORDER BY position"
    )
    rows = db.execute(query, values).fetchall()
    clones = _clones(db, trial_id)
    records = (_record(row, clones.get(row["id"], ())) for row in rows)
    return tuple(replace(record, metrics=_model_metrics(db, record)) for record in records)


def _clones(db: sqlite3.Connection, trial_id: str | None) -> dict[str, tuple[Clone, ...]]:
    """The states of others from which trials went on, by trial; of one trial or of all."""
    query = "SELECT trial, arguments FROM decision WHERE kind = 'clone' AND (? IS NULL OR trial = ?) ORDER BY number"
    found: dict[str, tuple[Clone, ...]] = {}
    for row in db.execute(query, (trial_id, trial_id)):
        found[row["trial"]] = (*found.get(row["trial"], ()), Clone.of(json.loads(row["arguments"])))
    return found


def _model_metrics(db: sqlite3.Connection, trial: TrialRecord) -> dict[str, float]:
    if trial.clones and trial.clones[-1].epoch >= trial.epochs > 0 and trial.ended_well:
        return _metrics_of_state(db, trial.clones[-1])
    # sqlite takes the other columns from the row that has the maximum.
    rows = db.execute(
        "SELECT key, value, max(step) AS step FROM metric WHERE trial = ? AND key NOT LIKE ? AND key NOT LIKE ? "
        "AND key NOT IN (?, ?) AND (? IS NULL OR step <= ? OR key LIKE 'test!_%' ESCAPE '!' OR key LIKE ?) "
        "GROUP BY key ORDER BY key",
        (
            trial.id, f"{ROUND_PREFIX}%", f"{PARAM_PREFIX}%", GPU_PEAK, RATE,
            trial.best_epoch, trial.best_epoch, f"{END_PREFIX}%",
        ),
    )  # fmt: skip
    of_model = (TEST_PREFIX, END_PREFIX)
    has_model = trial.ended_well and trial.kept_epoch is not None
    # If not every epoch validates, the values of an earlier epoch say nothing about the model.
    return {
        original(row["key"]): number_of(row["value"])
        for row in rows
        if (has_model if row["key"].startswith(of_model) else not has_model or row["step"] == trial.kept_epoch)
    }


def _metrics_of_state(db: sqlite3.Connection, clone: Clone) -> dict[str, float]:
    """The epoch metrics of a state that another trial has taken over and ended with."""
    query = (
        "SELECT key, value FROM metric WHERE trial = ? AND step = ? AND key NOT LIKE ? AND key NOT LIKE ? "
        "AND key NOT IN (?, ?) AND key NOT LIKE 'test!_%' ESCAPE '!' AND key NOT LIKE ? ORDER BY key"
    )
    values = (clone.parent, clone.epoch, f"{ROUND_PREFIX}%", f"{PARAM_PREFIX}%", GPU_PEAK, RATE, f"{END_PREFIX}%")
    return {original(row["key"]): number_of(row["value"]) for row in db.execute(query, values)}


def _record(row: sqlite3.Row, clones: tuple[Clone, ...]) -> TrialRecord:
    values = dict(row)
    texts = {key: values.pop(key) for key in ("settings", "record", "allocation", "facts")}
    values |= {key: original(values[key]) for key in ("reason", "traceback")}
    try:
        plain = {key: json.loads(text or "null") for key, text in texts.items()}
        record = TrialRecord(
            **values,
            clones=clones,
            settings=plain["settings"],
            trial=Trial.of(plain["record"]),
            allocation=None if plain["allocation"] is None else Allocation.of(plain["allocation"]),
            facts=None if plain["facts"] is None else Facts.of(plain["facts"]),
        )
    except (KeyError, TypeError, ValueError) as err:  # a field is missing, unknown, or of another kind
        raise JournalError(f"trial {values['id']!r}: recorded by another version of this program: {err}") from err
    if not _ID.fullmatch(record.id) or record.trial.id != record.id:
        raise JournalError(f"the journal names a trial {record.id!r}, and this program makes no such id")
    files = [name for name, _ in record.trial.source.files]
    for name in filter(None, (*files, record.model, record.weights)):
        if name.startswith("/") or ".." in name.split("/"):
            raise JournalError(f"trial {record.id}: the journal names {name!r}, which is outside the sweep's folder")
    return record
