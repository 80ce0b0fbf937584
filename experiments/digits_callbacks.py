"""`python -m runner sweep experiment=digits_callbacks`: Keras callbacks, a metric of one's own and figures.

1,797 real images of 8 by 8 pixels from scikit-learn; trials are ranked by the digit that they recognize worst.
Expected on two CPU cores: about 2 s a trial after start-up.
Expected score: val_worst_recall 0.94, with a val_accuracy of 0.98.
"""

from __future__ import annotations

import math
from typing import Any

import keras
import numpy as np

import runner  # records nothing when the file is used without a sweep


def load_data(validation_fraction: float = 0.3) -> Any:
    """Loads digits scaled to 0..1.

    Args:
        validation_fraction: fraction of the rows held out, stratified by class.

    Returns:
        `(x, y), (x_val, y_val)` with x float32 [rows, 64] and y int64 [rows].
    """
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    digits = load_digits()
    x, x_val, y, y_val = train_test_split(
        (digits.data / 16.0).astype("float32"), digits.target, test_size=validation_fraction, stratify=digits.target,
        random_state=0,
    )  # fmt: skip
    return (x, y), (x_val, y_val)


def build_model(units: int = 64, dropout: float = 0.2) -> keras.Model:
    """Builds a classifier; its learning rate is that of `callbacks`.

    Args:
        units: width of the two hidden layers.
        dropout: fraction of hidden units dropped in training.
    """
    layers: list[keras.layers.Layer] = [keras.Input((64,))]
    for _ in range(2):
        layers += [keras.layers.Dense(units, activation="relu"), keras.layers.Dropout(dropout)]
    model = keras.Sequential([*layers, keras.layers.Dense(10, activation="softmax")])
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


class Confusion(keras.callbacks.Callback):
    """Logs the recall of the worst class after each epoch, and the matrix of confusions as figure and table at the end.

    Args:
        x: validation images, float32 [rows, 64].
        y: their digits, int64 [rows].
    """

    def __init__(self, x: np.ndarray, y: np.ndarray) -> None:
        super().__init__()
        self.x, self.y = x, y

    def matrix(self) -> np.ndarray:
        """Counts rows by true (first axis) and predicted digit, int64 [10, 10]."""
        # Not `predict`, which would build a program of its own for these few rows.
        predicted = np.argmax(self.model(self.x, training=False), axis=-1)
        return np.bincount(10 * self.y + predicted, minlength=100).reshape(10, 10)

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Logs a metric that can rank trials and that later callbacks can monitor."""
        counts = self.matrix()
        recall = counts.diagonal() / counts.sum(axis=1)
        runner.log_metric("val_worst_recall", recall.min())

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        """Writes files, which become artifacts of the trial's run in MLflow."""
        from matplotlib.figure import Figure  # not pyplot, which keeps every figure of a process

        counts = self.matrix()
        figure = Figure(figsize=(5, 5), layout="constrained")
        axes = figure.subplots()
        axes.imshow(np.log1p(counts), cmap="Blues")
        for (row, column), count in np.ndenumerate(counts):
            if count:
                axes.text(column, row, str(count), ha="center", va="center", color="tab:red")
        axes.set(xlabel="predicted", ylabel="digit", xticks=range(10), yticks=range(10))
        runner.log_figure("confusion", figure)
        np.savetxt(runner.trial_folder() / "confusion.csv", counts, fmt="%d", delimiter=",")


class StopWhenPerfect(keras.callbacks.Callback):
    """Ends a trial whose model no longer errs on its training rows: further epochs would only make it surer."""

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Stops as `fit` does."""
        if logs and logs["accuracy"] == 1.0:
            self.model.stop_training = True


def callbacks(
    peak_rate: float = 3e-3, warmup: int = 3, epochs: int = 30, validation_fraction: float = 0.3
) -> list[keras.callbacks.Callback]:
    """Makes callbacks for one trial.

    Args:
        peak_rate: learning rate after the warm-up, from which it falls like a cosine.
        warmup: epochs in which the rate rises.
        epochs: epoch at which the rate is zero; that of `train.epochs`.
        validation_fraction: as in `load_data`, from which the rows to look at come.
    """
    _, (x_val, y_val) = load_data(validation_fraction)

    def rate(epoch: int, previous: float) -> float:
        if epoch < warmup:
            return peak_rate * (epoch + 1) / (warmup + 1)
        return peak_rate * (1 + math.cos(math.pi * (epoch - warmup) / (epochs - warmup))) / 2

    return [keras.callbacks.LearningRateScheduler(rate), Confusion(x_val, y_val), StopWhenPerfect()]
