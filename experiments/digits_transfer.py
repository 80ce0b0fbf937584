"""`python -m runner sweep experiment=digits_transfer`: digits of another kind, from few labels and a trained network.

The network is the best one of `mnist_cnn`, trained on images of 28 by 28 pixels; make it first, half a minute:
`python -m runner sweep experiment=mnist_cnn`, then `python -m runner best latest --export mnist_base`.
It is tuned to scikit-learn's digits of 8 by 8 pixels, ten labelled images of each.
Expected on two CPU cores: about 2 s a trial after start-up.
Expected score: val_accuracy 0.92 tuned, 0.90 frozen, 0.73 from scratch.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import keras

SIZE = 28  # pixels of a side that the base takes


def load_data(labels: int = 10) -> Any:
    """Loads digits scaled to 0..1, very few for training and the other 900 or so for validation.

    Args:
        labels: training images of each digit, 80 at most; the validation images are the same for any number.

    Returns:
        `(x, y), (x_val, y_val)` with x float32 [rows, 8, 8, 1] and y int64 [rows].
    """
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    digits = load_digits()
    images = (digits.images / 16.0).astype("float32")[..., None]
    pool, x_val, pool_y, y_val = train_test_split(
        images, digits.target, test_size=0.5, stratify=digits.target, random_state=0
    )
    x, _, y, _ = train_test_split(pool, pool_y, train_size=10 * labels, stratify=pool_y, random_state=0)
    return (x, y), (x_val, y_val)


def build_model(
    base: str = "mnist_base/model.keras",
    start: Literal["frozen", "tuned", "scratch"] = "frozen",
    dropout: float = 0.3,
    learning_rate: float = 1e-3,
) -> keras.Model:
    """Puts a new classifier on the features of a trained network.

    Args:
        base: path of that network, from the folder in which the sweep is started. The sweep records the path, not the
            file: leave that alone until the sweep has ended.
        start: `frozen`, the classifier alone is trained; `tuned`, the features too; `scratch`, the same network
            with random weights, which says what the trained ones are worth.
        dropout: fraction of features dropped before the classifier.
        learning_rate: learning rate of Adam.

    Raises:
        FileNotFoundError: there is no such network.
    """
    if not Path(base).is_file():
        raise FileNotFoundError(f"there is no {base}; the head of digits_transfer.py has the commands that make it")
    trained = keras.models.load_model(base, compile=False)
    if start == "scratch":
        trained = keras.models.clone_model(trained)  # the same layers with initial values
    features = keras.Sequential(trained.layers[:-2], name="features")  # without its dropout and its classifier
    features.trainable = start != "frozen"

    images = keras.Input((8, 8, 1))
    x = keras.layers.Resizing(SIZE, SIZE)(images)
    # `training=False` keeps the averages of batch normalization, which 100 images would spoil.
    x = features(x, training=None if start == "scratch" else False)
    x = keras.layers.Dropout(dropout)(x)
    model = keras.Model(images, keras.layers.Dense(10, activation="softmax")(x))
    model.compile(keras.optimizers.Adam(learning_rate), "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model
