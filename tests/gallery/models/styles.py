"""Ways to train: steps, losses, layers and optimizers of one's own, eager steps, frozen and shared parts."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import layers, ops

from .case import BATCH, CLASSES, Case, classify, mlp, points, splits


class OwnLoss(keras.Model):
    """`compute_loss` adds a penalty; a metric of its own beside the compiled ones."""

    def compute_loss(
        self, x: Any = None, y: Any = None, y_pred: Any = None, sample_weight: Any = None, **more: Any
    ) -> Any:
        return super().compute_loss(x, y, y_pred, sample_weight, **more) + 0.01 * ops.mean(ops.square(y_pred))


class MeanConfidence(keras.metrics.Metric):
    """The mean of the largest probability."""

    def __init__(self, name: str = "confidence") -> None:
        super().__init__(name=name)
        self.total, self.rows = (self.add_weight(initializer="zeros", name=name) for name in ("total", "rows"))

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        self.total.assign_add(ops.sum(ops.max(y_pred, axis=-1)))
        self.rows.assign_add(ops.sum(ops.ones_like(y_pred[:, 0])))

    def result(self) -> Any:
        return self.total / self.rows


def own_loss() -> keras.Model:
    inputs = keras.Input((8,))
    x = layers.Dense(8, activation="relu")(inputs)
    model = OwnLoss(inputs, layers.Dense(CLASSES, activation="softmax")(x))
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy", MeanConfidence()])
    return model


class Distiller(keras.Model):
    """Learns from a frozen teacher's softened answers."""

    def __init__(self) -> None:
        super().__init__()
        self.teacher = keras.Sequential([keras.Input((8,)), layers.Dense(16, "tanh"), layers.Dense(CLASSES)])
        self.student = keras.Sequential([keras.Input((8,)), layers.Dense(4, "tanh"), layers.Dense(CLASSES)])
        self.teacher.trainable = False

    def call(self, x: Any) -> Any:
        return self.student(x)

    def compute_loss(
        self, x: Any = None, y: Any = None, y_pred: Any = None, sample_weight: Any = None, **_: Any
    ) -> Any:
        soft = ops.softmax(self.teacher(x, training=False) / 3)
        apart = ops.mean(keras.losses.kl_divergence(soft, ops.softmax(y_pred / 3)))
        return super().compute_loss(x, y, y_pred, sample_weight) + apart


def distiller() -> keras.Model:
    model = Distiller()
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adamax(1e-2), loss, metrics=["accuracy"])
    return model


class Branches(keras.Model):
    """Python that depends on values: only eager steps can run it."""

    def __init__(self) -> None:
        super().__init__()
        self.hidden, self.out = layers.Dense(8, "relu"), layers.Dense(CLASSES, "softmax")

    def call(self, x: Any) -> Any:
        h = self.hidden(x)
        return self.out(h * 0.5 if float(ops.mean(h)) > 0.5 else h)


def eager_branches() -> keras.Model:
    model = Branches()
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"], run_eagerly=True)
    return model


class Experts(layers.Layer):
    """A mixture of experts that balances itself by `add_loss`."""

    def build(self, shape: Any) -> None:
        self.gate = self.add_weight(shape=(shape[-1], 3), name="gate")
        self.experts = self.add_weight(
            shape=(3, shape[-1], 4), name="experts", constraint=keras.constraints.MaxNorm(1.0)
        )

    def call(self, x: Any) -> Any:
        share = ops.softmax(ops.matmul(x, self.gate))
        self.add_loss(0.01 * ops.sum(ops.square(ops.mean(share, axis=0))))
        return ops.einsum("be,bi,eio->bo", share, x, self.experts)


def experts() -> keras.Model:
    return mlp(Experts())


class Graph(layers.Layer):
    """Passes messages along fixed edges."""

    def __init__(self) -> None:
        super().__init__()
        self.sources, self.targets = tf.constant([0, 1, 2, 3, 4, 5, 6]), tf.constant([1, 2, 3, 4, 5, 6, 7])
        self.dense = layers.Dense(4, activation="relu")

    def call(self, x: Any) -> Any:
        nodes = self.dense(x[..., None])
        sent = tf.transpose(tf.gather(nodes, self.sources, axis=1), [1, 0, 2])
        return ops.mean(nodes + tf.transpose(tf.math.unsorted_segment_sum(sent, self.targets, 8), [1, 0, 2]), axis=1)


def graph_network() -> keras.Model:
    inputs = keras.Input((8,))
    return classify(inputs, Graph()(inputs))


def frozen_features() -> keras.Model:
    base = keras.Sequential([keras.Input((8,)), layers.Dense(8, "relu"), layers.BatchNormalization()])
    base.trainable = False
    inputs = keras.Input((8,))
    return classify(inputs, layers.SpectralNormalization(layers.Dense(6))(base(inputs, training=False)))


def undecayed_biases() -> keras.Model:
    optimizer = keras.optimizers.AdamW(1e-2, weight_decay=0.3)
    optimizer.exclude_from_weight_decay(var_names=["bias"])
    return mlp(optimizer=optimizer)


class Batches(keras.utils.PyDataset):
    """Rows cut into batches in Python."""

    def __init__(self, x: Any, y: Any) -> None:
        super().__init__()
        self.x, self.y = x, y

    def __len__(self) -> int:
        return -(-len(self.x) // BATCH)

    def __getitem__(self, index: int) -> Any:
        rows = slice(BATCH * index, BATCH * (index + 1))
        return self.x[rows], self.y[rows]


def python_batches() -> Any:
    return tuple(Batches(*split) for split in splits())


def generated() -> Any:
    def batches(rows: int, seed: int) -> Any:
        x, y = points(rows, seed)
        signature = (tf.TensorSpec((8,), tf.float32), tf.TensorSpec((), tf.int64))
        pipeline = tf.data.Dataset.from_generator(lambda: zip(x, y, strict=True), output_signature=signature)
        return pipeline.batch(BATCH).apply(tf.data.experimental.assert_cardinality(-(-rows // BATCH)))

    return batches(70, 0), batches(40, 1)


def quantiles() -> keras.Model:
    def pinball(y: Any, predicted: Any) -> Any:
        error = y - predicted
        return ops.mean(ops.maximum(error * np.array([0.1, 0.5, 0.9]), error * np.array([-0.9, -0.5, -0.1])), axis=-1)

    inputs = keras.Input((8,))
    model = keras.Model(inputs, layers.Dense(3)(layers.Dense(8, "elu")(inputs)))
    model.compile(keras.optimizers.Ftrl(0.1), pinball, metrics=["mae"])
    return model


def totals() -> Any:
    return splits(lambda x, _: (x, x.sum(axis=1, keepdims=True)))


CASES = {
    "own_loss": Case(own_loss, splits),
    "distiller": Case(distiller, splits),
    "eager_branches": Case(eager_branches, splits),
    "experts": Case(experts, splits),
    "graph_network": Case(graph_network, splits),
    "frozen_features": Case(frozen_features, splits),
    "undecayed_biases": Case(undecayed_biases, splits),
    "python_batches": Case(mlp, python_batches),
    "generated": Case(mlp, generated),
    "quantiles": Case(quantiles, totals),
}
