"""W8: JPEG images decoded and augmented by `tf.data`; reading a batch takes about as long as training on it."""

from __future__ import annotations

import keras
import numpy as np

from runner import Data

BATCH = 32


def load_data(rows: int = 1_280) -> Data:
    """Batches of `(x, y)`: x float32 [32, 64, 64, 3], y int64 [32], from JPEGs of 112 by 112 in memory."""
    import tensorflow as tf

    rng = np.random.default_rng(0)
    pictures = rng.integers(0, 256, size=(10, 7, 7, 3)).repeat(16, axis=1).repeat(16, axis=2)
    # A hundred different ones, since files would be there already: making them takes a small part of what is timed.
    noisy = np.clip(pictures + rng.integers(-40, 40, size=(10, 10, 112, 112, 3)), 0, 255).astype("uint8")
    encoded = [[tf.io.encode_jpeg(image).numpy() for image in of_kind] for of_kind in noisy]
    labels = np.arange(rows) % 10
    jpegs = [encoded[row // 10 % 10][label] for row, label in enumerate(labels)]

    def decode(jpeg: tf.Tensor, label: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        image = tf.image.resize(tf.io.decode_jpeg(jpeg, channels=3), (72, 72)) / 255.0
        image = image[4:68, 4:68]
        return tf.image.adjust_contrast(tf.image.flip_left_right(image), 1.2), label

    pipeline = tf.data.Dataset.from_tensor_slices((jpegs, labels)).map(decode, num_parallel_calls=tf.data.AUTOTUNE)
    return Data(train=pipeline.batch(BATCH, drop_remainder=True).prefetch(tf.data.AUTOTUNE))


def build_model() -> keras.Model:
    """Two strided convolutions."""
    layers = keras.layers
    convolutions = [layers.Conv2D(width, 3, strides=2, activation="relu") for width in (16, 32)]
    head = [layers.GlobalAveragePooling2D(), layers.Dense(10, activation="softmax")]
    model = keras.Sequential([keras.Input((64, 64, 3)), *convolutions, *head])
    model.compile(keras.optimizers.Adam(1e-3), "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model
