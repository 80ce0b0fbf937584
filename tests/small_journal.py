"""Journals written by hand, as a sweep of a tiny model would leave them, and what a sqlite store made of them."""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from runner.journal import FILE, SqliteJournal, SweepRecord
from runner.records import (
    Allocation,
    DataSet,
    Epoch,
    Facts,
    Report,
    Signature,
    Source,
    Tensor,
    TrainSettings,
    Trial,
    Turn,
    Work,
)  # fmt: skip

ROUNDS = 1200
SIGNATURE = Signature(
    inputs=(Tensor(name=None, dtype="float32", shape=(-1, 3)),),
    outputs=(Tensor(name=None, dtype="float32", shape=(-1, 2)),),
)
DATA = tuple(
    DataSet(
        split=split, digest=digest, rows=rows,
        tensors=(
            Tensor(name="x", dtype="float32", shape=(-1, 3)), Tensor(name="y['a']", dtype="string", shape=(-1, 2)),
        ),
    )
    for split, digest, rows in (("train", "d1", 64), ("validation", "d2", 8))
)  # fmt: skip
SYNC = "import sys; from pathlib import Path; from runner.tracking import sync; sync(Path(sys.argv[1]), None, print)"
TABLES = ("runs", "metrics", "params", "tags", "logged_models", "inputs")


def trial(number: int, units: int = 4) -> Trial:
    source = Source(path="experiments/tiny.py", root=os.getcwd(), files=(("tiny.py", "UNITS = 4\n"),))
    return Trial(
        id=f"{number:03d}", index=number, member="tiny", source=source, params={"units": units, "text": "x" * 7000},
        data_params=(), model_params=("units",), searched=("units",), train=TrainSettings(epochs=2), seed=number,
    )  # fmt: skip


def facts(loadable: bool = True, inexact: str = "") -> Facts:
    return Facts(
        steps_per_epoch=ROUNDS, rows=64, validation_rows=8, parameters=9, program="round", program_reason="",
        inexact=inexact, summary='Model: "tiny"', loadable=loadable, signature=SIGNATURE, data=DATA,
    )  # fmt: skip


def report(number: int, turn: int, value: float = 0.5, epoch: int = 0, of: Facts | None = None) -> Report:
    return Report(
        trial_id=f"{number:03d}", round=turn, step=turn + 1, epoch=epoch, running={"loss": value},
        epochs=(Epoch(number=epoch, metrics={"val_accuracy": value}, ended_s=1000.0 + turn),) if epoch else (),
        turn=Turn(pid=7, started_s=1000.0, ended_s=1000.0 + turn, compute_s=1.0), facts=of,
    )  # fmt: skip


def sweep(store: str) -> SweepRecord:
    return SweepRecord(
        id="tiny-1", name="tiny", created_ms=900_000, metric="val_accuracy", goal="maximize", config="name: tiny\n",
        command="python -m runner sweep experiments/tiny.py", tracking_uri=store, mlflow_experiment="tiny trials",
        versions={"keras": "3.1", "mlflow": "3.17"},
    )  # fmt: skip


def begin(journal: SqliteJournal, *numbers: int) -> None:
    journal.assign({0: tuple(Work(trial=trial(number), round=0) for number in numbers)})


def make_old(folder: Path) -> None:
    """A journal from before there were tags and metrics of the sweep."""
    with closing(sqlite3.connect(folder / FILE)) as old, old:
        for statement in (
            "DROP TABLE tag", "DROP TABLE sweep_metric", "ALTER TABLE sweep DROP COLUMN register",
            "ALTER TABLE sweep DROP COLUMN notified", "ALTER TABLE projection DROP COLUMN tag_seq",
            "ALTER TABLE projection DROP COLUMN experiment",
        ):  # fmt: skip
            old.execute(statement)


def eventually(question: Callable[[], bool], within_s: float) -> float:
    started_s = time.monotonic()
    while not question():
        assert time.monotonic() - started_s < within_s, f"not within {within_s} s"
        time.sleep(0.05)
    return time.monotonic() - started_s


def ask(store: Path, query: str) -> list[tuple]:
    connection = sqlite3.connect(store, timeout=20.0)
    try:
        return connection.execute(query).fetchall()
    finally:
        connection.close()


OF_TRIALS = "NOT (metrics.key LIKE 'best/%' OR metrics.key LIKE 'trials/%' OR metrics.key LIKE 'system/%')"


def counts(store: Path) -> dict[str, int]:
    """Rows of MLflow's tables; the metrics of trials, and of the sweep itself, each."""
    found = {table: ask(store, f"SELECT count(*) FROM {table}")[0][0] for table in TABLES}
    (of_trials,) = ask(store, f"SELECT count(*) FROM metrics WHERE {OF_TRIALS}")[0]
    return found | {"metrics": of_trials, "metrics of the sweep": found["metrics"] - of_trials}


def small_sweep(folder: Path, store: str) -> SqliteJournal:
    folder.mkdir(exist_ok=True)
    journal = SqliteJournal(folder, {0: Allocation(num_cpus=1)})
    journal.__enter__()
    journal.create(sweep(store), (trial(0),))
    begin(journal, 0)
    return journal
