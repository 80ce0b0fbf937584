"""Tables: frames and series, several inputs and outputs, weights, lookups, adapted constants."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pandas as pd
from keras import layers

from .case import Case, classify, mlp, points, splits


def frames() -> Any:
    def frame(x: np.ndarray, y: np.ndarray) -> Any:
        columns = pd.DataFrame(x[:, :6].astype("float64"), columns=list("abcdef"))
        columns["g"], columns["h"] = x[:, 6] > 1, x[:, 7] > 1  # bool beside float
        return columns, pd.Series(y, name="kind")

    return splits(frame)


def frame_mlp() -> keras.Model:
    return mlp(layers.BatchNormalization())


class SumOfColumns(keras.Model):
    """Takes a mapping of columns."""

    def __init__(self) -> None:
        super().__init__()
        self.hidden, self.out = layers.Dense(4, "relu"), layers.Dense(1)

    def call(self, x: Any) -> Any:
        return self.out(self.hidden(keras.ops.concatenate([x["a"], x["b"]], axis=-1)))


def series_by_name() -> Any:
    def columns(x: np.ndarray, _: np.ndarray) -> Any:
        frame = pd.DataFrame(x[:, :2], columns=list("ab"))
        return dict(frame), frame["a"] - frame["b"]

    return splits(columns)


def dict_of_series() -> keras.Model:
    model = SumOfColumns()
    model.compile("adam", "mse", metrics=["mae"])
    return model


def adapted() -> keras.Model:
    x = points(70, 0)[0]
    normalize, bins = layers.Normalization(), layers.Discretization(num_bins=4, output_mode="one_hot")
    normalize.adapt(x)
    bins.adapt(x[:, :1])
    inputs = keras.Input((8,))
    return classify(inputs, layers.Concatenate()([normalize(inputs), layers.Flatten()(bins(inputs[:, :1]))]))


def features() -> Any:
    names = np.array(["low", "middle", "high"])
    return splits(lambda x, y: ({"value": x, "kind": names[(x[:, :1] > 1).astype(int) + (x[:, 1:2] > 1)]}, y))


def lookups() -> keras.Model:
    inputs = {"value": keras.Input((8,), name="value"), "kind": keras.Input((1,), dtype="string", name="kind")}
    lookup = layers.StringLookup(vocabulary=["low", "high"], num_oov_indices=1, output_mode="one_hot")
    hashed = layers.Hashing(4, salt=3, output_mode="one_hot")
    x = layers.Concatenate()([inputs["value"], lookup(inputs["kind"]), hashed(inputs["kind"])])
    return classify(inputs, layers.Dense(6, activation="selu", kernel_initializer="lecun_normal")(x))


def two_of_each() -> Any:
    def nested(x: np.ndarray, y: np.ndarray) -> Any:
        return {"left": x[:, :3], "right": x[:, 3:]}, {"kind": y, "total": x.sum(axis=1, keepdims=True)}

    return splits(nested)


def multi_output() -> keras.Model:
    inputs = {"left": keras.Input((3,), name="left"), "right": keras.Input((5,), name="right")}
    x = layers.Dense(8, activation="relu")(layers.Concatenate()(list(inputs.values())))
    outputs = {"kind": layers.Dense(3, name="kind")(x), "total": layers.Dense(1, name="total")(x)}
    model = keras.Model(inputs, outputs)
    model.compile(
        keras.optimizers.RMSprop(1e-2),
        loss={"kind": keras.losses.SparseCategoricalCrossentropy(from_logits=True), "total": keras.losses.LogCosh()},
        loss_weights={"kind": 0.2, "total": 1.0},
        metrics={"kind": ["accuracy"], "total": ["mae", keras.metrics.RootMeanSquaredError()]},
    )
    return model


def ratings() -> Any:
    return splits(lambda x, y: (((10 * np.abs(x[:, :2])) % 6).astype("int32"), (y > 1).astype("float32")))


def factorization() -> keras.Model:
    inputs = keras.Input((2,), dtype="int32")
    regularizer = keras.regularizers.L2(1e-3)
    users, items = (layers.Embedding(6, 3, embeddings_regularizer=regularizer)(inputs[:, i]) for i in range(2))
    model = keras.Model(inputs, layers.Activation("sigmoid")(layers.Dot(axes=1)([users, items])))
    model.compile(keras.optimizers.Adagrad(0.1), "binary_crossentropy", metrics=["accuracy", keras.metrics.AUC()])
    return model


CASES = {
    "data_frame": Case(frame_mlp, frames),
    "dict_of_series": Case(dict_of_series, series_by_name),
    "adapted": Case(adapted, splits),
    "lookups": Case(lookups, features),
    "multi_output": Case(multi_output, two_of_each),
    "factorization": Case(factorization, ratings),
}
