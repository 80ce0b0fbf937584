"""Shuffling, early stopping and learning-rate plateaus mean what they mean in Keras."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from test_training_equals_fit import epochs, weights

from runner.fleet.local import LocalFleet
from runner.journal import JournalReader, SqliteJournal, SweepRecord
from runner.loop import lockstep
from runner.loop.recovery import Recovery
from runner.loop.schedule import Schedule
from runner.records import Allocation, EarlyStopping, ReduceLROnPlateau, Report, Slot, Trial, Work
from runner.testing import NullWatcher

pytestmark = pytest.mark.usefixtures("tensorflow")
SLOT = Slot(index=0, allocation=Allocation(num_cpus=1))
EPOCHS = 12

NOISY = """
import keras, numpy as np

def load_data():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(60, 4)).astype("float32"), rng.integers(2, size=60)
    return (x[:30], y[:30]), (x[30:], y[30:])

def build_model():
    model = keras.Sequential([keras.layers.Dense(16, "relu"), keras.layers.Dense(2, "softmax")])
    model.compile(keras.optimizers.Adam(0.05), "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model
"""


def run(trial: Trial, folder: Path) -> tuple[list[dict[str, float]], list[Any], int | None]:
    """Epoch metrics, final weights, and the epoch they are of where the best were restored."""
    sweep = SweepRecord(
        id="s",
        name="s",
        created_ms=0,
        metric="loss",
        goal="minimize",
        config="",
        command="",
        tracking_uri="",
        mlflow_experiment="",
        versions={},
    )
    with LocalFleet([SLOT]) as fleet, SqliteJournal(folder, {0: SLOT.allocation}) as journal:
        journal.create(sweep, (trial,))
        lockstep.Loop(Schedule([trial], [SLOT]), Recovery(fleet, journal), journal, NullWatcher()).run()
    with JournalReader(folder) as reader:
        record = reader.trial(trial.id)
        history: dict[int, dict[str, float]] = {}
        for row in reader.metrics(trial.id):
            if not row.key.startswith(("round/", "optimizer/")):
                history.setdefault(row.step, {})[row.key] = row.value
    assert record.weights is not None
    with np.load(folder / record.weights, allow_pickle=False) as file:
        return list(history.values()), [file[name] for name in file.files], record.best_epoch


def fit(path: Path, callbacks: list[Any]) -> tuple[list[dict[str, float]], list[Any]]:
    import keras

    code: dict[str, Any] = {}
    exec(path.read_text(), code)
    (x, y), validation = code["load_data"]()
    keras.utils.set_random_seed(0)
    model = code["build_model"]()
    found = model.fit(
        x, y, validation_data=validation, batch_size=8, epochs=EPOCHS, shuffle=False, verbose=0, callbacks=callbacks
    ).history
    return [{k: v[e] for k, v in found.items()} for e in range(len(found["loss"]))], model.get_weights()


@pytest.mark.parametrize("restore", [True, False])
def test_early_stopping_stops_and_restores_as_the_callback_does(restore: bool, make_trial: Any, tmp_path: Path) -> None:
    import keras

    path = tmp_path / "noisy.py"
    path.write_text(NOISY)
    rule = EarlyStopping(monitor="val_loss", mode="min", patience=2, restore_best=restore)
    settings = {"epochs": EPOCHS, "batch_size": 8, "shuffle": False, "early_stopping": rule}
    history, final, best_epoch = run(make_trial(path=path, params={}, **settings), tmp_path)

    callback = keras.callbacks.EarlyStopping("val_loss", patience=2, restore_best_weights=restore)
    expected, expected_final = fit(path, [callback])
    assert 2 < len(expected) < EPOCHS, "the rule must act for the test to mean something"
    assert history == expected
    for ours, theirs in zip(final, expected_final, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert best_epoch == (callback.best_epoch + 1 if restore else None)


def test_reduce_lr_on_plateau_reduces_as_the_callback_does(make_trial: Any, tmp_path: Path) -> None:
    import keras

    path = tmp_path / "noisy.py"
    path.write_text(NOISY)
    rule = ReduceLROnPlateau(monitor="val_loss", mode="min", patience=1, factor=0.5, cooldown=1)
    settings = {"epochs": EPOCHS, "batch_size": 8, "shuffle": False, "reduce_lr_on_plateau": rule}
    history, final, _ = run(make_trial(path=path, params={}, **settings), tmp_path)

    callback = keras.callbacks.ReduceLROnPlateau("val_loss", patience=1, factor=0.5, cooldown=1)
    expected, expected_final = fit(path, [callback])
    assert len({metrics["learning_rate"] for metrics in expected}) > 2, (
        "the rate must fall for the test to mean something"
    )
    assert history == expected
    for ours, theirs in zip(final, expected_final, strict=True):
        np.testing.assert_array_equal(ours, theirs)


SEEN = """
import keras, numpy as np
from runner import Data

class Seen(keras.Model):
    def __init__(self):
        super().__init__()
        self.rows = self.add_weight(shape=(1000,), initializer="zeros", trainable=False)
        self.count = self.add_weight(shape=(), dtype="int32", initializer="zeros", trainable=False)

    def call(self, x):
        return x

    def train_step(self, data):
        import tensorflow as tf
        x = tf.reshape(keras.utils.unpack_x_y_sample_weight(data)[0], [-1])
        indices = self.count + tf.range(tf.shape(x)[0])
        self.rows.assign(tf.tensor_scatter_nd_update(self.rows.value, indices[:, None], x))
        self.count.assign_add(tf.shape(x)[0])
        return {"loss": tf.constant(0.0)}

def load_data():
    return Data(train=(np.arange(70, dtype="float32")[:, None],))

def build_model():
    model = Seen()
    model.compile("sgd")
    return model
"""


def test_each_epoch_is_a_different_permutation_of_all_rows(make_trial: Any, tmp_path: Path) -> None:
    """A model that writes down each row it is given."""
    from runner.worker.worker import Worker

    path = tmp_path / "seen.py"
    path.write_text(
        SEEN.replace("return ((np", "from runner import Data\n    return Data(train=(np").replace(",), None)", ",))")
    )

    def rows(seed: int) -> list[list[float]]:
        trial, worker = make_trial(path=path, params={}, epochs=3, seed=seed), Worker()
        loaded = worker.load(trial)
        for number in range(3):
            report = worker.advance([Work(trial=trial, round=number)], [loaded])["000"]
            assert isinstance(report, Report), report
        seen = weights(worker.export(trial, False))[0]  # type: ignore[arg-type]
        return [seen[epoch * 70 : (epoch + 1) * 70].tolist() for epoch in range(3)]

    passes = rows(seed=0)
    assert all(sorted(order) == list(range(70)) for order in passes), "every row once an epoch, the partial batch too"
    assert len({tuple(order) for order in [*passes, list(range(70))]}) == 4, "all different, none as they lie"
    assert rows(seed=0) == passes
    assert rows(seed=1) != passes


def test_data_that_runs_out_in_mid_epoch_starts_again(make_trial: Any) -> None:
    """Three batches a pass, two steps an epoch: an epoch's metrics are over its own two batches alone."""
    from runner.worker.worker import Worker

    for case in ("dropout_mlp", "dataset_input"):
        trial, worker = make_trial(case, epochs=4, steps_per_epoch=2), Worker()
        loaded = worker.load(trial)
        reports = [worker.advance([Work(trial=trial, round=number)], [loaded])["000"] for number in range(4)]
        assert [report.step for report in reports] == [2, 4, 6, 8]
        assert len(epochs(reports)) == 4


def test_validation_is_at_the_cadence_asked_for(make_trial: Any) -> None:
    from runner.worker.worker import Worker

    trial, worker = make_trial("functional", epochs=4, validate_every=2), Worker()
    loaded = worker.load(trial)
    reports = [worker.advance([Work(trial=trial, round=number)], [loaded])["000"] for number in range(4)]
    assert ["val_loss" in metrics for metrics in epochs(reports)] == [False, True, False, True]
