"""`python -m runner sweep experiment=forecast`: the next day of an hourly series, from the hours before it.

A made-up load: a daily and a weekly rhythm, a trend and noise of its own memory; needs no data.
Expected on two CPU cores: about 1 s a trial after start-up, 3 s for the one that trains for all epochs.
Expected score: val_mean_absolute_error 0.25; the same hours of last week score 0.31, those of yesterday 0.41.
"""

from __future__ import annotations

from typing import Any, Literal

import keras
import numpy as np

HORIZON = 24  # hours to forecast
WEEKS = 30
HELD_OUT = 6 * 7 * 24  # hours at the end, for validation


def load_series() -> np.ndarray:
    """Adds up trend, rhythms and noise; float64 [hours], about -2 to 3."""
    hours = np.arange(WEEKS * 7 * 24)
    weekend = (hours // 24 % 7) >= 5
    day = np.sin(2 * np.pi * hours / 24) + 0.4 * np.sin(4 * np.pi * hours / 24 + 1)
    series = np.where(weekend, 0.4, 1.0) * day - 0.5 * weekend + hours / len(hours)
    noise = np.random.default_rng(0).normal(scale=0.1, size=len(hours))
    for hour in range(1, len(hours)):  # what deviates goes on to deviate: worth a look at the last hours
        noise[hour] += 0.9 * noise[hour - 1]
    return series + noise


def load_data(window: int = 48) -> Any:
    """Cuts the series into windows, the training ones before the hours held out: a split in time is never shuffled.

    Args:
        window: hours that the model sees. The hours to forecast are the same for every window, so that scores compare.

    Returns:
        `(x, y), (x_val, y_val)`, x float32 [rows, window], y float32 [rows, HORIZON].
    """
    series = load_series()
    border = len(series) - HELD_OUT
    mean, deviation = series[:border].mean(), series[:border].std()  # of the training hours only
    series = ((series - mean) / deviation).astype("float32")

    def windows(first: int, end: int) -> tuple[np.ndarray, np.ndarray]:
        """Rows whose forecasts begin at `first`, `first + 1`, … and end before `end`."""
        rows = np.lib.stride_tricks.sliding_window_view(series[first - window : end], window + HORIZON)
        return rows[:, :window], rows[:, window:]

    longest = 2 * 7 * 24  # training forecasts begin here, whatever the window is
    return windows(longest, border), windows(border, len(series))


def build_model(
    window: int = 48, kind: Literal["linear", "dense", "cnn"] = "linear", units: int = 32, learning_rate: float = 1e-3
) -> keras.Model:
    """Builds a model that forecasts all hours at once, as deviations from the last hour seen.

    Args:
        window: as in `load_data`.
        kind: `linear`, a weight for each pair of hours; `dense`, a hidden layer; `cnn`, dilated causal convolutions.
        units: width of the hidden layer, or filters of the convolutions; unused by `linear`.
        learning_rate: learning rate of Adam.
    """
    past = keras.Input((window,))
    last = past[:, -1:]
    features = past - last  # the trend does not matter to what comes after the last hour
    if kind == "dense":
        features = keras.layers.Dense(units, activation="relu")(features)
    elif kind == "cnn":
        features = keras.layers.Reshape((window, 1))(features)
        for dilation in (1, 4, 16):
            features = keras.layers.Conv1D(units, 4, padding="causal", dilation_rate=dilation)(features)
            features = keras.layers.ReLU()(features)
        features = features[:, -1]
    model = keras.Model(past, last + keras.layers.Dense(HORIZON)(features))
    model.compile(keras.optimizers.Adam(learning_rate), "mean_squared_error", metrics=["mean_absolute_error"])
    return model
