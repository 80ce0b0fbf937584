"""Convolutions, pooling and resizing of every kind, in one, two and three dimensions."""

from __future__ import annotations

from typing import Any

import keras
from keras import layers

from .case import Case, classify, images, splits

SIDE = (8, 8, 2)


def two_channels() -> Any:
    return images(channels=2)


def waves() -> Any:
    return splits(lambda x, y: (x.reshape(len(x), 16, 4), y), features=64)


def volumes() -> Any:
    return splits(lambda x, y: (x.reshape(len(x), 4, 4, 4, 2), y), features=128)


def _chain(shape: tuple[int, ...], *chain: layers.Layer) -> keras.Model:
    inputs = x = keras.Input(shape)
    for layer in chain:
        x = layer(x)
    return classify(inputs, x, keras.optimizers.Adam(1e-2))


def grouped() -> keras.Model:
    return _chain(
        SIDE, layers.Conv2D(8, 3, groups=2, activation="relu"), layers.Conv2D(8, 3, groups=4, padding="same"),
        layers.MaxPooling2D(2), layers.Flatten(),
    )  # fmt: skip


def depthwise() -> keras.Model:
    return _chain(
        SIDE, layers.DepthwiseConv2D(3, depth_multiplier=2, strides=2, padding="same", activation="relu"),
        layers.DepthwiseConv2D(2, dilation_rate=2), layers.Flatten(),
    )  # fmt: skip


def separable() -> keras.Model:
    return _chain(
        SIDE, layers.SeparableConv2D(6, 3, depth_multiplier=2, use_bias=False), layers.BatchNormalization(),
        layers.ReLU(),
        layers.SeparableConv2D(4, 2, strides=2, padding="same"), layers.GlobalMaxPooling2D(),
    )  # fmt: skip


def dilated() -> keras.Model:
    return _chain(
        SIDE, layers.Conv2D(4, 3, dilation_rate=2, padding="same", activation="relu"), layers.Conv2D(4, 3, strides=2),
        layers.AveragePooling2D(3, strides=2, padding="same"), layers.Flatten(),
    )  # fmt: skip


def upsampled() -> keras.Model:
    return _chain(
        SIDE, layers.Conv2D(4, 3, strides=2, padding="same", activation="relu"),
        layers.UpSampling2D(2, interpolation="bilinear"), layers.Conv2D(4, 3),
        layers.ZeroPadding2D(1), layers.Cropping2D(2), layers.GlobalAveragePooling2D(),
    )  # fmt: skip


def resized() -> keras.Model:
    return _chain(
        SIDE, layers.Resizing(10, 10, interpolation="nearest"), layers.Conv2D(4, 3, activation="relu"),
        layers.Resizing(6, 5), layers.Flatten(),
    )  # fmt: skip


def transposed() -> keras.Model:
    return _chain(
        SIDE, layers.Conv2D(4, 3, strides=2, activation="relu"), layers.Conv2DTranspose(3, 3, strides=2),
        layers.Conv2DTranspose(2, 2, padding="same", activation="tanh"), layers.Flatten(),
    )  # fmt: skip


def one_dimension() -> keras.Model:
    return _chain(
        (16, 4), layers.Conv1D(8, 3, groups=2, activation="relu"), layers.MaxPooling1D(2),
        layers.SeparableConv1D(6, 2),
        layers.DepthwiseConv1D(2), layers.AveragePooling1D(2, strides=1, padding="same"), layers.UpSampling1D(2),
        layers.Conv1DTranspose(4, 3, strides=2), layers.GlobalAveragePooling1D(),
    )  # fmt: skip


def three_dimensions() -> keras.Model:
    return _chain(
        (4, 4, 4, 2), layers.Conv3D(4, 2, padding="same", activation="relu"), layers.MaxPooling3D(2),
        layers.Conv3D(4, 2, padding="same"), layers.GlobalAveragePooling3D(),
    )  # fmt: skip


def grouped_volumes() -> keras.Model:
    return _chain(
        (4, 4, 4, 2), layers.Conv3D(4, 2, groups=2, activation="relu"), layers.AveragePooling3D(2, padding="same"),
        layers.Conv3DTranspose(2, 2, strides=2), layers.UpSampling3D(2), layers.GlobalMaxPooling3D(),
    )  # fmt: skip


def moving_images() -> keras.Model:
    return _chain((4, 4, 4, 2), layers.TimeDistributed(layers.Conv2D(3, 2)), layers.Flatten())


CASES = {
    "grouped": Case(grouped, two_channels),
    "depthwise": Case(depthwise, two_channels),
    "separable": Case(separable, two_channels),
    "dilated": Case(dilated, two_channels),
    "upsampled": Case(upsampled, two_channels),
    "resized": Case(resized, two_channels),
    "transposed": Case(transposed, two_channels),
    "one_dimension": Case(one_dimension, waves),
    "three_dimensions": Case(three_dimensions, volumes),
    "grouped_volumes": Case(grouped_volumes, volumes),
    "moving_images": Case(moving_images, volumes),
}
