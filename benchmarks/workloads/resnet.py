"""W9: ResNet-18 for images of 32 by 32 by 3, 11.2 million weights, batch 128: it fills a GPU by itself."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from runner import Data

_STAGES = ((64, 1), (128, 2), (256, 2), (512, 2))  # filters, stride of the first of two blocks


def load_data(rows: int = 12_800) -> Data:
    """`(x, y)`: x float32 [rows, 32, 32, 3], y int64 [rows] of 10 classes: noisy copies of one picture each."""
    rng = np.random.default_rng(0)
    y = np.arange(rows) % 10
    x = rng.normal(size=(10, 32, 32, 3)).astype("float32")[y]
    return Data(train=(x + 2 * rng.standard_normal(size=x.shape, dtype="float32"), y))


def build_model() -> keras.Model:
    """A convolution, four stages of two residual blocks, and the mean over the image.

    Source: He et al., Deep Residual Learning for Image Recognition, 2015; with the first layer that is usual for CIFAR.
    """
    layers = keras.layers
    images = keras.Input((32, 32, 3))
    x = layers.ReLU()(_convolved(images, 64, 3, 1))
    for filters, stride in _STAGES:
        x = _block(_block(x, filters, stride), filters, 1)
    output = layers.Dense(10, activation="softmax")(layers.GlobalAveragePooling2D()(x))
    model = keras.Model(images, output)
    optimizer = keras.optimizers.SGD(0.05, momentum=0.9)
    model.compile(optimizer, "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


def _block(x: Any, filters: int, stride: int) -> Any:
    """Two convolutions and a shortcut around them, which is a convolution if the shape changes."""
    relu = keras.layers.ReLU()
    inner = _convolved(relu(_convolved(x, filters, 3, stride)), filters, 3, 1)
    same = stride == 1 and x.shape[-1] == filters
    return keras.layers.ReLU()(keras.layers.Add()([inner, x if same else _convolved(x, filters, 1, stride)]))


def _convolved(x: Any, filters: int, size: int, stride: int) -> Any:
    convolution = keras.layers.Conv2D(filters, size, strides=stride, padding="same", use_bias=False)
    return keras.layers.BatchNormalization()(convolution(x))
