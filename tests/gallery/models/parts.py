"""Layers, optimizers, losses and metrics that the other cases lack, one architecture for a few of them each."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import layers, ops

from .case import CLASSES, Case, classify, images, mlp, splits


def normalized() -> keras.Model:
    x = inputs = keras.Input((8,))
    for layer in (layers.LayerNormalization(), layers.UnitNormalization(), layers.RMSNormalization()):
        x = layer(layers.Dense(8, activation="gelu")(x))
    return classify(inputs, layers.GroupNormalization(4)(x))


def swish() -> keras.Model:
    return mlp(layers.Activation("silu"))


def noisy() -> keras.Model:
    noises = (layers.GaussianNoise(0.2), layers.GaussianDropout(0.2), layers.AlphaDropout(0.1))
    return mlp(*noises, layers.ActivityRegularization(1e-3))


def words() -> Any:
    return splits(lambda x, y: (np.clip(3 + 2 * x, 0, 9).astype("int32"), y))


def bag_of_words() -> keras.Model:
    inputs = keras.Input((8,), dtype="int32")
    return classify(inputs, layers.GlobalAveragePooling1D()(layers.Embedding(10, 4, mask_zero=True)(inputs)))


def encoder() -> keras.Model:
    inputs = keras.Input((8,), dtype="int32")
    places = layers.Embedding(8, 4)(ops.arange(8))
    x = layers.Embedding(10, 4, mask_zero=True)(inputs) + places
    x = layers.LayerNormalization()(layers.add([x, layers.MultiHeadAttention(2, 4, dropout=0.1)(x, x)]))
    x = layers.add([x, layers.GroupQueryAttention(2, 2, 1)(x, x, use_causal_mask=True)])
    x = layers.add([x, layers.EinsumDense("abc,cd->abd", output_shape=(8, 4), activation="gelu")(x)])
    return classify(inputs, layers.Flatten()(x))


class Tied(keras.Model):
    """Its decoder is the transposed encoder."""

    def __init__(self) -> None:
        super().__init__()
        self.encode = layers.Dense(4, "tanh")
        self.bias = self.add_weight(shape=(8,), initializer="zeros", name="bias")

    def call(self, x: Any) -> Any:
        return ops.matmul(self.encode(x), ops.transpose(self.encode.kernel)) + self.bias


def rows_twice() -> Any:
    return splits(lambda x, _: (x, x))


def tied() -> keras.Model:
    model = Tied()
    rate = keras.optimizers.schedules.ExponentialDecay(0.1, 3, 0.9, staircase=True)
    optimizer = keras.optimizers.SGD(rate, momentum=0.9, nesterov=True, global_clipnorm=0.5)
    model.compile(optimizer, keras.losses.Huber(0.7), metrics=["mse", keras.metrics.CosineSimilarity()])
    return model


def labels_of_rows() -> Any:
    return splits(lambda x, _: (x, (x[:, :4] > 1).astype("float32")))


def multi_label() -> keras.Model:
    inputs = keras.Input((8,))
    model = keras.Model(inputs, layers.Dense(4, "sigmoid")(layers.Dense(8, layers.PReLU())(inputs)))
    metrics = [
        *(keras.metrics.AUC(multi_label=True, num_labels=4), keras.metrics.Precision(), keras.metrics.Recall()),
        *(keras.metrics.F1Score(threshold=0.5), "binary_accuracy"),
    ]
    loss = keras.losses.BinaryFocalCrossentropy(apply_class_balancing=True, label_smoothing=0.05)
    model.compile(keras.optimizers.Adafactor(1e-2), loss, metrics=metrics)
    return model


def one_hot() -> Any:
    return splits(lambda x, y: (x, keras.utils.to_categorical(y, CLASSES)))


def smoothed() -> keras.Model:
    inputs = keras.Input((8,))
    model = keras.Model(inputs, layers.Dense(CLASSES)(layers.Dense(8, "mish")(inputs)))
    loss = keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=0.1)
    optimizer = keras.optimizers.Lion(
        keras.optimizers.schedules.CosineDecay(1e-3, 9, warmup_target=1e-2, warmup_steps=3)
    )
    model.compile(optimizer, loss, metrics=[keras.metrics.TopKCategoricalAccuracy(2), "accuracy"])
    return model


class Routed(layers.Layer):
    """Each row goes to the two of four experts that its gate prefers."""

    def build(self, shape: Any) -> None:
        self.gate = self.add_weight(shape=(shape[-1], 4), name="gate")
        self.experts = self.add_weight(shape=(4, shape[-1], 5), name="experts")

    def call(self, x: Any) -> Any:
        share, chosen = ops.top_k(ops.softmax(ops.matmul(x, self.gate)), 2)
        outputs = ops.einsum("bi,eio->beo", x, self.experts)
        return ops.sum(share[..., None] * ops.take_along_axis(outputs, chosen[..., None], axis=1), axis=1)


def routed() -> keras.Model:
    return mlp(Routed(), optimizer=keras.optimizers.AdamW(1e-2, weight_decay=0.05, clipnorm=0.5))


class Sorted(layers.Layer):
    """Operations of TensorFlow itself."""

    def call(self, x: Any) -> Any:
        ordered = tf.sort(x, axis=-1, direction="DESCENDING")
        total = tf.cumsum(tf.where(x > 0.5, x, tf.zeros_like(x)), axis=-1)
        spread = tf.tensor_scatter_nd_update(tf.zeros_like(x), [[0]], tf.reduce_mean(x, axis=0, keepdims=True))
        near = tf.gather_nd(
            x, tf.stack([tf.range(tf.shape(x)[0]), tf.argmax(x, axis=-1, output_type=tf.int32)], axis=1)
        )
        return tf.concat([ordered, total + spread, near[:, None]], axis=-1)


def sorted_features() -> keras.Model:
    return mlp(Sorted())


def frozen() -> keras.Model:
    inputs = keras.Input((8,))
    fixed = layers.Dense(8, "relu", trainable=False)
    x = layers.SpectralNormalization(layers.Dense(6))(layers.BatchNormalization(trainable=False)(fixed(inputs)))
    return classify(inputs, x, keras.optimizers.RMSprop(1e-2, momentum=0.9, centered=True))


def half() -> keras.Model:
    inputs = keras.Input((8, 8, 1))
    with_half = {"dtype": "mixed_float16"}
    x = layers.Conv2D(4, 3, activation="relu", **with_half)(inputs)
    x = layers.Flatten()(layers.LayerNormalization(**with_half)(x))
    outputs = layers.Dense(CLASSES, activation="softmax", dtype="float32")(x)
    model = keras.Model(inputs, outputs)
    optimizer = keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD(1e-2), dynamic_growth_steps=2)
    model.compile(optimizer, "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


def encoded() -> keras.Model:
    inputs = keras.Input((8,), dtype="int32")
    category = ops.sum(ops.one_hot(inputs, 10), axis=1)
    scaled = layers.Rescaling(0.1, offset=-0.5)(inputs)
    return classify(inputs, layers.Concatenate()([category, scaled]), keras.optimizers.Muon(1e-2))


def brightened() -> keras.Model:
    inputs = x = keras.Input((8, 8, 1))
    for layer in (layers.RandomFlip(), layers.RandomContrast(0.2), layers.RandomBrightness(0.1, value_range=(0, 1))):
        x = layer(x)
    return classify(inputs, layers.Flatten()(x))


class Gaussian(keras.Model):
    """A mixture of normal densities, by `add_loss` and a negative log likelihood of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.hidden, self.heads = layers.Dense(8, "softplus"), [layers.Dense(3) for _ in range(3)]

    def call(self, x: Any) -> Any:
        return ops.stack([head(self.hidden(x)) for head in self.heads], axis=-1)

    def compute_loss(
        self, x: Any = None, y: Any = None, y_pred: Any = None, sample_weight: Any = None, **_: Any
    ) -> Any:
        weight, mean, spread = (y_pred[..., k] for k in range(3))
        scale = ops.softplus(spread) + 0.1
        densities = ops.log_softmax(weight) - ops.log(scale) - 0.5 * ops.square((y - mean) / scale)
        return -ops.mean(ops.logsumexp(densities, axis=-1))


def totals() -> Any:
    return splits(lambda x, _: (x, x.sum(axis=1, keepdims=True)))


def densities() -> keras.Model:
    model = Gaussian()
    model.compile(keras.optimizers.Adadelta(1.0))
    return model


class Pairs(keras.Model):
    """A siamese network whose inputs are arrays; the loss is of distances."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = keras.Sequential([layers.Dense(8, "relu"), layers.Dense(4)])

    def call(self, pair: Any) -> Any:
        return ops.norm(self.embed(pair["one"]) - self.embed(pair["other"]) + 1e-3, axis=-1, keepdims=True)


def pairs() -> Any:
    def paired(x: np.ndarray, y: np.ndarray) -> Any:
        return {"one": x, "other": x[::-1].copy()}, (y == y[::-1]).astype("float32")

    return splits(paired)


def siamese_arrays() -> keras.Model:
    def contrastive(same: Any, distance: Any) -> Any:
        return ops.mean(same * ops.square(distance) + (1 - same) * ops.square(ops.maximum(1.0 - distance, 0)))

    model = Pairs()
    model.compile(keras.optimizers.Adam(1e-2, amsgrad=True), contrastive)
    return model


def long_words() -> Any:
    return splits(lambda x, y: (x.reshape(len(x), 4, 2), y))


def bidirectional() -> keras.Model:
    inputs = keras.Input((4, 2))
    x = layers.Bidirectional(layers.LSTM(3, return_sequences=True))(inputs)
    return classify(inputs, layers.GRU(4, dropout=0.1)(x))


def unrolled() -> keras.Model:
    inputs = keras.Input((4, 2))
    x = layers.Bidirectional(layers.LSTM(3, return_sequences=True, unroll=True))(inputs)
    return classify(inputs, layers.GRU(4, unroll=True, dropout=0.1)(x))


class Halved(layers.Layer):
    """Halves a batch until all of it is small."""

    def call(self, x: Any) -> Any:
        return tf.while_loop(lambda x: tf.reduce_max(tf.abs(x)) > 1, lambda x: (x / 2,), (x,), maximum_iterations=8)[0]


def halved() -> keras.Model:
    return mlp(Halved())


CASES = {
    "normalized": Case(normalized, splits),
    "swish": Case(swish, splits),
    "noisy": Case(noisy, splits),
    "bag_of_words": Case(bag_of_words, words),
    "encoder": Case(encoder, words),
    "tied": Case(tied, rows_twice),
    "multi_label": Case(multi_label, labels_of_rows),
    "smoothed": Case(smoothed, one_hot),
    "routed": Case(routed, splits),
    "sorted_features": Case(sorted_features, splits),
    "frozen": Case(frozen, splits),
    "half": Case(half, images),
    "encoded": Case(encoded, words),
    "brightened": Case(brightened, images),
    "densities": Case(densities, totals),
    "siamese_arrays": Case(siamese_arrays, pairs),
    "bidirectional": Case(bidirectional, long_words),
    "unrolled": Case(unrolled, long_words),
    "halved": Case(halved, splits),
}
