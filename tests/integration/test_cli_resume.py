"""A sweep goes on after any end of its driver, and nothing shows that it was ever interrupted."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from command_line import Folder, Tracked, make_folder, read_journal

SWEEP = (
    "sweep",
    "fleet.kind=local",
    "params.units=32",
    "params.dropout=0,0.2",
    "params.learning_rate=0.003",
    "train.epochs=12",
    "train.steps_per_round=20",
    "train.early_stopping={patience: 9}",
    "train.reduce_lr_on_plateau={patience: 0}",
    "resources.max_concurrent=2",
)


def outcome(folder: Folder) -> tuple[Any, ...]:
    """All that a sweep has found out, and that MLflow has it once."""
    (sweep,) = folder.sweeps
    record, tracked = read_journal(sweep), Tracked(folder, sweep.name)
    assert {record.sweep.status, tracked.parent.info.status} == {"complete", "FINISHED"}
    for trial_id, run in tracked.children.items():
        rows = sorted((key, step, value) for (trial, key, step), value in record.rows.items() if trial == trial_id)
        assert tracked.history(trial_id) == rows
        assert run.info.status == "FINISHED"
        assert "stop.reason" not in run.data.tags
    ends = {trial.id: (trial.status, trial.reason, trial.best_epoch) for trial in record.trials.values()}
    weights = {file.name: file.read_bytes() for file in (sweep / "models").glob("*.npz")}
    turns = sorted((turn.trial, turn.round, turn.step) for turn in record.turns)
    return record.rows, ends, weights, turns


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Folder:
    folder = make_folder(tmp_path_factory.mktemp("undisturbed"), warm=True)
    folder.run(*SWEEP)
    return folder


@pytest.fixture(scope="module")
def undisturbed(reference: Folder) -> tuple[Any, ...]:
    return outcome(reference)


@contextmanager
def changed_slots(sweep: Path) -> Iterator[None]:
    """As if the sweep had begun on a machine with many CPUs."""
    change = "UPDATE trial SET allocation = replace(allocation, '\"num_cpus\": {}', '\"num_cpus\": {}')"
    for values in (("1.0", "512.0"), ("512.0", "1.0")):
        with sqlite3.connect(sweep / "journal.db") as db:
            db.execute(change.format(*values))
        if values[1] == "512.0":
            yield


@pytest.mark.parametrize(
    "every_s",
    [pytest.param("0.2", id="from snapshots"), pytest.param("null", id="from the beginning", marks=pytest.mark.slow)],
)
def test_a_sweep_whose_driver_was_killed_goes_on_as_if_it_had_not_been(
    every_s: str, folder: Folder, reference: Folder, undisturbed: tuple[Any, ...]
) -> None:
    with sqlite3.connect(reference.store) as store, sqlite3.connect(folder.store) as copy:
        store.backup(copy)  # a store that is there takes runs early
    with folder.start(*SWEEP, f"recovery.snapshot_every_s={every_s}") as running:
        running.wait_for_round(14)
        running.process.kill()
        running.process.wait()
    (sweep,) = folder.sweeps
    runs = {trial.run_id for trial in read_journal(sweep).trials.values()} - {None}
    assert (sweep / "snapshots").exists() == (every_s != "null")
    code = folder.path / "experiments" / "digits_mlp.py"
    code.write_text(code.read_text(encoding="utf-8").replace("relu", "tanh"), encoding="utf-8")

    with changed_slots(sweep):
        ended = folder.run("resume", code=2)
        assert "this machine cannot give the slots that the sweep was trained in" in ended.err
        assert read_journal(sweep).sweep.status == "running", "nothing was touched"

    ended = folder.run("resume")
    assert "digits_mlp.py in" in ended.out
    assert "changed since; the sweep goes on with the code it began with" in ended.out
    assert outcome(folder) == undisturbed
    assert runs <= {trial.run_id for trial in read_journal(sweep).trials.values()}, "the same runs go on"


def test_finished_trials_are_trained_longer_as_if_they_had_been_asked_to_from_the_beginning(
    folder: Folder, undisturbed: tuple[Any, ...]
) -> None:
    folder.run(*SWEEP, "train.epochs=7")
    assert not list((folder.sweeps[0] / "snapshots").glob("*/*")), "snapshots go with the end of their trial"
    ended = folder.run("resume", "--more-epochs", "5")
    assert "2 of them have no snapshot and repeat what was trained before: " in ended.out
    assert outcome(folder) == undisturbed
    tracked = Tracked(folder, folder.sweeps[0].name)
    assert all(len(run.outputs.model_outputs) == 2 for run in tracked.children.values()), "a model of each end"


FRAGILE = """
import pathlib
import keras
import numpy as np
HERE = pathlib.Path({folder!r})
X = np.linspace(0, 1, 64, dtype="float32")[:, None]
class Fragile(keras.Model):
    def __init__(self, lasts):
        super().__init__()
        self.dense, self.lasts, self.validations = keras.layers.Dense(1), lasts, 0
    def call(self, x):
        return self.dense(x)
    def test_step(self, data):
        self.validations += 1
        if not self.lasts and self.validations > 2 and not (HERE / "mended").exists():
            raise RuntimeError("not mended")
        return super().test_step(data)
def load_data():
    return (X, X), (X, X)
def build_model(lasts: bool = True):
    model = Fragile(lasts)
    model.compile("adam", "mse", run_eagerly=True)
    return model
"""


def test_failed_trials_go_on_where_they_failed_once_they_are_asked_to(folder: Folder, tmp_path: Path) -> None:
    (folder.path / "fragile.py").write_text(FRAGILE.format(folder=str(tmp_path)), encoding="utf-8")
    arguments = ("fragile.py", "params.lasts=true,false", "train.epochs=4", "train.batch_size=64", "fleet.kind=local")
    folder.run("sweep", *arguments, code=3)
    (sweep,) = folder.sweeps
    before = read_journal(sweep)
    assert [trial.status for trial in before.trials.values()] == ["complete", "failed"]
    assert ("001", "loss", 2) in before.rows

    (tmp_path / "mended").touch()
    folder.run("resume", code=3)
    folder.run("resume", "--retry-failed")
    after = read_journal(sweep)
    assert [trial.status for trial in after.trials.values()] == ["complete", "complete"]
    assert {key: after.rows[key] for key in before.rows} == before.rows, "what it had reported stays"
    again = folder.run("resume", sweep.name)
    assert "nothing is left to train (2 complete)" in again.out
    tracked = Tracked(folder, sweep.name)
    assert [(run.info.status, "failure" in run.data.tags) for run in tracked.children.values()] == [
        ("FINISHED", False)
    ] * 2
