"""The journal's `projection` table: what each store has acknowledged, and so what it still lacks."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import Self

from runner.errors import SweepNotFoundError
from runner.journal import (
    FILE,
    ROUND_PREFIX,
    JournalReader,
    MetricRow,
    SweepRecord,
    TrialRecord,
    connect,
    transaction,
    upgrade,
    winner_of,
)

HOME = ""  # the store of the sweep's config, which unlike others may move with the sweep's folder
SWEEP = ""  # the row of the sweep's own run, because no trial has an empty id
_DUE = """
SELECT trial.id, trial.status, trial.facts IS NOT NULL AS has_facts, coalesce(model.final, 0) AS has_model,
    sent.run_id, coalesce(sent.metric_seq, 0) AS metric_seq, coalesce(sent.facts, 0) AS facts_sent,
    coalesce(sent.model, 0) AS model_sent, sent.status AS status_sent
FROM trial LEFT JOIN model ON model.trial = trial.id LEFT JOIN sent ON sent.trial = trial.id
WHERE trial.started_ms IS NOT NULL
    AND (trial.status = 'running' OR sent.status IS NULL OR sent.status <> trial.status
        OR (model.final = 1 AND sent.model = 0))
ORDER BY trial.position
"""
_MISSING = """
SELECT
    (SELECT count(*) FROM metric LEFT JOIN sent ON sent.trial = metric.trial
        WHERE metric.seq > coalesce(sent.metric_seq, 0)) AS metrics,
    (SELECT count(*) FROM trial LEFT JOIN sent ON sent.trial = trial.id
        LEFT JOIN model ON model.trial = trial.id
        WHERE trial.started_ms IS NOT NULL AND trial.status <> 'running'
            AND (trial.status IS NOT sent.status OR (model.final = 1 AND sent.model = 0)))
    + (SELECT count(*) FROM sweep LEFT JOIN sent ON sent.trial = ''
        WHERE sweep.status <> 'running' AND sweep.status IS NOT sent.status) AS endings
"""
_SECONDS = """
SELECT total(compute_s) AS compute_s, total(evaluate_s) AS evaluate_s, total(seat_s) AS seat_s,
    total(swap_s) AS swap_s, total(max(0, reported_s - ended_s)) AS wait_s, total(committed_s - reported_s) AS log_s
FROM turn LEFT JOIN barrier ON barrier.number =
    (SELECT number FROM barrier WHERE reported_s >= turn.ended_s ORDER BY reported_s LIMIT 1)
WHERE trial = ?
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Due:
    """A trial that the store may lack something of.

    Args:
        metric_seq: number of the last metric row that the store has acknowledged.
        status_sent: the status that its run shows, in the journal's terms.
    """

    id: str
    status: str
    has_facts: bool
    has_model: bool
    run_id: str | None
    metric_seq: int
    facts_sent: bool
    model_sent: bool
    status_sent: str | None

    @property
    def ended(self) -> bool:
        """Whether the trial will report nothing more."""
        return self.status != "running"


class Ledger:
    """Reads the journal and records what a store has acknowledged. One connection, for one thread.

    Args:
        folder: the sweep's folder; the journal must exist.
        store: the store, by `addresses.store_name`.
    """

    def __init__(self, folder: Path, store: str) -> None:
        self.journal = JournalReader(folder)
        self._store = store
        self._db = connect(folder / FILE)
        upgrade(self._db)
        self.acknowledged_s = monotonic()
        """When the store last acknowledged something, monotonic seconds."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self._db.close()
        self.journal.__exit__(*exc)

    def settings(self) -> list[Mapping[str, object]]:
        """The settings of all trials, in order."""
        return [json.loads(row["settings"]) for row in self._db.execute("SELECT settings FROM trial ORDER BY position")]

    def first_trials(self) -> int:
        """The number of trials that the sweep began with; a sampler or a user may have added others."""
        query = "SELECT count(*) FROM trial WHERE id NOT IN (SELECT trial FROM decision WHERE kind = 'add')"
        return int(self._db.execute(query).fetchone()[0])

    def due(self) -> tuple[Due, ...]:
        """Trials that began and whose end the store does not show as the journal has it."""
        flags = ("has_facts", "has_model", "facts_sent", "model_sent")
        return tuple(Due(**{**row, **{flag: bool(row[flag]) for flag in flags}}) for row in self._of_store(_DUE))

    def missing(self) -> tuple[int, int]:
        """How many metric values and how many ends of runs the store lacks."""
        row = self._of_store(_MISSING).fetchone()
        return row["metrics"], row["endings"]

    def sent(self, trial_id: str) -> tuple[str | None, str | None]:
        """One run's id, and the status that it shows."""
        row = self._of_store("SELECT run_id, status FROM sent WHERE trial = ?", trial_id).fetchone()
        return (None, None) if row is None else (row["run_id"], row["status"])

    def runs(self) -> dict[str, str]:
        """The ids of all acknowledged runs, by trial."""
        return {row["trial"]: row["run_id"] for row in self._of_store("SELECT trial, run_id FROM sent")}

    def forget(self, trial_ids: Sequence[str]) -> None:
        """Records that the store has nothing of these trials after all."""
        with self._writing() as db:
            rows = [(self._store, trial_id) for trial_id in trial_ids]
            db.executemany("DELETE FROM projection WHERE store = ? AND trial = ?", rows)

    def begin(self, trial_id: str, run_id: str, metric_seq: int = 0, has_facts: bool = False, tag_seq: int = 0) -> None:
        """Records that the run exists, with its params and first files.

        Args:
            trial_id: of the run.
            run_id: of the run.
            metric_seq: number of the last metric row that it has.
            has_facts: whether it has the facts of its model.
            tag_seq: number of the last of the user's tags that it has.
        """
        row = (self._store, trial_id, run_id, metric_seq, int(has_facts), "running", tag_seq)
        columns = "store, trial, run_id, metric_seq, facts, status, tag_seq"
        with self._writing() as db:
            db.execute(f"INSERT INTO projection ({columns}) VALUES ({', '.join('?' * len(row))})", row)
            if trial_id == SWEEP and self._store == HOME:
                db.execute("UPDATE sweep SET run_id = ?", (run_id,))

    def acknowledge(self, seqs: Mapping[str, int]) -> None:
        """Records that the store has these trials' metric rows up to the given numbers."""
        if seqs:
            with self._writing() as db:
                db.executemany(
                    "UPDATE projection SET metric_seq = ? WHERE store = ? AND trial = ?",
                    [(seq, self._store, trial_id) for trial_id, seq in seqs.items()],
                )

    def mark(self, trial_id: str, **columns: int | str) -> None:
        """Records that the store has the facts or the model, or shows a status: new values of those columns."""
        settings = ", ".join(f"{column} = ?" for column in columns)
        with self._writing() as db:
            values = (*columns.values(), self._store, trial_id)
            db.execute(f"UPDATE projection SET {settings} WHERE store = ? AND trial = ?", values)

    def last_tag(self) -> int:
        """The number of the newest of the user's tags; 0 without one."""
        return int(self._db.execute("SELECT coalesce(max(seq), 0) FROM tag").fetchone()[0])

    def tags_due(self) -> list[tuple[str, str]]:
        """Trials whose runs lack some of the user's tags, and their runs; the sweep's own by an empty id."""
        query = (
            "SELECT trial, run_id FROM sent WHERE EXISTS (SELECT 1 FROM tag WHERE tag.trial IN ('', sent.trial) "
            "AND tag.seq > sent.tag_seq)"
        )
        return [(row["trial"], row["run_id"]) for row in self._of_store(query)]

    def experiment(self) -> str | None:
        """The MLflow experiment whose page shows the sweep; None until there is that page."""
        row = self._of_store("SELECT experiment FROM sent WHERE trial = ''").fetchone()
        return None if row is None else row["experiment"]

    def sweep_rows_sent(self) -> int:
        """The number of the last of the sweep's own metric rows that the store has acknowledged."""
        row = self._of_store("SELECT metric_seq FROM sent WHERE trial = ''").fetchone()
        return 0 if row is None else int(row["metric_seq"])

    def is_registered(self) -> bool:
        """Whether the best model of the sweep as it has ended was registered."""
        row = self._of_store("SELECT model FROM sent WHERE trial = ''").fetchone()
        return row is not None and bool(row["model"])

    def finer_than_epochs(self, rows: Sequence[MetricRow]) -> list[MetricRow]:
        """Rows of one trial without the running metrics of whole epochs, which are the epochs' own."""
        running = [row for row in rows if row.key.startswith(ROUND_PREFIX)]
        if not running:
            return list(rows)
        whole = self.whole_turns(rows[0].trial, min(row.step for row in running))
        return [row for row in rows if not (row.step in whole and row.key.startswith(ROUND_PREFIX))]

    def whole_turns(self, trial_id: str, from_step: int) -> set[int]:
        """The steps, from this one on, at the ends of turns that began with an epoch and ended with one.

        Running metrics of such a turn are those of the epoch, and say nothing more.
        """
        first = "SELECT coalesce(min(round), 0) FROM turn WHERE trial = ? AND step >= ?"
        query = f"SELECT round, step, epoch FROM turn WHERE trial = ? AND round >= ({first}) - 2 ORDER BY round"
        found = set[int]()
        epoch: int | None = None
        was_whole = False
        for row in self._db.execute(query, (trial_id, trial_id, from_step)):
            if row["round"] == 0:
                epoch, was_whole = 0, True
            ends_epoch = epoch is not None and row["epoch"] > epoch
            if ends_epoch and was_whole:
                found.add(row["step"])
            epoch, was_whole = row["epoch"], ends_epoch
        return found

    def seconds(self, trial_id: str) -> dict[str, float]:
        """How a trial's time was spent, summed over its turns; `log_s` is that of the journal's commits."""
        return dict(self._db.execute(_SECONDS, (trial_id,)).fetchone())

    def epoch_ended_ms(self, trial_id: str, epoch: int) -> int:
        """When an epoch ended, by the timestamps of its metrics, which a repetition does not change."""
        query = (
            "SELECT coalesce(min(timestamp_ms), 0) AS ended_ms FROM metric WHERE trial = ? AND step = ? "
            "AND key NOT LIKE 'round/%' AND key NOT LIKE 'param/%' AND key NOT LIKE 'memory/%' "
            "AND key NOT LIKE 'optimizer/%' AND key NOT LIKE 'test!_%' ESCAPE '!'"
        )
        return int(self._db.execute(query, (trial_id, epoch)).fetchone()["ended_ms"])

    def best(self, sweep: SweepRecord) -> tuple[TrialRecord, float] | None:
        """The best trial, as `winner_of`, with its score; on a tie the one proposed first."""
        best = winner_of(self.journal.trials(), sweep)
        value = None if best is None else best.score(sweep.metric)
        return None if best is None or value is None else (best, value)

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        with transaction(self._db) as db:
            yield db
        self.acknowledged_s = monotonic()

    def _of_store(self, query: str, *values: str) -> sqlite3.Cursor:
        """Runs a query in which `sent` stands for this store's rows of the projection."""
        return self._db.execute(
            f"WITH sent AS (SELECT * FROM projection WHERE store = ?) {query}", (self._store, *values)
        )


def describe_missing(ledger: Ledger, where: str, reason: str) -> str | None:
    """What a store lacks, why, and the command that sends it; None if it lacks nothing."""
    metrics, endings = ledger.missing()
    if metrics + endings == 0:
        return None
    return (
        f"{where} lacks {metrics} metric values and the end of {endings} runs ({reason}); the journal keeps them, "
        f"send them with: python -m runner sync {ledger.journal.sweep().id}"
    )


def is_ready(folder: Path) -> bool:
    """Whether the journal holds its sweep and trials, which are written in one transaction."""
    if not (folder / FILE).is_file():
        return False
    try:
        with JournalReader(folder) as journal:
            journal.sweep()
    except (SweepNotFoundError, sqlite3.OperationalError):  # empty, or a driver is creating it now
        return False
    return True
