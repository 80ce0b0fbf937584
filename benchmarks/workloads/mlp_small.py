"""W1: a network of 20-64-64-1 on 100,000 rows, batch 32. A step is nearly all overhead."""

from __future__ import annotations

import keras
import numpy as np

from runner import Data


def load_data(rows: int = 100_000) -> Data:
    """`(x, y)`: x float32 [rows, 20], y float32 [rows, 1], from a fixed smooth function with noise."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(rows, 20)).astype("float32")
    y = np.tanh(x @ rng.normal(size=(20, 1)) / 4) + 0.1 * rng.normal(size=(rows, 1))
    return Data(train=(x, y.astype("float32")))


def build_model() -> keras.Model:
    """Two hidden layers."""
    relu = [keras.layers.Dense(64, activation="relu") for _ in range(2)]
    model = keras.Sequential([keras.Input((20,)), *relu, keras.layers.Dense(1)])
    model.compile(keras.optimizers.Adam(1e-3), "mse")
    return model
