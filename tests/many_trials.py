"""A journal written by hand, of a sweep with many trials whose scores depend on one parameter alone."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

from runner.journal import SqliteJournal, SweepRecord
from runner.records import Allocation, Epoch, Export, Failure, Report, Trial, Turn, Verdict, Work

CONFIG = """
name: many
search:
  space: {units: [8, 16, 32], rate: "loguniform(1e-4, 1e-1)", kind: [relu, tanh]}
"""
EVIL = "</script><script>alert(1)</script>"


def write_many(
    folder: Path,
    make_trial: Any,
    count: int = 12,
    epochs: int = 4,
    stopped: bool = False,
    kind: str = "relu",
    settings: int = 0,
) -> Path:
    """A sweep whose scores depend on `units` alone; every third trial fails or is stopped after an epoch.

    With `settings` there are as many, each with several seeds.
    """
    folder.mkdir(parents=True)
    sweep = SweepRecord(
        id=folder.name, name="many", created_ms=1_000_000, metric="val_accuracy", goal="maximize", config=CONFIG,
        command="python -m runner sweep many.py", tracking_uri="", mlflow_experiment="many", versions={},
    )  # fmt: skip
    trials = [
        replace(
            make_trial(id=f"{n:03}", epochs=epochs, seed=n // settings if settings else 0, params={
                "units": (8, 16, 32)[n % 3], "rate": 0.01 if settings else 10 ** -(1 + n / count),
                "kind": kind if n % 2 and not settings else "tanh"}),
            searched=("units", "rate", "kind"), model_params=("units", "rate", "kind"),
        )
        for n in range(count)
    ]  # fmt: skip
    with SqliteJournal(folder, {0: Allocation(num_cpus=1, memory_mib=500)}) as journal:
        journal.create(sweep, tuple(trials))
        for n, trial in enumerate(trials):
            journal.assign({0: (Work(trial=trial, round=0),)})
            if n % 6 == 5:
                message, trace = f"ValueError: {EVIL}", f"a\n{EVIL}"
                failure = Failure(trial_id=trial.id, kind="build", message=message, traceback=trace)
                journal.commit({trial.id: failure}, {trial.id: Verdict(kind="fail", reason=failure.message)}, {})
                continue
            commit_epochs(journal, trial, n, 1 if stopped and n % 3 == 0 else epochs)
        journal.end("complete")
    return folder


def commit_epochs(journal: SqliteJournal, trial: Trial, n: int, epochs: int) -> None:
    last = trial.train.epochs
    for epoch in range(1, epochs + 1):
        value = 1 - 1 / (trial.params["units"] * epoch) - n * 1e-4
        turn = Turn(pid=7, started_s=1000.0 + n + epoch / 10, ended_s=1000.1 + n + epoch / 10, compute_s=0.08,
                    memory_mib=300.0)  # fmt: skip
        report = Report(
            trial_id=trial.id, round=epoch - 1, step=10 * epoch, epoch=epoch, running={"loss": 0.5}, turn=turn,
            epochs=(Epoch(number=epoch, metrics={"val_accuracy": value, "loss": math.inf}, ended_s=turn.ended_s),),
        )  # fmt: skip
        verdict = Verdict(kind="keep")
        if epoch == epochs:
            verdict = (
                Verdict(kind="complete") if epochs == last else Verdict(kind="stop", by="halving", reason="halving: 9")
            )
        export = {trial.id: Export(trial_id=trial.id, model=b"m", weights=b"w")} if verdict.ends else {}
        journal.commit({trial.id: report}, {trial.id: verdict}, export)
