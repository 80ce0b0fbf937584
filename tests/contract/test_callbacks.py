"""Callbacks of a trial get the same hooks with the same logs as in `fit`, and training ends with the same weights."""

from __future__ import annotations

import gc
import io
import json
import sys
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

from runner.records import Checked, Export, Failure, Replay, Report, Trial, Work

pytestmark = pytest.mark.usefixtures("tensorflow")

FILE = Path(__file__).parents[1] / "with_callbacks.py"
EPOCHWISE = (
    "nothing", "scheduler", "lambda", "csv", "confusion", "stops", "early_stopping", "plateau", "swap_epoch",
    "swap_test", "checkpoint", "quiet", "freezes", "scales",
)  # fmt: skip
STEPWISE = ("lambda_batch", "stops_in_epoch", "checkpoint_batch", "terminate_on_nan", "batches")

# Are seen in turns that end within an epoch too.
WITHIN_EPOCHS = (
    *((kind, 2) for kind in ("stops_in_epoch", "swap_epoch", "batches")),
    *(pytest.param(kind, 2, marks=pytest.mark.slow) for kind in ("csv", "terminate_on_nan")),
)


class Trained:
    """A trial that a worker has trained to its end, in turns of this number of steps or of whole epochs."""

    def __init__(self, trial: Trial, folder: Path) -> None:
        from runner.worker.worker import Worker

        self.worker, self.trial, self.folder = Worker(), trial, folder
        self.reports: list[Report] = []
        loaded = self.worker.load(trial)
        while not self.reports or not (self.reports[-1].stops or self.reports[-1].epoch >= trial.train.epochs):
            work = Work(trial=trial, round=len(self.reports), files=folder)
            report = self.worker.advance([work], [loaded])[trial.id]
            assert isinstance(report, Report), report
            self.reports.append(report)
        export = self.worker.export(trial, best=False)
        assert isinstance(export, Export), export
        self.export = export

    @property
    def metrics(self) -> list[dict[str, float]]:
        return [dict(epoch.metrics) for report in self.reports for epoch in report.epochs]

    @property
    def weights(self) -> list[np.ndarray]:
        with np.load(io.BytesIO(self.export.weights), allow_pickle=False) as file:
            return [file[name] for name in file.files]


@pytest.fixture
def trial(make_trial: Any) -> Any:
    def make(kind: str, **train: Any) -> Trial:
        made = make_trial(
            path=FILE, params={"kind": kind}, data_params=(), epochs=4, shuffle=False, batch_size=32, **train
        )
        return replace(made, callback_params=("kind",))

    return make


class Fitted(NamedTuple):
    """What plain Keras gives: what `History` has, the weights, and the folder that callbacks have written to."""

    metrics: list[dict[str, float]]
    weights: list[np.ndarray]
    folder: Path


@pytest.fixture(scope="module")
def fitted(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Fitted]:
    """The same trial with plain Keras, by kind; several tests compare with it."""
    root = tmp_path_factory.mktemp("fit")
    return cache(lambda kind: fit(kind, root / kind))


def fit(kind: str, folder: Path) -> Fitted:
    sys.path.append(str(FILE.parent))
    import keras
    import with_callbacks as experiment

    folder.mkdir()
    keras.utils.set_random_seed(0)
    data = experiment.load_data()
    model = experiment.build_model(kind)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        history = model.fit(
            *data.train, validation_data=data.validation, epochs=4, batch_size=32, shuffle=False, verbose=0,
            callbacks=experiment.callbacks(kind),
        ).history  # fmt: skip
    epochs = len(history["loss"])
    metrics = [{name: values[epoch] for name, values in history.items()} for epoch in range(epochs)]
    return Fitted(metrics, model.get_weights(), folder)


def hooks(folder: Path) -> list[Any]:
    return [json.loads(line) for line in (folder / "hooks.jsonl").read_text().splitlines()]


@pytest.mark.parametrize(
    ("kind", "steps_per_round"),
    [*((kind, None) for kind in (*EPOCHWISE, *STEPWISE)), *WITHIN_EPOCHS],
)
def test_hooks_logs_metrics_and_weights_are_those_of_fit(
    kind: str, steps_per_round: int | None, trial: Any, tmp_path: Path, fitted: Callable[[str], Fitted]
) -> None:
    metrics, weights, folder = fitted(kind)
    trained = Trained(trial(kind, steps_per_round=steps_per_round), tmp_path / "trial")
    assert hooks(tmp_path / "trial") == hooks(folder)
    own = [{name: value for name, value in epoch.items() if name != "confused"} for epoch in trained.metrics]
    np.testing.assert_equal(own, metrics)  # NaN is equal to NaN
    assert all(np.array_equal(*pair, equal_nan=True) for pair in zip(trained.weights, weights, strict=True))
    expected = "plain" if kind in STEPWISE else "round"
    facts = trained.reports[0].facts
    assert facts is not None
    assert (facts.program, bool(facts.program_reason)) == (expected, kind in STEPWISE)


def test_what_callbacks_write_and_log_is_the_trials_own(
    trial: Any, tmp_path: Path, fitted: Callable[[str], Fitted]
) -> None:
    expected = fitted("confusion").folder
    trained = Trained(trial("confusion"), tmp_path / "trial")
    names = {f"confusion-{epoch}.txt" for epoch in range(4)} | {"hooks.jsonl"}
    assert {path.name for path in (tmp_path / "trial").iterdir()} == names
    for name in names:
        assert (tmp_path / "trial" / name).read_text() == (expected / name).read_text()
    confused = [sum(map(sum, matrix)) - np.trace(matrix) for matrix in _matrices(tmp_path / "trial")]
    assert [epoch["confused"] for epoch in trained.metrics] == confused
    assert "balanced" in trained.metrics[0]
    assert trained.export.files is None


@pytest.mark.slow
def test_without_a_folder_of_this_machine_files_come_by_value(trial: Any, tmp_path: Path) -> None:
    local = Trained(trial("confusion"), tmp_path / "trial")
    remote = Trained(trial("confusion"), None)  # type: ignore[arg-type]
    assert remote.export.files is not None
    assert dict(remote.export.files) == {path.name: path.read_bytes() for path in local.folder.iterdir()}


def test_a_lost_trial_is_repeated_with_an_empty_folder(trial: Any, tmp_path: Path) -> None:
    from runner.worker.worker import Worker

    one, folder = trial("csv"), tmp_path / "trial"
    whole = Trained(one, tmp_path / "whole")
    worker = Worker()
    loaded = worker.load(one)
    orders = tuple(Work(trial=one, round=number, files=folder) for number in range(2))
    for order in orders:
        worker.advance([order], [loaded])
    (folder / "left over").write_text("")
    other = Worker()
    found = other.restore(Replay(trial=one, snapshot=None, orders=orders), [other.load(one)])
    assert isinstance(found, Report)
    assert [found.step, found.epoch] == [whole.reports[1].step, 2]
    assert len((folder / "log.csv").read_text().splitlines()) == 3
    assert sorted(path.name for path in folder.iterdir()) == ["hooks.jsonl", "log.csv"]
    assert hooks(folder) == hooks(tmp_path / "whole")[: len(hooks(folder))]


def test_a_callback_that_fails_fails_its_trial_and_keeps_its_epochs(trial: Any, tmp_path: Path) -> None:
    from runner.worker.worker import Worker

    worker, one = Worker(), trial("fails", epochs_per_round=4)
    failure = worker.advance([Work(trial=one, round=0, files=tmp_path / "f")], [worker.load(one)])[one.id]
    assert isinstance(failure, Failure)
    assert (failure.kind, len(failure.epochs)) == ("train", 1)
    assert failure.message == "RuntimeError: a callback fails"
    assert failure.place.startswith(f"{FILE}:")
    assert (tmp_path / "f" / "hooks.jsonl").exists()


def test_a_callback_that_fails_at_the_end_of_training_has_failed_in_training(trial: Any, tmp_path: Path) -> None:
    from runner.worker.worker import Worker

    worker, one = Worker(), trial("fails_at_the_end", epochs_per_round=4)
    report = worker.advance([Work(trial=one, round=0, files=tmp_path / "f")], [worker.load(one)])[one.id]
    assert isinstance(report, Report)
    failure = worker.export(one, best=False)
    assert isinstance(failure, Failure)
    assert (failure.kind, failure.message.partition(":")[0]) == ("train", "JSONDecodeError")
    assert failure.place.startswith(f"{FILE}:")


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("none", "TypeError: callbacks returned None; return a list of keras.callbacks.Callback"),
        ("backup", "ValueError: callbacks returned a BackupAndRestore; leave it out, because the runner itself brings"),
    ],
)
def test_what_cannot_work_is_refused_by_the_check_and_before(kind: str, message: str, trial: Any) -> None:
    from runner.worker.worker import Worker

    one = trial(kind)
    for failure in (Worker().check(one, (worker := Worker()).load(one)), worker.build(one)):
        assert isinstance(failure, Failure)
        assert failure.message.startswith(message)


def test_the_check_knows_the_metrics_that_callbacks_add(trial: Any) -> None:
    from runner.worker.worker import Worker

    worker, one = Worker(), trial("confusion")
    checked = worker.check(one, worker.load(one))
    assert isinstance(checked, Checked)
    assert {"balanced", "confused", "val_loss"} <= set(checked.metrics)
    assert checked.facts.inexact == "callbacks: the code of Confusion is not examined for hidden random state"


@pytest.mark.parametrize(
    ("kind", "warning"),
    [
        (
            "shared",
            "CSVLogger writes to log.csv, which all trials share; write to runner.trial_folder(), which",
        ),
        ("text", "callbacks: 'word' in logs is a str, and only numbers are recorded as metrics"),
    ],
)
def test_files_that_trials_share_and_lost_values_are_warned_about(
    kind: str, warning: str, trial: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from runner.worker.worker import Worker

    monkeypatch.chdir(tmp_path)
    worker, one = Worker(), trial(kind)
    checked = worker.check(one, worker.load(one))
    assert isinstance(checked, Checked)
    assert any(text.startswith(warning) for text in checked.aside.warnings)


def test_what_is_logged_at_the_end_is_apart_from_the_epochs(trial: Any, tmp_path: Path) -> None:
    trained = Trained(trial("at_the_end"), tmp_path / "trial")
    assert [epoch["f1"] for epoch in trained.metrics] == [0, 1, 2, 3]
    assert trained.export.logged == {"f1": 99.0}


def test_early_stopping_says_whose_weights_it_has_put_back(trial: Any, tmp_path: Path) -> None:
    trained = Trained(trial("early_stopping"), tmp_path / "trial")  # of a loss that should rise, so of the first epoch
    assert trained.export.best_epoch == 1
    assert Trained(trial("csv"), tmp_path / "other").export.best_epoch is None


def test_an_object_that_trials_share_is_refused(trial: Any, tmp_path: Path) -> None:
    from runner.worker.worker import Worker

    worker, one, two = Worker(), trial("shared_object"), replace(trial("shared_object"), id="001")
    loaded = worker.load(one)
    assert isinstance(worker.advance([Work(trial=one, round=0)], [loaded])[one.id], Report)
    failure = worker.advance([Work(trial=two, round=0)], [loaded])[two.id]
    assert isinstance(failure, Failure)
    assert failure.message.startswith("ValueError: callbacks returned a TerminateOnNaN that another trial has used")


def test_a_trial_that_a_callback_has_stopped_within_an_epoch_goes_on_with_the_next(trial: Any, tmp_path: Path) -> None:
    from runner.worker.worker import Worker

    worker, one = Worker(), trial("stops_in_epoch")
    loaded = worker.load(one)
    reports = [
        worker.advance([Work(trial=one, round=turn, files=tmp_path / "f")], [loaded])[one.id] for turn in range(3)
    ]
    assert [(report.step, report.epoch) for report in reports] == [(3, 1), (5, 2), (9, 3)]
    begun = [line[1] for line in hooks(tmp_path / "f") if line[0] == "on_epoch_begin"]
    assert begun == [line[1] for line in hooks(tmp_path / "f") if line[0] == "on_epoch_end"] == [0, 1, 2]


def test_no_temporary_folder_is_left(trial: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from runner.worker.worker import Worker

    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    for kind in ("nothing", "none", "csv"):
        worker, one = Worker(), trial(kind)
        worker.check(one, worker.load(one))
        worker.build(one)
    gc.collect()
    assert list(tmp_path.iterdir()) == []


def test_tensorboard_writes_into_the_trials_folder(trial: Any, tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    Trained(trial("tensorboard"), tmp_path / "trial")
    assert list((tmp_path / "trial" / "board" / "train").iterdir())


def _matrices(folder: Path) -> list[Any]:
    return [np.loadtxt(folder / f"confusion-{epoch}.txt", dtype=int) for epoch in range(4)]
