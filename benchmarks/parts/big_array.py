"""An experiment on one large array."""

from __future__ import annotations

import keras
import numpy as np

from runner import Data


def load_data(mib: int = 1) -> Data:
    """`(x, y)`: x float32 [rows, 256] of `mib` MiB, y float32 [rows, 1]."""
    rows = mib * 1024
    return Data(train=(np.ones((rows, 256), "float32"), np.ones((rows, 1), "float32")))


def build_model() -> keras.Model:
    """A linear model."""
    model = keras.Sequential([keras.Input((256,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    return model
