"""Writes a journal: the driver's side, one transaction for each barrier."""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, astuple, replace
from pathlib import Path
from typing import Self

from runner.errors import JournalError
from runner.journal.database import FILE, FORMAT, LATER_TABLES, SCHEMA, connect, transaction, upgrade
from runner.journal.model_files import has_model, put_model, remove_models
from runner.journal.rows import (
    insert_barrier,
    insert_end_metrics,
    insert_epochs_and_facts,
    insert_last_metrics,
    insert_models,
    insert_samples,
    insert_standing,
    insert_tags,
    insert_turn,
    marks,
)
from runner.journal.standing import Standing
from runner.journal.tables import SweepRecord, SweepStatus
from runner.journal.trial_files import put_files
from runner.journal.trial_rows import apply_clones, apply_verdict, insert_decisions, insert_trials, let_go_on
from runner.records import (
    Allocation,
    Decision,
    Export,
    Failure,
    Incident,
    Report,
    Sample,
    Trial,
    Verdict,
    Work,
    to_json,
)
from runner.texts.storable import storable

_NO_TAGS: Mapping[str, str] = {}


class SqliteJournal:
    """Writes a sweep's journal: everything except the `projection` table.

    Args:
        folder: the sweep's own folder; it must exist.
        allocations: the share of each slot, recorded with every trial that begins there.
        clock: seconds since the epoch.
        models_stay: a committed model is final; otherwise models become final when all trials have ended.
        samples: returns the samples of the machine's use since its last call, at the end with the unfinished one.
    """

    def __init__(
        self,
        folder: Path,
        allocations: Mapping[int, Allocation],
        clock: Callable[[], float] = time.time,
        models_stay: bool = True,
        samples: Callable[[bool], Iterable[Sample]] = lambda _: (),
    ) -> None:
        self._folder = folder
        self._allocations = dict(allocations)
        self._models_stay = models_stay
        self._clock, self._samples = clock, samples
        self._standing = Standing()
        self._connection: sqlite3.Connection | None = None
        self._began_s = 0.0
        self._committed_s: float | None = None
        self._seats: set[tuple[int, str]] = set()

    def __enter__(self) -> Self:
        with _writing(self._folder):
            self._connection = connect(self._folder / FILE)
            upgrade(self._connection)
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

    def create(self, sweep: SweepRecord, trials: tuple[Trial, ...], tags: Mapping[str, str] = _NO_TAGS) -> None:
        """Creates the tables and adds the sweep with its queued trials; called once, before the first assignment.

        Args:
            sweep: the sweep.
            trials: its first ones.
            tags: the user's own, of the sweep and all its trials.
        """
        values = {**asdict(sweep), "versions": json.dumps(dict(sweep.versions), sort_keys=True)}
        row = {name: storable(value) if isinstance(value, str) else value for name, value in values.items()}
        with self._transaction() as db:
            for statement in filter(str.strip, (SCHEMA + LATER_TABLES).split(";")):
                db.execute(statement)
            db.execute(f"PRAGMA user_version = {FORMAT}")
            db.execute(f"INSERT INTO sweep ({', '.join(row)}) VALUES ({marks(row)})", tuple(row.values()))
            insert_trials(db, trials)
            insert_tags(db, "", tags)

    def reopen(self, going_on: Mapping[str, tuple[Trial, int]], decisions: Sequence[Decision] = ()) -> None:
        """Lets the sweep and some of its trials run again; called once, by a new driver.

        Replaces the records of these trials, because they may have more epochs now, and removes their models, because
        MLflow will get new ones. The metrics of turns that are repeated stay, with their timestamps.

        Args:
            going_on: the trials by id, each with the number of its turns that count. The others are removed with the
                decisions that followed them; repeated, they lead to the same decisions.
            decisions: those that the user's request adds.
        """
        with self._transaction() as db:
            db.execute("UPDATE sweep SET status = 'running', ended_ms = NULL, notified = NULL")
            # The pause counts as no time.
            db.execute("UPDATE barrier SET committed_s = reported_s WHERE committed_s IS NULL")
            for trial, turns in going_on.values():
                let_go_on(db, trial, turns)
            insert_decisions(db, decisions)
            # The end that their MLflow runs show no longer holds, even if they end the same way again.
            db.executemany(
                "UPDATE projection SET status = 'resumed' WHERE trial = ? AND status <> 'running'",
                [("",), *((trial_id,) for trial_id in going_on)],
            )

    def assign(self, work: Mapping[int, tuple[Work, ...]]) -> None:
        """Records that a round begins, and marks trials that begin with it as running in their slots."""
        self._began_s = self._clock()
        seats = {(slot, item.trial.id) for slot, items in work.items() for item in items}
        begun, self._seats = sorted(seats - self._seats), seats
        if not begun:
            return
        with self._transaction() as db:
            for slot, trial_id in begun:
                db.execute(
                    "UPDATE trial SET status = 'running', slot = ?, allocation = ?, "
                    "started_ms = coalesce(started_ms, ?) WHERE id = ?",
                    (slot, to_json(self._allocations[slot]), self._now_ms(), trial_id),
                )

    def commit(
        self,
        reports: Mapping[str, Report | Failure],
        verdicts: Mapping[str, Verdict],
        exports: Mapping[str, Export | Failure],
        added: Sequence[Trial] = (),
        decisions: Sequence[Decision] = (),
    ) -> None:
        """Records one barrier in one transaction. Model files are on disk before the rows that name them.

        Raises:
            JournalError: the journal cannot be written, for example because the disk is full; it is unchanged.
        """
        reported_s = self._clock()
        with _writing(self._folder):
            models = {key: put_model(self._folder, value) for key, value in exports.items() if has_model(value)}
            for answer in (*reports.values(), *exports.values()):
                if answer.files is not None:
                    put_files(self._folder, answer.trial_id, answer.files)
        slots = {trial_id: slot for slot, trial_id in self._seats}
        with self._transaction() as db:
            for report in reports.values():
                if isinstance(report, Report):
                    insert_turn(db, report, slots.get(report.trial_id, 0))
                insert_epochs_and_facts(db, report)
            insert_models(db, models, final=self._models_stay)
            for answer in (*reports.values(), *exports.values()):
                if isinstance(answer, Report | Export):
                    insert_end_metrics(db, answer, self._now_ms())
                if isinstance(answer, Export):
                    insert_last_metrics(db, answer, self._now_ms())
            insert_trials(db, added)
            insert_decisions(db, decisions)
            apply_clones(db, decisions, self._now_ms())
            for trial_id, verdict in verdicts.items():
                apply_verdict(db, trial_id, verdict, reports.get(trial_id), exports.get(trial_id), self._now_ms())
            insert_barrier(db, self._began_s, reported_s, last_committed_s=self._committed_s)
            changed = {*reports, *verdicts, *exports, *(trial.id for trial in added), *slots}
            insert_standing(db, self._standing.metrics(db, changed, reported_s), self._now_ms())
            insert_samples(db, self._samples(False))
        self._committed_s = self._clock()

    def add(self, trials: Sequence[Trial], decisions: Sequence[Decision]) -> None:
        """Adds trials to a sweep that does not run, with the decisions that add them."""
        with self._transaction() as db:
            insert_trials(db, trials)
            insert_decisions(db, decisions)
            apply_clones(db, decisions, self._now_ms())

    def note(self, incident: Incident) -> None:
        """Records that a trial has lost its worker."""
        with self._transaction() as db:
            db.execute(
                "INSERT INTO incident (trial, round, kind, message, noticed_s) VALUES (?, ?, ?, ?, ?)",
                astuple(replace(incident, message=storable(incident.message))),
            )

    def resize(self, slot: int, allocation: Allocation) -> None:
        """Records a new share of a slot, for the trials in it and those to come."""
        self._allocations[slot] = allocation
        with self._transaction() as db:
            db.execute(
                "UPDATE trial SET allocation = ? WHERE slot = ? AND status = 'running'", (to_json(allocation), slot)
            )

    def drop_models(self, trial_ids: Sequence[str]) -> None:
        """Removes the rows of models before their files, so that every named file exists at any moment."""
        if not trial_ids:
            return
        marks = ", ".join("?" * len(trial_ids))
        with self._transaction() as db:
            rows = db.execute(f"SELECT file, weights FROM model WHERE trial IN ({marks})", tuple(trial_ids)).fetchall()
            db.execute(f"DELETE FROM model WHERE trial IN ({marks})", tuple(trial_ids))
        remove_models(self._folder, (name for row in rows for name in row if name is not None))

    def tag(self, trial_id: str, tags: Mapping[str, str]) -> None:
        """Records tags of the user's own: of a trial, or of the sweep and all its trials if the id is empty."""
        with self._transaction() as db:
            insert_tags(db, trial_id, tags)

    def begin_notice(self) -> bool:
        """Records that the user's command is called for this end of the sweep; false if it was before.

        It is recorded before the call, so that the command is never called twice, whatever kills the driver.
        """
        with self._transaction() as db:
            return db.execute("UPDATE sweep SET notified = 1 WHERE notified IS NULL").rowcount == 1

    def end(self, status: SweepStatus) -> None:
        """Closes the sweep; trials that still run or wait end with it, as killed."""
        with self._transaction() as db:
            if status == "complete":
                db.execute("UPDATE model SET final = 1")
            db.execute("UPDATE sweep SET status = ?, ended_ms = max(?, created_ms)", (status, self._now_ms()))
            if self._began_s:  # something was trained
                insert_samples(db, self._samples(True))
            db.execute("UPDATE barrier SET committed_s = ? WHERE committed_s IS NULL", (self._committed_s,))
            db.execute(
                "UPDATE trial SET status = 'killed', ended_ms = max(?, coalesce(started_ms, 0)), "
                "reason = 'the sweep was ended' WHERE status IN ('running', 'queued')",
                (self._now_ms(),),
            )

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with _writing(self._folder), transaction(self._open) as db:
            yield db

    def _now_ms(self) -> int:
        return int(self._clock() * 1000)


@contextmanager
def _writing(folder: Path) -> Iterator[None]:
    try:
        yield
    except (sqlite3.OperationalError, OSError) as err:
        what = err.strerror if isinstance(err, OSError) and err.strerror else str(err)
        raise JournalError(
            f"{folder}: the journal cannot be written: {what}; it has all earlier rounds and nothing of this one"
        ) from err
