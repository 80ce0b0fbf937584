"""The logging tax: the same sweep with and without MLflow following its journal; and how fast MLflow takes rows."""

from __future__ import annotations

import sqlite3
import tempfile
import time
from contextlib import nullcontext
from pathlib import Path

from benchmarks.contestants import Task
from benchmarks.contestants.lockstep import decided, prepare_task
from benchmarks.journals import open_journal
from benchmarks.parts import NotMeasuredError, Size
from benchmarks.workloads import WORKLOADS
from runner.driver.fleets import open_fleet
from runner.driver.prepare import Prepared
from runner.journal import FILE
from runner.loop import lockstep
from runner.loop.interfaces import Fleet
from runner.loop.recovery import Recovery
from runner.loop.schedule import Schedule
from runner.testing import NullWatcher
from runner.tracking import Projection, preload

_ROWS_PER_S = 200


def measure(size: Size) -> dict[str, float]:
    """The share of a sweep's time that MLflow costs, the rows a second of the sweep and of MLflow alone.

    Raises:
        NotMeasuredError: MLflow did not take every row.
    """
    import runner.tracking.follower  # noqa: F401  # importing MLflow is part of the start, not of the logging

    preload("sqlite://")
    task = Task(workload=WORKLOADS["W2"], models=2, epochs={"full": 8, "quick": 4, "short": 1}[size])
    prepared = prepare_task(task)
    with open_fleet(prepared, prepared.slots) as fleet:
        prepared = decided(prepared, fleet)
        with tempfile.TemporaryDirectory() as folder:
            uri = f"sqlite:///{folder}/mlflow.db"
            plain_s, _ = _train(prepared, fleet, None)
            prepared = _with_rows(prepared, task, plain_s)
            _train(prepared, fleet, uri)  # makes the store
            pairs = [
                (_train(prepared, fleet, None), _train(prepared, fleet, uri))
                for _ in range({"full": 9, "quick": 2, "short": 1}[size])
            ]
    taxes = sorted(with_mlflow[0] / without[0] - 1 for without, with_mlflow in pairs)
    rows = sum(pair[1][1] / pair[1][0] for pair in pairs) / len(pairs)
    return {"tax": taxes[len(taxes) // 2], "sweep_rows_per_s": rows, "idle_rows_per_s": _idle_rows_per_s(size)}


def _with_rows(prepared: Prepared, task: Task, seconds: float) -> Prepared:
    """The same sweep in rounds so short that it makes about `_ROWS_PER_S` rows a second: two metrics a turn."""
    from dataclasses import replace

    turns = seconds * _ROWS_PER_S / 2
    steps = max(1, round(task.steps / turns))
    trials = [replace(t, train=replace(t.train, steps_per_round=steps)) for t in prepared.trials]
    return replace(prepared, trials=tuple(trials))


def _train(prepared: Prepared, fleet: Fleet, uri: str | None) -> tuple[float, int]:
    """Seconds until all are trained (MLflow's last rows may come later), and the number of metric rows."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with open_journal(prepared, folder, uri or "sqlite:///none.db") as journal:
            following = nullcontext() if uri is None else Projection(folder, uri)
            with following as projection:
                watcher = NullWatcher() if projection is None else _Notifier(projection)
                began = time.perf_counter()
                lockstep.Loop(
                    Schedule(prepared.trials, prepared.slots), Recovery(fleet, journal), journal, watcher
                ).run()
                seconds = time.perf_counter() - began
                journal.end("complete")
        if projection is not None and projection.problem is not None:
            raise NotMeasuredError(f"logging: {projection.problem}")
        # `problem` is None only if MLflow has acknowledged every row of the journal.
        return seconds, _rows(folder)


class _Notifier(NullWatcher):
    def __init__(self, projection: Projection) -> None:
        self._projection = projection

    def show(self, reports: object, verdicts: object) -> None:
        self._projection.notify()


def _rows(folder: Path) -> int:
    connection = sqlite3.connect(folder / FILE)
    try:
        return int(connection.execute("SELECT count(*) FROM metric").fetchone()[0])
    finally:
        connection.close()


def _idle_rows_per_s(size: Size) -> float:
    """Rows a second from a full journal into a new store, nothing else running."""
    rows = {"full": 40_000, "quick": 5_000, "short": 500}[size]
    prepared = prepare_task(Task(workload=WORKLOADS["W1"], models=8, epochs=1))
    with tempfile.TemporaryDirectory() as name:
        folder, uri = Path(name), f"sqlite:///{name}/mlflow.db"
        with open_journal(prepared, folder, uri):
            pass
        _fill(folder, rows)
        with Projection(folder, uri):
            pass  # creates the store and all runs, and sends everything
        with sqlite3.connect(folder / "mlflow.db") as store:
            sent = store.execute("SELECT count(*) FROM metrics").fetchone()[0]
        if sent != rows:
            raise NotMeasuredError(f"logging: {sent} of {rows} rows arrived")
        _fill(folder, rows)
        began = time.perf_counter()
        with Projection(folder, uri):
            pass
        return rows / (time.perf_counter() - began)


def _fill(folder: Path, rows: int) -> None:
    with sqlite3.connect(folder / FILE) as journal:
        trials = [row[0] for row in journal.execute("SELECT id FROM trial")]
        first = journal.execute("SELECT coalesce(max(step), 0) FROM metric").fetchone()[0] + 1
        values = [(trials[i % 8], "round/loss", first + i // 8, 0.5, 1_700_000_000_000 + i) for i in range(rows)]
        query = "INSERT INTO metric (trial, key, step, value, timestamp_ms) VALUES (?, ?, ?, ?, ?)"
        journal.executemany(query, values)
        journal.execute("UPDATE trial SET status = 'running', started_ms = 1700000000000")
