"""What the fault suite's sweeps train: small models with Dropout and BatchNormalization, and steps that can go wrong.

`mishap` names what befalls a trial's training once, at the step that the file `MISHAP` in the working directory gives:
`hang`, `diverge` or `oom`. Without that file nothing does: then it trains like its undisturbed self.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import keras
import numpy as np

HERE = Path.cwd()
ROWS, FEATURES, CLASSES = 256, 32, 4


def load_data() -> Any:
    rng = np.random.default_rng(0)
    y = rng.integers(CLASSES, size=ROWS + 64)
    x = (rng.normal(size=(ROWS + 64, FEATURES)) + 0.3 * y[:, None]).astype("float32")
    return (x[:ROWS], y[:ROWS]), (x[ROWS:], y[ROWS:])


class Mishap(keras.Model):
    """Trains eagerly, so that its steps are ordinary code that may do anything."""

    kind = ""

    def train_step(self, data: Any) -> Any:
        logs = super().train_step(data)
        if _strikes(self.kind, int(self.optimizer.iterations)):
            if self.kind == "hang":
                while True:
                    time.sleep(3600)
            if self.kind == "oom":
                keras.ops.ones((1 << 34,))  # 64 GiB, which no worker of the suite may take
            for variable in self.trainable_variables:
                variable.assign(variable * np.nan)
            return super().train_step(data)
        return logs


def build_model(learning_rate: float = 1e-3, mishap: str = "none") -> keras.Model:
    inputs = keras.Input((FEATURES,))
    hidden = keras.layers.Dense(256, activation="relu")(inputs)
    hidden = keras.layers.BatchNormalization()(hidden)
    hidden = keras.layers.Dropout(0.3)(hidden)
    hidden = keras.layers.Dense(256, activation="relu")(hidden)
    outputs = keras.layers.Dense(CLASSES, activation="softmax")(hidden)
    model: Any = keras.Model(inputs, outputs) if mishap == "none" else Mishap(inputs, outputs)
    model.kind = mishap
    model.compile(
        keras.optimizers.Adam(learning_rate),
        "sparse_categorical_crossentropy",
        metrics=["accuracy"],
        run_eagerly=mishap != "none",
    )
    return model


def _strikes(kind: str, step: int) -> bool:
    """Whether it is this step's turn; a hang and a lack of memory strike once, so that the step can be repeated."""
    file = HERE / "MISHAP"
    if not file.exists() or step != int(file.read_text()):
        return False
    if kind != "diverge":
        file.unlink()
    return True
