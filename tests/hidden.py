"""An experiment whose trials differ in state that is in no config and no variable: `kind` says where it hides."""

from __future__ import annotations

import types
from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from runner import Data

WORDS = np.array(["red", "green", "blue", "white", "black", "grey"])
layers = keras.layers


def load_data(kind: str) -> Data:
    rng = np.random.default_rng(0)
    x: Any = rng.normal(size=(64, 6)).astype("float32")
    if kind in STRINGS:
        x = WORDS[rng.integers(6, size=(64, 6))]
    if kind == "text_vocabulary":
        x = np.array([" ".join(row) for row in x])
    return Data(train=(x, rng.integers(3, size=64)))


def build_model(kind: str, variant: int, learning_rate: float = 1e-2) -> keras.Model:
    """A classifier with the hidden state `variant` of this kind.

    Args:
        kind: a name of `KINDS`.
        variant: which state; those of one kind have equal configs or none.
        learning_rate: of the optimizer, a variable.
    """
    model = KINDS[kind](variant)
    if not model.compiled:
        model.compile(keras.optimizers.AdamW(learning_rate), "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


def sequential(*first: keras.layers.Layer) -> keras.Sequential:
    return keras.Sequential([*first, layers.Dense(8, "relu", name="hidden"), layers.Dense(3, "softmax")])


def normalization(variant: int) -> keras.Model:
    layer = layers.Normalization()
    layer.adapt(np.arange(12.0).reshape(2, 6) * (variant + 1))
    return sequential(layer)


def vocabulary(variant: int) -> keras.Model:
    layer = layers.StringLookup()
    layer.adapt(WORDS[: 3 + variant] if variant else WORDS[3:])
    return keras.Sequential(
        [keras.Input((6,), dtype="string"), layer, layers.Rescaling(0.2), layers.Dense(3, "softmax")]
    )


def text_vocabulary(variant: int) -> keras.Model:
    layer = layers.TextVectorization(max_tokens=5, output_sequence_length=6)
    layer.adapt(WORDS[3:] if variant else WORDS[:3])
    text = keras.Input((), dtype="string")
    return keras.Sequential([text, layer, layers.Embedding(5, 4), layers.Flatten(), layers.Dense(3, "softmax")])


def idf_weights(variant: int) -> keras.Model:
    layer = layers.IntegerLookup(vocabulary=[1, 2, 3], idf_weights=[1.0, 2.0, 3.0 + variant], output_mode="tf_idf")
    return keras.Sequential([keras.Input((6,), dtype="int32"), layer, layers.Dense(3, "softmax")])


def boundaries(variant: int) -> keras.Model:
    layer = layers.Discretization(num_bins=3)
    layer.adapt(np.linspace(-1.0, 1.0 + variant, 50).astype("float32"))
    return keras.Sequential([keras.Input((6,)), layer, layers.Rescaling(0.2), layers.Dense(3, "softmax")])


def salt(variant: int) -> keras.Model:
    layer = layers.Hashing(4)
    layer.salt = [variant, variant]
    return keras.Sequential(
        [keras.Input((6,), dtype="int32"), layer, layers.Rescaling(0.2), layers.Dense(3, "softmax")]
    )


def excluded(by: str) -> Callable[[int], keras.Model]:
    """Variables without weight decay, by `"names"` or as a list."""

    def build(variant: int) -> keras.Model:
        model, optimizer = sequential(keras.Input((6,))), keras.optimizers.AdamW(1e-2, weight_decay=0.5)
        if variant and by == "names":
            optimizer.exclude_from_weight_decay(var_names=["kernel"])
        if variant and by == "variables":
            optimizer.exclude_from_weight_decay(var_list=model.trainable_variables[:1])
        model.compile(optimizer, "sparse_categorical_crossentropy")
        return model

    return build


def changed(change: Callable[[Any, int], None]) -> Callable[[int], keras.Model]:
    """A plain model that is changed after it was made."""

    def build(variant: int) -> keras.Model:
        model = sequential(keras.Input((6,)))
        change(model, variant)
        return model

    return build


def replaced_call(model: Any, variant: int) -> None:
    layer = model.get_layer("hidden")
    layer.call = lambda inputs, training=None: keras.ops.matmul(inputs, layer.kernel) * (variant + 1.0)


def replaced_step(model: Any, variant: int) -> None:
    def train_step(self: Any, data: Any) -> Any:
        x, y = data
        return keras.Model.train_step(self, (x * (variant + 1.0), y))

    model.train_step = types.MethodType(train_step, model)


def frozen(model: Any, variant: int) -> None:
    model.get_layer("hidden").kernel.trainable = not variant


def regularizer(model: Any, variant: int) -> None:
    model.get_layer("hidden").kernel.regularizer = keras.regularizers.L2(0.1 * variant)


def own_regularizer(model: Any, variant: int) -> None:
    model.get_layer("hidden").kernel.regularizer = lambda weights: 0.1 * variant * keras.ops.sum(keras.ops.abs(weights))


def constraint(model: Any, variant: int) -> None:
    model.get_layer("hidden").kernel.constraint = keras.constraints.MaxNorm(0.5 + variant)


def activation(model: Any, variant: int) -> None:
    model.get_layer("hidden").activation = (keras.activations.relu, keras.activations.tanh)[variant]


def own_activation(model: Any, variant: int) -> None:
    model.get_layer("hidden").activation = lambda x: x * (variant + 1.0)


def activity(model: Any, variant: int) -> None:
    model.get_layer("hidden").activity_regularizer = keras.regularizers.L2(0.1 * variant)


def lora(model: Any, variant: int) -> None:
    model.get_layer("hidden").enable_lora(2, lora_alpha=2 + variant)


def closure_loss(model: Any, variant: int) -> None:
    def loss(y_true: Any, y_pred: Any) -> Any:
        return (variant + 1.0) * keras.losses.sparse_categorical_crossentropy(y_true, y_pred)

    model.compile("adam", loss)


def loss_attribute(model: Any, variant: int) -> None:
    loss = keras.losses.SparseCategoricalCrossentropy()
    loss._fn_kwargs["ignore_class"] = variant
    model.compile("adam", loss)


def closure_metric(model: Any, variant: int) -> None:
    model.compile("adam", "sparse_categorical_crossentropy", metrics=[lambda y_true, y_pred: variant + 0.0 * y_pred])


def loss_scale(model: Any, variant: int) -> None:
    optimizer = keras.optimizers.Adam()
    optimizer.loss_scale_factor = 2.0 + variant
    model.compile(optimizer, "sparse_categorical_crossentropy")


def schedule_attribute(model: Any, variant: int) -> None:
    schedule = keras.optimizers.schedules.CosineDecay(1e-2, 100)
    schedule.alpha = 0.5 * variant
    model.compile(keras.optimizers.Adam(schedule), "sparse_categorical_crossentropy")


def gradient_hook(model: Any, variant: int) -> None:
    optimizer = keras.optimizers.SGD(1e-2)
    update = type(optimizer).update_step
    optimizer.update_step = lambda gradient, weight, rate: update(optimizer, gradient * (variant + 1.0), weight, rate)
    model.compile(optimizer, "sparse_categorical_crossentropy")


def captured_constant(variant: int) -> keras.Model:
    inputs = keras.Input((6,))
    scaled = keras.layers.Dense(8, "relu")(inputs * np.float32(variant + 1))
    return keras.Model(inputs, layers.Dense(3, "softmax")(scaled))


def scaled_by_lambda(variant: int) -> keras.Model:
    return sequential(keras.Input((6,)), layers.Lambda(lambda x: x * (variant + 1.0)))


STRINGS = {"vocabulary": vocabulary, "text_vocabulary": text_vocabulary}
KINDS: dict[str, Callable[[int], keras.Model]] = {
    **STRINGS,
    "none": lambda variant: sequential(keras.Input((6,))),
    "normalization": normalization,
    "idf_weights": idf_weights,
    "boundaries": boundaries,
    "salt": salt,
    "excluded_names": excluded("names"),
    "excluded_variables": excluded("variables"),
    "captured_constant": captured_constant,
    "lambda": scaled_by_lambda,
    **{
        change.__name__: changed(change)
        for change in (replaced_call, replaced_step, frozen, regularizer, own_regularizer, constraint, activation)
    },
    **{
        change.__name__: changed(change)
        for change in (own_activation, activity, lora, closure_loss, loss_attribute, closure_metric, loss_scale)
    },
    **{change.__name__: changed(change) for change in (schedule_attribute, gradient_hook)},
}
