"""What a case of the gallery is made of, and the data that several of them share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import keras
import numpy as np

ROWS, VALIDATION_ROWS, CLASSES, BATCH = 70, 40, 3, 32  # 70 rows leave a partial batch


class Case(NamedTuple):
    """A compiled model's builder, and the loader of data that fits it."""

    build: Callable[[], keras.Model]
    data: Callable[[], Any]


def points(rows: int, seed: int, features: int = 8) -> tuple[np.ndarray, np.ndarray]:
    """x float32 [rows, features], y int64 [rows] of `CLASSES`, scattered around their class's number."""
    rng = np.random.default_rng(seed)
    y = rng.integers(CLASSES, size=rows)
    return (rng.normal(size=(rows, features)) + y[:, None]).astype("float32"), y


def splits(change: Callable[[np.ndarray, np.ndarray], Any] = lambda x, y: (x, y), features: int = 8) -> Any:
    """Training and validation points, changed alike."""
    return change(*points(ROWS, 0, features)), change(*points(VALIDATION_ROWS, 1, features))


def images(channels: int = 1) -> Any:
    """x float32 [rows, 8, 8, channels] between 0 and 1, y int64 [rows]."""

    def as_images(x: np.ndarray, y: np.ndarray) -> Any:
        return (1 / (1 + np.exp(-x))).reshape(len(x), 8, 8, channels).astype("float32"), y

    return splits(as_images, features=64 * channels)


def classify(inputs: Any, features: Any, optimizer: Any = "adam", **compile_with: Any) -> keras.Model:
    """A functional classifier with a softmax over `CLASSES`, compiled."""
    model = keras.Model(inputs, keras.layers.Dense(CLASSES, activation="softmax")(features))
    model.compile(optimizer, "sparse_categorical_crossentropy", metrics=["accuracy"], **compile_with)
    return model


def mlp(*between: keras.layers.Layer, optimizer: Any = "adam", **compile_with: Any) -> keras.Model:
    """A classifier of points with one hidden layer, compiled."""
    inputs = x = keras.Input((8,))
    for layer in (keras.layers.Dense(8, activation="relu"), *between):
        x = layer(x)
    return classify(inputs, x, optimizer, **compile_with)
