"""One small model and its data for every kind of Keras model that training must not change the results of.

Each builder works with plain `model.fit(..., shuffle=False, epochs=2, batch_size=32)`; 70 rows leave a partial batch.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf
from own_steps import OWN_STEPS

from runner import Data

ROWS, VALIDATION_ROWS, FEATURES, CLASSES, BATCH = 70, 40, 8, 3, 32


class Case(NamedTuple):
    """A compiled model's builder and the loader of data that fits it."""

    build: Callable[[], keras.Model]
    data: Callable[[], Any]


# --- data ---------------------------------------------------------------------------------------------------------


def _points(rows: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    y = rng.integers(CLASSES, size=rows)
    x = rng.normal(size=(rows, FEATURES)) + y[:, None]
    return x.astype("float32"), y


def _splits(change: Callable[[np.ndarray, np.ndarray], Any] = lambda x, y: (x, y)) -> Data:
    return Data(train=change(*_points(ROWS, 0)), validation=change(*_points(VALIDATION_ROWS, 1)))


def load_points() -> Any:
    return _points(ROWS, 0), _points(VALIDATION_ROWS, 1)


def load_dict_inputs() -> Data:
    return _splits(lambda x, y: ({"left": x[:, :3], "right": x[:, 3:]}, y))


def load_two_inputs() -> Data:
    return _splits(lambda x, y: ((x[:, :3], x[:, 3:]), y))


def load_two_outputs() -> Data:
    return _splits(lambda x, y: (x, {"label": y, "total": x.sum(axis=1, keepdims=True)}))


def load_sample_weights() -> Data:
    return _splits(lambda x, y: (x, y, np.abs(x[:, 0])))


def load_class_weights() -> Data:
    train, validation = load_points()
    return Data(train=train, validation=validation, class_weight={0: 1.0, 1: 0.25, 2: 4.0})


def load_ignored_labels() -> Data:
    return _splits(lambda x, y: (x, np.where(x[:, 0] > 1, 255, y)))


def load_sequences() -> Data:
    return _splits(lambda x, y: (np.where(np.arange(FEATURES) < 3 + 2 * y[:, None], 1 + (x > 1), 0), y))


def load_strings() -> Data:
    words = np.array(["red", "green", "blue"])

    def as_strings(x: np.ndarray, y: np.ndarray) -> tuple[tf.Tensor, np.ndarray]:
        pairs = np.stack([words[y], words[np.argmax(x[:, :3], axis=1)]], axis=1)
        return tf.constant(pairs.tolist()), y  # `fit` takes strings as a tensor, not as a numpy array

    return _splits(as_strings)


def load_images() -> Data:
    return _splits(lambda x, y: (np.stack([x, -x] * 4, axis=1)[..., None], y))


def load_dataset() -> Data:
    train, validation = load_points()
    pipeline = tf.data.Dataset.from_tensor_slices(train).shuffle(ROWS, seed=3, reshuffle_each_iteration=True)
    return Data(
        train=pipeline.batch(BATCH).prefetch(2),
        validation=tf.data.Dataset.from_tensor_slices(validation).batch(BATCH),
    )


# --- models -------------------------------------------------------------------------------------------------------


def _compile(model: keras.Model, optimizer: Any = "adam", **settings: Any) -> keras.Model:
    model.compile(optimizer, "sparse_categorical_crossentropy", metrics=["accuracy"], **settings)
    return model


def _classifier(inputs: Any, features: Any) -> keras.Model:
    return keras.Model(inputs, keras.layers.Dense(CLASSES, activation="softmax")(features))


def _mlp(*between: keras.layers.Layer) -> keras.Model:
    layers = [keras.Input((FEATURES,)), keras.layers.Dense(16, activation="relu"), *between]
    return keras.Sequential([*layers, keras.layers.Dense(CLASSES, activation="softmax")])


class Subclassed(keras.Model):
    """Has no variables until it is called."""

    def __init__(self) -> None:
        super().__init__()
        self.hidden = keras.layers.Dense(16, activation="relu")
        self.dropout = keras.layers.Dropout(0.2)
        self.out = keras.layers.Dense(CLASSES, activation="softmax")

    def call(self, x: Any, training: bool = False) -> Any:
        return self.out(self.dropout(self.hidden(x), training=training))


class OwnTrainStep(keras.Model):
    """Logs `gradient_norm`, which is no metric: `fit` shows its value for an epoch's last batch."""

    def train_step(self, data: Any) -> dict[str, Any]:
        x, y, weight = keras.utils.unpack_x_y_sample_weight(data)
        with tf.GradientTape() as tape:
            predicted = self(x, training=True)
            loss = self.compute_loss(x=x, y=y, y_pred=predicted, sample_weight=weight)
        gradients = tape.gradient(loss, self.trainable_weights)
        self.optimizer.apply(gradients, self.trainable_weights)
        for metric in self.metrics:
            if metric.name == "loss":
                metric.update_state(loss)
            else:
                metric.update_state(y, predicted, sample_weight=weight)
        return {**self.get_metrics_result(), "gradient_norm": tf.linalg.global_norm(gradients)}


class UnshapedLogs(OwnTrainStep):
    """Its logs have no fixed shape to a trace, and its step counts in a variable that Keras does not know."""

    def __init__(self, *arguments: Any, **settings: Any) -> None:
        super().__init__(*arguments, **settings)
        self.tracker = [tf.Variable(1.0, trainable=False)]

    def train_step(self, data: Any) -> dict[str, Any]:
        logs = super().train_step(data)
        count = self.tracker[0].assign_add(1.0)
        for variable in self.trainable_weights:
            variable.assign(variable * (1.0 - 1e-3 * count))
        return {**logs, "count": tf.numpy_function(lambda value: value, [count], tf.float32)}


class UnseededNoise(keras.layers.Layer):
    """Draws from Keras' global seed generator."""

    def call(self, x: Any, training: bool = False) -> Any:
        return x + keras.random.normal(keras.ops.shape(x), stddev=0.1) if training else x


def build_functional() -> keras.Model:
    inputs = keras.Input((FEATURES,))
    hidden = keras.layers.Dense(FEATURES, activation="relu")(inputs)
    return _compile(_classifier(inputs, keras.layers.Add()([inputs, hidden])))


def build_subclassed() -> keras.Model:
    return _compile(Subclassed())


def build_custom_train_step() -> keras.Model:
    inputs = keras.Input((FEATURES,))
    hidden = keras.layers.Dense(16, activation="relu")(inputs)
    return _compile(OwnTrainStep(inputs, keras.layers.Dense(CLASSES, activation="softmax")(hidden)))


def build_unshaped_logs() -> keras.Model:
    inputs = keras.Input((FEATURES,))
    return _compile(UnshapedLogs(inputs, keras.layers.Dense(CLASSES, activation="softmax")(inputs)))


def build_dict_inputs() -> keras.Model:
    inputs = {"left": keras.Input((3,), name="left"), "right": keras.Input((FEATURES - 3,), name="right")}
    return _compile(_classifier(inputs, keras.layers.Concatenate()([inputs["left"], inputs["right"]])))


def build_two_inputs() -> keras.Model:
    inputs = (keras.Input((3,)), keras.Input((FEATURES - 3,)))
    return _compile(_classifier(inputs, keras.layers.Concatenate()(list(inputs))))


def build_two_outputs() -> keras.Model:
    inputs = keras.Input((FEATURES,))
    hidden = keras.layers.Dense(16, activation="relu")(inputs)
    label = keras.layers.Dense(CLASSES, activation="softmax", name="label")(hidden)
    total = keras.layers.Dense(1, name="total")(hidden)
    model = keras.Model(inputs, {"label": label, "total": total})
    model.compile(
        "adam",
        loss={"label": "sparse_categorical_crossentropy", "total": "mse"},
        loss_weights={"label": 1.0, "total": 0.1},
        metrics={"label": ["accuracy"], "total": ["mae"]},
    )
    return model


def build_sample_weights() -> keras.Model:
    return _compile(_mlp(), weighted_metrics=["sparse_categorical_crossentropy"])


def build_class_weights() -> keras.Model:
    return _compile(_mlp())


def build_bfloat16() -> keras.Model:
    inputs = keras.Input((FEATURES,))
    hidden = keras.layers.Dense(16, activation="relu", dtype="bfloat16")(inputs)
    return _compile(keras.Model(inputs, keras.layers.Dense(CLASSES, activation="softmax", dtype="float32")(hidden)))


def build_mixed_float16() -> keras.Model:
    inputs = keras.Input((FEATURES,))
    hidden = keras.layers.Dense(16, activation="relu", dtype="mixed_float16")(inputs)
    outputs = keras.layers.Dense(CLASSES, activation="softmax", dtype="float32")(hidden)
    return _compile(keras.Model(inputs, outputs), keras.optimizers.LossScaleOptimizer(keras.optimizers.Adam(1e-3)))


def build_masked_rnn() -> keras.Model:
    inputs = keras.Input((FEATURES,), dtype="int64")
    embedded = keras.layers.Embedding(3, 4, mask_zero=True)(inputs)
    return _compile(_classifier(inputs, keras.layers.GRU(8)(embedded)))


def build_ema_optimizer() -> keras.Model:
    optimizer = keras.optimizers.Adam(1e-2, use_ema=True, ema_momentum=0.9, ema_overwrite_frequency=2)
    return _compile(_mlp(), optimizer)


def build_lr_schedule() -> keras.Model:
    return _compile(_mlp(), keras.optimizers.SGD(keras.optimizers.schedules.CosineDecay(0.1, 10), momentum=0.9))


def build_gradient_accumulation() -> keras.Model:
    return _compile(_mlp(), keras.optimizers.Adam(1e-2, gradient_accumulation_steps=4))


def build_run_eagerly() -> keras.Model:
    return _compile(_mlp(), run_eagerly=True)


def build_string_inputs() -> keras.Model:
    inputs = keras.Input((2,), dtype="string")
    lookup = keras.layers.StringLookup(vocabulary=["red", "green", "blue"], num_oov_indices=1)
    embedded = keras.layers.Embedding(lookup.vocabulary_size(), 4)(lookup(inputs))
    return _compile(_classifier(inputs, keras.layers.Flatten()(embedded)))


def build_cnn_batchnorm() -> keras.Model:
    inputs = keras.Input((FEATURES, FEATURES, 1))
    features = keras.layers.Conv2D(4, 3, activation="relu")(inputs)
    features = keras.layers.BatchNormalization()(features)
    return _compile(_classifier(inputs, keras.layers.GlobalAveragePooling2D()(features)))


def build_dropout_mlp() -> keras.Model:
    return _compile(_mlp(keras.layers.Dropout(0.5)))


def build_unseeded_random() -> keras.Model:
    return _compile(_mlp(UnseededNoise()))


def build_ignore_class() -> keras.Model:
    model = _mlp(keras.layers.Dropout(0.5))
    model.compile("adam", keras.losses.SparseCategoricalCrossentropy(ignore_class=255))
    return model


def build_dataset_input() -> keras.Model:
    return _compile(_mlp(keras.layers.Dropout(0.2)))


CASES: dict[str, Case] = {
    "functional": Case(build_functional, load_points),
    "subclassed": Case(build_subclassed, load_points),
    "custom_train_step": Case(build_custom_train_step, load_points),
    "unshaped_logs": Case(build_unshaped_logs, load_points),
    "dict_inputs": Case(build_dict_inputs, load_dict_inputs),
    "two_inputs": Case(build_two_inputs, load_two_inputs),
    "two_outputs": Case(build_two_outputs, load_two_outputs),
    "sample_weights": Case(build_sample_weights, load_sample_weights),
    "class_weights": Case(build_class_weights, load_class_weights),
    "bfloat16": Case(build_bfloat16, load_points),
    "mixed_float16": Case(build_mixed_float16, load_points),
    "masked_rnn": Case(build_masked_rnn, load_sequences),
    "ema_optimizer": Case(build_ema_optimizer, load_points),
    "lr_schedule": Case(build_lr_schedule, load_points),
    "gradient_accumulation": Case(build_gradient_accumulation, load_points),
    "run_eagerly": Case(build_run_eagerly, load_points),
    "string_inputs": Case(build_string_inputs, load_strings),
    "cnn_batchnorm": Case(build_cnn_batchnorm, load_images),
    "dropout_mlp": Case(build_dropout_mlp, load_points),
    "unseeded_random": Case(build_unseeded_random, load_points),
    "ignore_class": Case(build_ignore_class, load_ignored_labels),
    "dataset_input": Case(build_dataset_input, load_dataset),
    **{name: Case(*both) for name, both in OWN_STEPS.items()},
}
