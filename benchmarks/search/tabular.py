"""A tabular task: breast cancer, 30 features, trained by a small network."""

from typing import Any

import keras
from sklearn.datasets import load_breast_cancer
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler


def load_data() -> Any:
    """The data set, standardized; a third is for validation."""
    x, y = load_breast_cancer(return_X_y=True)
    x, x_val, y, y_val = train_test_split(x, y, test_size=1 / 3, stratify=y, random_state=0)
    scaler = StandardScaler().fit(x)
    return (scaler.transform(x), y), (scaler.transform(x_val), y_val)


def build_model(units: int = 16, dropout: float = 0.0, learning_rate: float = 1e-3) -> Any:
    """One hidden layer."""
    layers = [keras.Input((30,)), keras.layers.Dense(units, "relu"), keras.layers.Dropout(dropout)]
    model = keras.Sequential([*layers, keras.layers.Dense(1, "sigmoid")])
    model.compile(keras.optimizers.SGD(learning_rate), "binary_crossentropy", metrics=["accuracy"])
    return model
