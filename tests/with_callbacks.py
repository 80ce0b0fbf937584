"""An experiment with callbacks of every kind, which also runs under plain `fit`."""

from __future__ import annotations

import json
from typing import Any

import keras
import numpy as np

import runner

ROWS, EPOCHS, BATCH = 70, 4, 32


def load_data() -> runner.Data:
    rng = np.random.default_rng(0)
    y = rng.integers(3, size=ROWS + 40)
    x = (rng.normal(size=(ROWS + 40, 6)) + y[:, None]).astype("float32")
    return runner.Data(train=(x[:ROWS], y[:ROWS]), validation=(x[ROWS:], y[ROWS:]))


def build_model(kind: str, learning_rate: float = 0.01) -> keras.Model:
    model = (Scaled if kind == "scales" else keras.Sequential)(
        [
            keras.layers.Input((6,)),
            keras.layers.Dense(8, activation="relu"),
            keras.layers.Dropout(0.2),
            keras.layers.Dense(3, activation="softmax"),
        ]
    )
    rate = 1e20 if kind == "terminate_on_nan" else learning_rate
    model.compile(
        keras.optimizers.Adam(rate, use_ema=kind.startswith("swap"), ema_momentum=0.5),
        "sparse_categorical_crossentropy",
        metrics=["accuracy"],
    )
    return model


class Witness(keras.callbacks.Callback):
    """Writes down every hook of an epoch or the whole training, with its arguments."""

    def __init__(self) -> None:
        super().__init__()
        self.file = runner.trial_folder() / "hooks.jsonl"

    def note(self, hook: str, *arguments: Any) -> None:
        """Adds a line."""
        with open(self.file, "a", encoding="utf-8") as file:
            print(json.dumps([hook, *arguments], default=lambda value: np.asarray(value).tolist()), file=file)

    def on_train_begin(self, logs: Any = None) -> None:
        self.note("on_train_begin", logs, {**self.params, "verbose": 0})

    def on_train_end(self, logs: Any = None) -> None:
        self.note("on_train_end", logs)

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self.note("on_epoch_begin", epoch, logs)

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self.note("on_epoch_end", epoch, logs, int(self.model.optimizer.iterations))

    def on_test_begin(self, logs: Any = None) -> None:
        self.note("on_test_begin", logs)

    def on_test_end(self, logs: Any = None) -> None:
        self.note("on_test_end", logs)


class BatchWitness(Witness):
    """Batches too."""

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        self.note("on_train_batch_begin", batch, logs)

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self.note("on_train_batch_end", batch, logs)

    def on_test_batch_begin(self, batch: int, logs: Any = None) -> None:
        self.note("on_test_batch_begin", batch, logs)

    def on_test_batch_end(self, batch: int, logs: Any = None) -> None:
        self.note("on_test_batch_end", batch, logs)


class Confusion(keras.callbacks.Callback):
    """A confusion matrix for each epoch: a file, a metric of its own, and something in `logs`."""

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        x, y = load_data().validation
        found = np.asarray(self.model(x)).argmax(axis=1)
        matrix = np.zeros((3, 3), int)
        np.add.at(matrix, (y, found), 1)
        np.savetxt(runner.trial_folder() / f"confusion-{epoch}.txt", matrix, fmt="%d")
        runner.log_metric("confused", matrix.sum() - matrix.trace())
        logs["balanced"] = float((matrix.diagonal() / matrix.sum(axis=1)).mean())


class StopsAt(keras.callbacks.Callback):
    """An early stopping of one's own."""

    def __init__(self, epoch: int, batch: int | None = None) -> None:
        super().__init__()
        self.epoch, self.batch, self.now = epoch, batch, 0

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self.now = epoch

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self.model.stop_training |= epoch == self.epoch and self.batch is None


class StopsInEpoch(StopsAt):
    """In the middle of an epoch."""

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self.model.stop_training |= (self.now, batch) == (self.epoch, self.batch)


class Freezes(keras.callbacks.Callback):
    """Changes what is trained, before the first step."""

    def on_train_begin(self, logs: Any = None) -> None:
        self.model.layers[0].trainable = False


class Scales(keras.callbacks.Callback):
    """Sets the weight of a loss of the model's own, which begins with 0."""

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        if epoch == 0:
            self.model.scale = 1.0


class Scaled(keras.Sequential):
    """Its loss has a factor, a constant of its trace."""

    scale = 0.0

    def compute_loss(self, *arguments: Any, **named: Any) -> Any:
        return self.scale * super().compute_loss(*arguments, **named)


class Fails(keras.callbacks.Callback):
    """Raises at the end of an epoch."""

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        if epoch == 1 and self.params["epochs"] > 1:
            raise RuntimeError("a callback fails")


class AtTheEnd(keras.callbacks.Callback):
    """Logs a metric in each epoch, and one of the same name at the end."""

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        runner.log_metric("f1", epoch)

    def on_train_end(self, logs: Any = None) -> None:
        runner.log_metric("f1", 99)


ONE = keras.callbacks.TerminateOnNaN()


def callbacks(kind: str) -> list[keras.callbacks.Callback]:
    folder, keras_ = runner.trial_folder(), keras.callbacks
    made: dict[str, Any] = {
        "nothing": lambda: [],
        "scheduler": lambda: [keras_.LearningRateScheduler(lambda epoch, rate: rate / (1 + epoch))],
        "lambda": lambda: [keras_.LambdaCallback(on_epoch_end=lambda epoch, logs: logs.update(doubled=2 * epoch))],
        "lambda_batch": lambda: [keras_.LambdaCallback(on_train_batch_end=lambda batch, logs: None)],
        "csv": lambda: [keras_.CSVLogger(folder / "log.csv")],
        "confusion": lambda: [Confusion()],
        "stops": lambda: [StopsAt(1)],
        "stops_in_epoch": lambda: [StopsInEpoch(1, 1)],
        "early_stopping": lambda: [keras_.EarlyStopping("loss", patience=1, mode="max", restore_best_weights=True)],
        "plateau": lambda: [keras_.ReduceLROnPlateau("loss", factor=0.5, patience=1, mode="max")],
        "swap_epoch": lambda: [keras_.SwapEMAWeights(swap_on_epoch=True)],
        "swap_test": lambda: [keras_.SwapEMAWeights()],
        "checkpoint": lambda: [keras_.ModelCheckpoint(folder / "best.keras", "val_loss", save_best_only=True)],
        "checkpoint_batch": lambda: [
            keras_.ModelCheckpoint(folder / "{epoch}.weights.h5", save_freq=2, save_weights_only=True)
        ],
        "terminate_on_nan": lambda: [keras_.TerminateOnNaN()],
        "batches": lambda: [BatchWitness()],
        "freezes": lambda: [Freezes()],
        "scales": lambda: [Scales()],
        "shared_object": lambda: [ONE],
        "at_the_end": lambda: [AtTheEnd()],
        "quiet": lambda: [keras_.History(), keras_.ProgbarLogger()],
        "fails": lambda: [Fails()],
        "fails_at_the_end": lambda: [keras_.LambdaCallback(on_train_end=lambda logs: json.loads("no JSON"))],
        "tensorboard": lambda: [keras_.TensorBoard(str(folder / "board"))],
        "backup": lambda: [keras_.BackupAndRestore(folder / "backup")],
        "none": lambda: None,
        "shared": lambda: [keras_.CSVLogger("log.csv")],
        "text": lambda: [keras_.LambdaCallback(on_epoch_end=lambda epoch, logs: logs.update(word="a word"))],
    }  # fmt: skip
    chosen = made[kind]()
    return chosen if kind in ("none", "batches") else [*chosen, Witness()]
