"""The journal's `projection` table: what MLflow has acknowledged, and so what is still to be sent."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Self

from runner.journal import FILE, JournalReader, SweepRecord, TrialRecord, connect, transaction

SWEEP = ""  # the row of the sweep's own run; no trial has an empty id
_DUE = """
SELECT trial.id, trial.status, trial.facts IS NOT NULL AS has_facts, model.trial IS NOT NULL AS has_model,
    projection.trial IS NOT NULL AS claimed, projection.run_id, coalesce(projection.metric_seq, 0) AS metric_seq,
    coalesce(projection.facts, 0) AS facts_sent, coalesce(projection.model, 0) AS model_sent,
    projection.status AS status_sent
FROM trial LEFT JOIN model ON model.trial = trial.id LEFT JOIN projection ON projection.trial = trial.id
WHERE trial.started_ms IS NOT NULL
    AND (trial.status = 'running' OR projection.status IS NULL OR projection.status <> trial.status)
ORDER BY trial.position
"""
_MISSING = """
SELECT
    (SELECT count(*) FROM metric LEFT JOIN projection ON projection.trial = metric.trial
        WHERE metric.seq > coalesce(projection.metric_seq, 0)) AS metrics,
    (SELECT count(*) FROM trial LEFT JOIN projection ON projection.trial = trial.id
        WHERE trial.started_ms IS NOT NULL AND trial.status <> 'running'
            AND trial.status IS NOT projection.status)
    + (SELECT count(*) FROM sweep LEFT JOIN projection ON projection.trial = ''
        WHERE sweep.status <> 'running' AND sweep.status IS NOT projection.status) AS endings
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Due:
    """A trial of which MLflow may lack something.

    Args:
        claimed: its run was about to be created; without a `run_id` it may or may not exist.
        metric_seq: the last metric row that MLflow has acknowledged.
        model_sent: 0 nothing, 1 begun, 2 all of it.
        status_sent: the journal's status that its run shows.
    """

    id: str
    status: str
    has_facts: bool
    has_model: bool
    claimed: bool
    run_id: str | None
    metric_seq: int
    facts_sent: bool
    model_sent: int
    status_sent: str | None

    @property
    def ended(self) -> bool:
        """True where the trial will report nothing more."""
        return self.status != "running"


class Ledger:
    """Reads the journal and keeps account of what was sent. One connection, for one thread.

    Args:
        folder: the sweep's folder; the journal must exist.
    """

    def __init__(self, folder: Path) -> None:
        self.journal = JournalReader(folder)
        self._db = connect(folder / FILE)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self._db.close()
        self.journal.__exit__(*exc)

    def ready(self) -> bool:
        """True once the journal holds its sweep and trials."""
        tables = self._db.execute("SELECT count(*) FROM sqlite_master WHERE name IN ('sweep', 'trial')").fetchone()[0]
        return bool(tables == 2 and self._db.execute("SELECT count(*) FROM sweep").fetchone()[0])

    def settings(self) -> list[Mapping[str, Any]]:
        """The settings of all trials, in order."""
        return [json.loads(row["settings"]) for row in self._db.execute("SELECT settings FROM trial ORDER BY position")]

    def due(self) -> tuple[Due, ...]:
        """Trials that began and have not ended in MLflow as they have in the journal."""
        flags = ("has_facts", "has_model", "claimed", "facts_sent")
        return tuple(Due(**{**row, **{flag: bool(row[flag]) for flag in flags}}) for row in self._db.execute(_DUE))

    def missing(self) -> tuple[int, int]:
        """How many metric values, and how many ends of runs, the journal holds and MLflow does not."""
        row = self._db.execute(_MISSING).fetchone()
        return row["metrics"], row["endings"]

    def sent(self, trial_id: str) -> tuple[bool, str | None, str | None]:
        """Of one run: whether it was claimed, its id, and the status that it shows."""
        row = self._db.execute("SELECT run_id, status FROM projection WHERE trial = ?", (trial_id,)).fetchone()
        return (False, None, None) if row is None else (True, row["run_id"], row["status"])

    def claim(self, trial_id: str) -> None:
        """Before a run is created: should its id be lost, the next attempt looks for the run first."""
        with transaction(self._db) as db:
            db.execute("INSERT OR IGNORE INTO projection (trial) VALUES (?)", (trial_id,))

    def begin(self, trial_id: str, run_id: str) -> None:
        """The run exists and has its params and first files."""
        with transaction(self._db) as db:
            db.execute("UPDATE projection SET run_id = ?, status = 'running' WHERE trial = ?", (run_id, trial_id))
            if trial_id == SWEEP:
                db.execute("UPDATE sweep SET run_id = ?", (run_id,))

    def acknowledge(self, seqs: Mapping[str, int]) -> None:
        """MLflow has every metric row of these trials up to the given ones."""
        if seqs:
            with transaction(self._db) as db:
                db.executemany(
                    "UPDATE projection SET metric_seq = ? WHERE trial = ?", [(seq, key) for key, seq in seqs.items()]
                )

    def mark(self, trial_id: str, column: Literal["facts", "model", "status"], value: int | str) -> None:
        """MLflow has that much of the facts, the model, or shows that status."""
        with transaction(self._db) as db:
            db.execute(f"UPDATE projection SET {column} = ? WHERE trial = ?", (value, trial_id))

    def last_epoch(self, trial_id: str) -> int:
        """Epochs that a trial has completed."""
        row = self._db.execute(
            "SELECT coalesce(max(epoch), 0) AS epoch FROM turn WHERE trial = ?", (trial_id,)
        ).fetchone()
        return int(row["epoch"])

    def best(self, sweep: SweepRecord) -> tuple[TrialRecord, float] | None:
        """The trial whose model has the best value of the sweep's metric, and that value; of equals the first."""
        with_model = [trial for trial in self.journal.trials() if trial.weights is not None]
        found = [(trial.metrics.get(sweep.metric, math.nan), trial) for trial in with_model]
        found = [(value, trial) for value, trial in found if math.isfinite(value)]
        if not found:
            return None
        value, trial = (max if sweep.goal == "maximize" else min)(found, key=lambda pair: pair[0])
        return trial, value
