"""Texts and series: vocabularies, masks, recurrent and causal layers, attention."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import layers

from .case import BATCH, Case, classify, splits

_WORDS = np.array(["red", "green", "blue", "cold", "warm", "far", "near", "old", "new", "dim"])


def texts() -> Any:
    def sentence(x: np.ndarray, y: np.ndarray) -> Any:
        rows = [" ".join([_WORDS[k], *_WORDS[3 + np.argsort(row)[: 3 + k]]]) for row, k in zip(x, y, strict=True)]
        return np.array(rows), y

    return splits(sentence, features=7)


def text_classifier() -> keras.Model:
    vectorize = layers.TextVectorization(max_tokens=12, output_sequence_length=6)
    vectorize.adapt(texts()[0][0])
    inputs = keras.Input((), dtype="string")
    embedded = layers.Embedding(12, 4)(vectorize(inputs))
    return classify(inputs, layers.GlobalMaxPooling1D()(layers.Conv1D(6, 2, activation="relu")(embedded)))


def tokens() -> Any:
    return splits(lambda x, y: (np.where(np.arange(8) < 3 + 2 * y[:, None], 1 + (x > 1), 0).astype("int32"), y))


def masked_recurrent() -> keras.Model:
    inputs = keras.Input((None,), dtype="int32")
    x = layers.Embedding(3, 4, mask_zero=True)(inputs)
    return classify(inputs, layers.SimpleRNN(4)(x))


def _series() -> tuple[np.ndarray, np.ndarray]:
    t = np.arange(122, dtype="float32")
    series = np.sin(t / 5) + 0.5 * np.sin(t / 17)
    windows = np.lib.stride_tricks.sliding_window_view(series, 12)[:-1].copy()
    return windows[..., None], series[12:]


def series() -> Any:
    x, y = _series()
    return (x[:70], y[:70]), (x[70:], y[70:])


def series_pipeline() -> Any:
    x, y = _series()
    make = keras.utils.timeseries_dataset_from_array  # `[batch, 4]`
    train = make(x[:70, 0], y[:70], sequence_length=4, batch_size=BATCH)
    return train, make(x[70:, 0], y[70:], sequence_length=4, batch_size=BATCH)


def forecaster() -> keras.Model:
    model = keras.Sequential([keras.Input((None, 1)), layers.LSTM(4), layers.Dropout(0.2), layers.Dense(1)])
    model.compile(keras.optimizers.Adam(1e-2, clipvalue=0.5), "mae", metrics=["mse"])
    return model


def causal_convolutions() -> keras.Model:
    inputs = x = keras.Input((12, 1))
    for rate in (1, 2):
        y = layers.Conv1D(4, 2, dilation_rate=rate, padding="causal", activation="tanh")(x)
        x = layers.add([layers.Conv1D(4, 1)(x), y])
    model = keras.Model(inputs, layers.Dense(1)(layers.Flatten()(x)))
    model.compile(keras.optimizers.Nadam(1e-2), keras.losses.Huber(), metrics=["mse"])
    return model


def attention_over_window() -> keras.Model:
    inputs = keras.Input((4,))
    x = layers.Reshape((4, 1))(inputs)
    x = layers.Dense(4, activation="tanh")(x)
    model = keras.Model(inputs, layers.Dense(1)(layers.Flatten()(layers.Attention()([x, x]))))
    model.compile("adam", "mse")
    return model


CASES = {
    "text_vectorization": Case(text_classifier, texts),
    "masked_recurrent": Case(masked_recurrent, tokens),
    "forecaster": Case(forecaster, series),
    "causal_convolutions": Case(causal_convolutions, series),
    "series_pipeline": Case(attention_over_window, series_pipeline),
}
