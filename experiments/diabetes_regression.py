"""`python -m runner sweep experiment=diabetes_regression`: the progress of diabetes from ten measurements.

442 real patients from scikit-learn, so few that one split would rank settings by luck: each is trained on five folds.
Expected on two CPU cores: about 2 s a trial after start-up.
Expected score: val_mean_absolute_error 44, the mean of five folds; a linear regression has 44 too. Settings differ
less, 44 to 46, than the folds of one setting, whose standard deviation is 1 to 4.
"""

from __future__ import annotations

from typing import Any

import keras


def load_data(fold: int = 0, folds: int = 5) -> Any:
    """Loads raw measurements and leaves one fold out; `search.folds` sets both parameters.

    Args:
        fold: which part of the patients is held out.
        folds: number of parts.

    Returns:
        `(x, y), (x_val, y_val)`; x is a dict of `measurements` float32 [rows, 9] and `sex` int64 [rows, 1], y the
        progress after a year, float32 [rows], from 25 to 346.
    """
    from sklearn.datasets import load_diabetes
    from sklearn.model_selection import KFold

    x, y = load_diabetes(return_X_y=True, as_frame=True, scaled=False)
    training, validation = list(KFold(folds, shuffle=True, random_state=0).split(x))[fold]

    def rows(chosen: Any) -> Any:
        measurements = x.drop(columns="sex").iloc[chosen].to_numpy("float32")
        sex = x[["sex"]].iloc[chosen].to_numpy("int64") - 1  # given as 1 and 2
        return {"measurements": measurements, "sex": sex}, y.iloc[chosen].to_numpy("float32")

    return rows(training), rows(validation)


def build_model(
    units: int = 32, dropout: float = 0.0, l2: float = 1e-3, learning_rate: float = 3e-3, fold: int = 0, folds: int = 5
) -> keras.Model:
    """Builds a network with two inputs that takes raw measurements and predicts in the target's own unit.

    Args:
        units: width of the hidden layer.
        dropout: fraction of hidden units dropped in training.
        l2: weight of the penalty on the hidden layer's weights.
        learning_rate: learning rate of Adam.
        fold: as in `load_data`; the layers below may learn nothing from the patients held out.
        folds: as in `load_data`.
    """
    (x, y), _ = load_data(fold, folds)
    # Standardization is part of the model, with statistics of the training rows: the exported model needs nothing else.
    standardize = keras.layers.Normalization()
    standardize.adapt(x["measurements"])
    restore = keras.layers.Normalization(axis=None, invert=True)
    restore.adapt(y)

    measurements = keras.Input((9,), name="measurements")
    sex = keras.Input((1,), dtype="int64", name="sex")
    embedded = keras.layers.Flatten()(keras.layers.Embedding(2, 2)(sex))
    features = keras.layers.Concatenate()([standardize(measurements), embedded])
    penalty = keras.regularizers.L2(l2)
    hidden = keras.layers.Dense(units, activation="relu", kernel_regularizer=penalty)(features)
    hidden = keras.layers.Dropout(dropout)(hidden)
    progress = restore(keras.layers.Dense(1)(hidden))
    model = keras.Model({"measurements": measurements, "sex": sex}, progress)
    # The loss contains the penalty, whose weight is searched: settings are ranked by the plain error.
    model.compile(keras.optimizers.Adam(learning_rate), "mean_absolute_error", metrics=["mean_absolute_error"])
    return model
