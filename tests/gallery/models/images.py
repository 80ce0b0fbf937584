"""Images: convolutions, augmentation inside the model, segmentation, reconstruction."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import layers

from .case import BATCH, CLASSES, Case, classify, images


def residual_cnn() -> keras.Model:
    inputs = keras.Input((8, 8, 1))
    x = first = layers.Conv2D(6, 3, padding="same", activation="relu")(inputs)
    x = layers.BatchNormalization()(layers.SeparableConv2D(6, 3, padding="same")(x))
    x = layers.Activation("relu")(layers.add([x, first]))
    return classify(inputs, layers.Dropout(0.25)(layers.GlobalAveragePooling2D()(x)))


def depthwise_cnn() -> keras.Model:
    inputs = keras.Input((8, 8, 1))
    x = layers.Conv2D(8, 3, strides=2, use_bias=False)(inputs)
    x = layers.DepthwiseConv2D(2, use_bias=False)(layers.ReLU(6.0)(layers.GroupNormalization(4)(x)))
    gate = layers.Dense(8, activation="sigmoid")(layers.GlobalAveragePooling2D(keepdims=True)(x))
    return classify(inputs, layers.Flatten()(layers.multiply([x, gate])), keras.optimizers.SGD(0.1, momentum=0.9))


def augmented_cnn() -> keras.Model:
    inputs = keras.Input((8, 8, 1))
    x = layers.RandomContrast(0.2)(layers.RandomTranslation(0.1, 0.1)(layers.RandomFlip("horizontal")(inputs)))
    return classify(inputs, layers.Flatten()(layers.MaxPooling2D()(layers.Conv2D(4, 3, activation="relu")(x))))


def segmentation_data() -> Any:
    def masked(x: np.ndarray, _: np.ndarray) -> Any:
        labels = (x[..., 0] > 0.5).astype("int32") + (x[..., 0] > 0.8)
        labels[:, 0] = 255  # void, as in VOC
        return x, labels

    return [masked(*split) for split in images()]  # a list of two splits


def segmentation() -> keras.Model:
    inputs = keras.Input((8, 8, 1))
    down = layers.Conv2D(4, 3, padding="same", activation="relu")(inputs)
    x = layers.Conv2DTranspose(4, 3, strides=2, padding="same")(layers.MaxPooling2D()(down))
    x = layers.SpatialDropout2D(0.2)(layers.Concatenate()([down, x]))
    model = keras.Model(inputs, layers.Conv2D(3, 1, activation="softmax")(x))
    iou = keras.metrics.MeanIoU(3, sparse_y_pred=False, ignore_class=255)
    model.compile("adam", keras.losses.SparseCategoricalCrossentropy(ignore_class=255), metrics=[iou])
    return model


def image_pipeline() -> Any:
    train, validation = images()
    pipeline = tf.data.Dataset.from_tensor_slices(train).batch(BATCH).map(lambda x, y: (x * 2 - 1, y)).cache()
    return pipeline.prefetch(1), tf.data.Dataset.from_tensor_slices(validation).batch(BATCH)


def autoencoder() -> keras.Model:
    inputs = keras.Input((8, 8, 1))
    x = layers.Flatten()(layers.GaussianNoise(0.1)(inputs))
    code = layers.Dense(8, activation="relu", activity_regularizer=keras.regularizers.L1(1e-4))(x)
    model = keras.Model(inputs, layers.Reshape((8, 8, 1))(layers.Dense(64, activation="sigmoid")(code)))
    model.compile("rmsprop", "binary_crossentropy", metrics=["mae"])
    return model


def pairs_of_equals() -> Any:
    return tuple((x, x) for x, _ in images())


def one_hot_data() -> Any:
    return tuple((x, keras.utils.to_categorical(y, CLASSES)) for x, y in images())


def smoothed_cnn() -> keras.Model:
    model = keras.Sequential([keras.Input((8, 8, 1)), layers.Conv2D(4, 3, activation="gelu"), layers.Flatten()])
    model.add(layers.Dense(CLASSES))
    loss = keras.losses.CategoricalFocalCrossentropy(from_logits=True, label_smoothing=0.1)
    model.compile(keras.optimizers.Lion(1e-3, clipnorm=1.0), loss, metrics=["accuracy", keras.metrics.F1Score()])
    return model


CASES = {
    "residual_cnn": Case(residual_cnn, images),
    "augmented_cnn": Case(augmented_cnn, images),
    "segmentation": Case(segmentation, segmentation_data),
    "image_pipeline": Case(depthwise_cnn, image_pipeline),
    "autoencoder": Case(autoencoder, pairs_of_equals),
    "vector_metric": Case(smoothed_cnn, one_hot_data),
}
