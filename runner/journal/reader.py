"""Read-only access to a journal."""

from __future__ import annotations

import json
import sqlite3
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Self

from runner.errors import JournalError, SweepNotFoundError
from runner.journal.database import FILE, FORMAT, connect
from runner.journal.tables import (
    END_PREFIX,
    EPOCH_PREFIX,
    GPU_PEAK,
    PARAM_PREFIX,
    RATE,
    ROUND_PREFIX,
    TEST_PREFIX,
    BarrierRow,
    MetricRow,
    SweepRecord,
    TrialRecord,
    TurnRow,
    number_of,
)
from runner.journal.trial_records import read_trials
from runner.records import USER, Clone, Decision, Epoch, Report, Turn
from runner.texts.storable import original, storable

PACKAGE = "lockstep-runner"


class JournalReader:
    """Reads a journal that the driver may be writing at the same time.

    Args:
        folder: the sweep's folder.

    Raises:
        SweepNotFoundError: the folder has no journal.
        JournalError: the file is not a journal, has the format of another version, or cannot be opened.
    """

    def __init__(self, folder: Path) -> None:
        if not (folder / FILE).is_file():
            raise SweepNotFoundError(f"{folder}: no sweep here; `python -m runner list` shows the sweeps")
        self._folder = folder
        try:
            self._connection = connect(folder / FILE)
        except sqlite3.DatabaseError as err:
            raise JournalError(f"{folder / FILE}: cannot be read: {err}") from err
        try:
            self._refuse_another_format()
        except BaseException:
            self._connection.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self._connection.close()

    def _refuse_another_format(self) -> None:
        # One statement, because the driver may commit between two.
        tables = "SELECT count(*) FROM sqlite_master WHERE name = 'sweep'"
        query = f"SELECT user_version, ({tables}) FROM pragma_user_version"
        found, has_tables = self._connection.execute(query).fetchone()
        if found != FORMAT and has_tables:
            (written,) = self._connection.execute("SELECT versions FROM sweep").fetchone() or ("{}",)
            writer = f"{PACKAGE} {json.loads(written).get(PACKAGE, 'of another version')}"
            raise JournalError(
                f"{self._folder / FILE}: was written by {writer} in journal format {found}; this is {PACKAGE} "
                f"{version(PACKAGE)}, which reads format {FORMAT} alone. Read it, or go on with the sweep, by {writer}"
            )

    def sweep(self) -> SweepRecord:
        """The sweep itself.

        Raises:
            SweepNotFoundError: the journal is still empty.
        """
        try:
            row = dict(self._connection.execute("SELECT * FROM sweep").fetchone())
        except sqlite3.OperationalError as err:
            raise SweepNotFoundError(f"{self._folder}: its journal is empty: the sweep did not begin") from err
        row = {name: original(value) if isinstance(value, str) else value for name, value in row.items()}
        return SweepRecord(**{**row, "versions": json.loads(row["versions"])})

    def trials(self) -> tuple[TrialRecord, ...]:
        """All trials, in the order in which they were proposed."""
        return read_trials(self._connection)

    def paused(self) -> frozenset[str]:
        """Trials that a user has paused and that have not ended."""
        query = (
            "SELECT trial FROM decision WHERE number IN (SELECT max(number) FROM decision "
            "WHERE kind IN ('pause', 'continue', 'stop', 'complete', 'fail') GROUP BY trial) AND kind = 'pause'"
        )
        return frozenset(row[0] for row in self._connection.execute(query))

    def trial(self, trial_id: str) -> TrialRecord:
        """One trial.

        Raises:
            KeyError: the sweep has no trial with this id.
        """
        found = read_trials(self._connection, trial_id)
        if not found:
            raise KeyError(trial_id)
        return found[0]

    def metrics(
        self, trial_id: str | None = None, after_seq: int = 0, limit: int = -1, key: str | None = None
    ) -> tuple[MetricRow, ...]:
        """Metric rows of one trial or of all, of one metric or of all, in the order in which they were committed."""
        wanted = {"trial": trial_id, "key": None if key is None else storable(key)}
        given = {name: value for name, value in wanted.items() if value is not None}
        where = "".join(f" AND {name} = ?" for name in given)
        query = f"SELECT * FROM metric WHERE seq > ?{where} ORDER BY seq LIMIT ?"
        rows = self._connection.execute(query, (after_seq, *given.values(), limit))
        return tuple(
            MetricRow(**{**row, "key": original(row["key"]), "value": number_of(row["value"])}) for row in rows
        )

    def sweep_metrics(self, after_seq: int = 0, limit: int = -1) -> tuple[MetricRow, ...]:
        """Metric rows of the sweep itself, as trial "", in the order in which they were committed."""
        if not self._has("sweep_metric"):
            return ()
        query = "SELECT *, '' AS trial FROM sweep_metric WHERE seq > ? ORDER BY seq LIMIT ?"
        rows = self._connection.execute(query, (after_seq, limit))
        return tuple(MetricRow(**{**row, "value": number_of(row["value"])}) for row in rows)

    def tags(self, trial_id: str = "") -> dict[str, str]:
        """The user's own tags of a trial, those of the sweep among them; of the sweep alone if the id is empty."""
        if not self._has("tag"):
            return {}
        query = "SELECT key, value FROM tag WHERE trial IN ('', ?) ORDER BY trial, seq"
        rows = self._connection.execute(query, (trial_id,))
        return {original(row["key"]): original(row["value"]) for row in rows}

    def page(self) -> tuple[str, str] | None:
        """The ids of the MLflow experiment and of the sweep's run in the config's own store, once they are known."""
        if not self._has("tag"):
            return None
        query = "SELECT experiment, run_id FROM projection WHERE store = '' AND trial = ''"
        row = self._connection.execute(query).fetchone()
        return None if row is None or row["experiment"] is None else (row["experiment"], row["run_id"])

    def _has(self, table: str) -> bool:
        """Whether the journal has a table that older ones lack."""
        query = "SELECT count(*) FROM sqlite_master WHERE type = 'table' AND name = ?"
        return bool(self._connection.execute(query, (table,)).fetchone()[0])

    def reports(self, trial_id: str) -> tuple[Report, ...]:
        """The trial's reports, turn by turn, as they were committed."""
        running: dict[int, dict[str, float]] = {}
        epochs: dict[int, Epoch] = {}
        for row in self.metrics(trial_id):
            if row.key.startswith(ROUND_PREFIX):
                running.setdefault(row.step, {})[row.key.removeprefix(ROUND_PREFIX)] = row.value
            elif row.key not in (GPU_PEAK, RATE) and not row.key.startswith((TEST_PREFIX, END_PREFIX, PARAM_PREFIX)):
                empty = Epoch(number=row.step, metrics={}, ended_s=row.timestamp_ms / 1000)
                epoch = epochs.setdefault(row.step, empty)
                epochs[row.step] = replace(
                    epoch, metrics={**epoch.metrics, row.key.removeprefix(EPOCH_PREFIX): row.value}
                )
        clones = {made.step: Clone.of(made.arguments) for made in self.decisions(trial_id) if made.kind == "clone"}
        query, reports = "SELECT * FROM turn WHERE trial = ? ORDER BY round", []
        done = clones[0].epoch if 0 in clones else 0
        for row in self._connection.execute(query, (trial_id,)):
            numbers = range(done + 1, row["epoch"] + 1)
            report = Report(
                trial_id=trial_id,
                round=row["round"],
                step=row["step"],
                epoch=row["epoch"],
                running=running.get(row["step"], {}),
                epochs=tuple(epochs.get(n) or Epoch(number=n, metrics={}, ended_s=row["ended_s"]) for n in numbers),
                turn=_turn(row),
            )
            reports.append(report)
            done = clones[report.step].epoch if report.step in clones else report.epoch
        return tuple(reports)

    def decisions(self, trial_id: str) -> tuple[Decision, ...]:
        """What was decided about the trial, in the order it was."""
        rows = self._connection.execute("SELECT * FROM decision WHERE trial = ? ORDER BY number", (trial_id,))
        return tuple(
            Decision(
                trial_id=row["trial"],
                step=row["step"],
                kind=row["kind"],
                by=row["by"],
                arguments=json.loads(row["arguments"]),
                reason=original(row["reason"]),
            )
            for row in rows
        )

    def obeyed(self) -> frozenset[int]:
        """The numbers of the requests that have added trials."""
        rows = self._connection.execute("SELECT arguments FROM decision WHERE kind = 'add' AND by = ?", (USER,))
        return frozenset(json.loads(row["arguments"])["request"] for row in rows)

    def incidents(self, trial_id: str) -> int:
        """How often the trial has lost its worker."""
        row = self._connection.execute("SELECT count(*) FROM incident WHERE trial = ?", (trial_id,)).fetchone()
        return int(row[0])

    def turns(self) -> tuple[TurnRow, ...]:
        """Every turn, by its start."""
        query = "SELECT * FROM turn ORDER BY started_s"
        names = ("trial", "slot", "round", "step", "epoch")
        rows = self._connection.execute(query)
        return tuple(TurnRow(**{name: row[name] for name in names}, turn=_turn(row)) for row in rows)

    def barriers(self) -> tuple[BarrierRow, ...]:
        """Every barrier, in order."""
        rows = self._connection.execute("SELECT * FROM barrier ORDER BY number")
        return tuple(BarrierRow(**row) for row in map(dict, rows))


def _turn(row: sqlite3.Row) -> Turn:
    return Turn(**{name: row[name] for name in Turn.__dataclass_fields__})
