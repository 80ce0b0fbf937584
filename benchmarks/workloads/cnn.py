"""W3: convolutions 32-64-64 with BatchNormalization and Dropout on images of 32 by 32 by 3, batch 64."""

from __future__ import annotations

import keras
import numpy as np

from runner import Data


def load_data(rows: int = 3_840) -> Data:
    """`(x, y)`: x float32 [rows, 32, 32, 3], y int64 [rows] of 10 classes: noisy copies of one picture each."""
    rng = np.random.default_rng(0)
    y = np.arange(rows) % 10
    x = rng.normal(size=(10, 32, 32, 3)).astype("float32")[y]
    return Data(train=(x + 2 * rng.standard_normal(size=x.shape, dtype="float32"), y))


def build_model() -> keras.Model:
    """Three convolutions, each normalised and pooled."""
    layers = keras.layers
    blocks = [
        [layers.Conv2D(width, 3, padding="same"), layers.BatchNormalization(), layers.ReLU(), layers.MaxPooling2D()]
        for width in (32, 64, 64)
    ]
    head = [layers.Flatten(), layers.Dropout(0.25), layers.Dense(10, activation="softmax")]
    model = keras.Sequential([keras.Input((32, 32, 3)), *[layer for block in blocks for layer in block], *head])
    model.compile(keras.optimizers.Adam(1e-3), "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model
