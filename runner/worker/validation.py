"""Checks a model and its data before the first step, and reads the facts that are recorded of them."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Iterator
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from runner.records import Facts, Signature, Tensor
from runner.worker import private
from runner.worker.data.arrays import Arrays, ArraySplit
from runner.worker.data.description import data_sets
from runner.worker.data.feeds import Feed
from runner.worker.error_text import text_of
from runner.worker.programs.base import Program


def check_model(model: object, splits: Collection[str]) -> None:
    """Refuses a model that `fit` could not train.

    Args:
        model: what `build_model` returned.
        splits: the splits of its data.

    Raises:
        TypeError: it is no Keras model, or overrides `fit`.
        ValueError: it is not compiled, or lacks the `call` that its steps need.
    """
    if not isinstance(model, keras.Model):
        raise TypeError(f"build_model returned a {type(model).__name__}; return a compiled keras.Model")
    if not model.compiled:
        raise ValueError("build_model returned a model that is not compiled; call model.compile(optimizer, loss) in it")
    if any(getattr(type(model), name) is not getattr(keras.Model, name) for name in ("fit", "make_train_function")):
        raise TypeError(
            f"{type(model).__name__} overrides fit() or make_train_function(), which the runner does not call; "
            "override train_step() instead"
        )
    _check_steps(model, splits)


def _check_steps(model: keras.Model, splits: Collection[str]) -> None:
    name = type(model).__name__
    if type(model).call is not keras.Model.call:
        return
    if type(model).train_step is keras.Model.train_step:
        raise ValueError(
            f"{name} has neither call() nor train_step(), so that fit raises NotImplementedError; write one"
        )
    evaluated = [split for split in ("validation", "test") if split in splits]
    if evaluated and type(model).test_step is keras.Model.test_step:
        raise ValueError(
            f"{name} has no call(), and there is {' and '.join(evaluated)} data, for which Keras' own test_step() "
            "needs it, so that fit raises NotImplementedError after its first epoch; give the model a test_step() or "
            "a call(), or leave that data out"
        )


def check_labels(model: keras.Model, train: ArraySplit) -> None:
    """Refuses integer labels that are no classes of a single-output classifier: on a GPU they would give NaN.

    Raises:
        ValueError: it names the labels found and the classes allowed.
    """
    loss, (_, y, _) = model.loss, keras.utils.unpack_x_y_sample_weight(train.tensors)
    name = loss if isinstance(loss, str) else getattr(loss, "name", "")
    if name != "sparse_categorical_crossentropy" or not isinstance(y, np.ndarray) or y.dtype.kind not in "iu":
        return
    shape = getattr(model, "output_shape", None)
    if not isinstance(shape, tuple) or not isinstance(shape[-1], int):
        return
    counted = y[y != loss.ignore_class] if getattr(loss, "ignore_class", None) is not None else y
    if not counted.size:
        raise ValueError(f"train y has no label but {loss.ignore_class}, which the loss ignores (ignore_class)")
    low, high = int(counted.min()), int(counted.max())
    if low < 0 or high >= shape[-1]:
        raise ValueError(
            f"train y has labels {low} to {high}; the model's output has {shape[-1]} classes, allowed: 0 to "
            f"{shape[-1] - 1}"
        )


def check_text(model: keras.Model, train: ArraySplit) -> None:
    """Refuses texts for parts that the model takes as numbers. A model with steps of its own may take any part as text.

    Raises:
        ValueError: it names the part that has texts, and one of them.
    """
    x, y, _ = keras.utils.unpack_x_y_sample_weight(train.tensors)
    kind = type(model)
    if kind.train_step is keras.Model.train_step and kind.compute_loss is keras.Model.compute_loss:
        for name, leaf in _texts("train y", y):
            raise ValueError(
                f"{name} holds text ({leaf.flat[0]!r}), and a loss compares numbers; give each label's number, "
                "such as names, y = np.unique(y, return_inverse=True)"
            )
    inputs = getattr(model, "inputs", None) or ()
    if inputs and not any(tensor.dtype == "string" for tensor in inputs):
        for name, leaf in _texts("train x", x):
            raise ValueError(
                f"{name} holds text ({leaf.flat[0]!r}), and the model's inputs take {inputs[0].dtype}; encode it "
                "(keras.layers.TextVectorization or StringLookup), or give the input dtype='string'"
            )


def check_xla(train: ArraySplit) -> None:
    """Refuses texts for steps that XLA compiles. It would not raise on them, but end the process.

    Raises:
        ValueError: it names the part that has texts.
    """
    for name, leaf in _texts("train", train.tensors):
        raise ValueError(
            f"{name} holds text ({leaf.flat[0]!r}), and XLA compiles no steps on text; choose train.compile=graph"
        )


def _texts(name: str, part: Arrays) -> Iterator[tuple[str, np.ndarray]]:
    for path, leaf in keras.tree.flatten_with_path(part):
        if isinstance(leaf, np.ndarray) and leaf.dtype.kind in "OSU" and leaf.size:
            yield name + "".join(f"[{step!r}]" for step in path), leaf


def facts_of(model: keras.Model, feed: Feed, program: Program) -> Facts:
    """The facts of a built model, its data and its program."""
    return Facts(
        steps_per_epoch=feed.steps_per_epoch,
        rows=feed.rows,
        validation_rows=feed.validation_rows,
        parameters=sum(math.prod(weight.shape) for weight in model.weights),  # `count_params` needs a built model
        program=program.kind,
        program_reason=program.reason,
        inexact="; ".join(filter(None, (program.inexact, feed.inexact))),
        summary=_summary(model),
        loadable=is_plain_keras(model),
        batch=_as_python(feed.spec()),
        signature=signature_of(model),
        compile="eager" if model.run_eagerly else "xla" if model.jit_compile is True else "",
        data=data_sets(feed),
    )


def sizes_of(model: keras.Model) -> tuple[int, int]:
    """Bytes of the weights, and of all variables that training changes, of a model that has trained for a step."""
    optimizer = model.optimizer.variables if model.optimizer else ()
    weights, others = _bytes(model.weights), _bytes([*optimizer, *model.metrics_variables])
    return weights, weights + others


def _bytes(variables: Iterable[keras.Variable]) -> int:
    return sum(math.prod(variable.shape) * tf.as_dtype(variable.dtype).size for variable in variables)


def _summary(model: keras.Model) -> str:
    lines: list[str] = []
    try:
        model.summary(print_fn=lambda line, **_: lines.append(line), line_length=100)
    except Exception as err:  # it calls the user's layers for the shapes of their outputs
        return f"{type(model).__name__}.summary() raised {type(err).__name__}: {text_of(err)}"
    return "\n".join(lines)


def is_plain_keras(model: keras.Model) -> bool:
    """Whether `keras.models.load_model` can load the saved model without the user's code."""
    return not own_parts(model)


def own_parts(model: keras.Model) -> tuple[str, ...]:
    """Names of the user's classes and functions that `keras.models.load_model` would need; empty if it needs none."""
    if not type(model).__module__.startswith("keras."):
        return (type(model).__name__,)
    try:
        config = keras.saving.serialize_keras_object(model)
    except (NotImplementedError, TypeError, ValueError):  # Keras cannot serialize the model
        classes = [type(layer) for layer in model.layers]
        own = (kind.__name__ for kind in classes if not kind.__module__.startswith("keras."))
        return tuple(dict.fromkeys(own)) or ("a part that Keras cannot serialize",)
    return tuple(dict.fromkeys(_name(node) for node in _objects(config) if not _is_keras_object(node)))


def signature_of(model: keras.Model) -> Signature | None:
    """Names, dtypes and shapes of inputs and outputs; None if they are unknown, nested or of a dtype NumPy lacks."""
    # A functional model has the structure in `input`, a sequential one only the flat `inputs`.
    inputs, outputs = (_tensors(getattr(model, name, getattr(model, f"{name}s", None))) for name in ("input", "output"))
    return None if inputs is None else Signature(inputs=inputs, outputs=outputs)


def _tensors(tensors: object) -> tuple[Tensor, ...] | None:
    if tensors is None:
        return None
    if isinstance(tensors, dict):
        named: list[tuple[str | None, keras.KerasTensor]] = [(str(name), tensor) for name, tensor in tensors.items()]
    else:
        flat = list(tensors) if isinstance(tensors, list | tuple) else [tensors]
        named = [(private.tensor_name(tensor) if len(flat) > 1 else None, tensor) for tensor in flat]
    if not all(hasattr(tensor, "shape") and _is_numpys(tensor.dtype) for _, tensor in named):
        return None
    return tuple(
        Tensor(
            name=name,
            dtype=np.dtype(tensor.dtype).name,
            shape=(-1, *(-1 if size is None else int(size) for size in tensor.shape[1:])),
        )
        for name, tensor in named
    )


def _is_numpys(dtype: str) -> bool:
    """Whether NumPy has the dtype by itself: bfloat16 and float8 are known only where `ml_dtypes` is imported."""
    return dtype in np.sctypeDict and np.dtype(dtype).isbuiltin == 1


def _as_python(spec: tf.TypeSpec) -> str:
    """The Python expression for this spec, with TensorFlow as `tf`; empty if there is none."""
    if isinstance(spec, dict):
        parts = {key: _as_python(part) if isinstance(key, (str, int)) else "" for key, part in spec.items()}
        return "{" + ", ".join(f"{key!r}: {part}" for key, part in parts.items()) + "}" if all(parts.values()) else ""
    if isinstance(spec, tuple) and type(spec) is tuple:
        items = [_as_python(part) for part in spec]
        return f"({', '.join(items)},)" if all(items) else ""
    if spec is None:
        return "None"
    kinds = {
        tf.TensorSpec: "TensorSpec",
        tf.SparseTensorSpec: "SparseTensorSpec",
        tf.RaggedTensorSpec: "RaggedTensorSpec",
    }
    kind = kinds.get(type(spec))
    if kind is None:
        return ""
    shape = None if spec.shape.rank is None else spec.shape.as_list()
    ragged = f", {spec.ragged_rank}, {spec.row_splits_dtype.name!r}" if kind == "RaggedTensorSpec" else ""
    return f"tf.{kind}({shape}, {spec.dtype.name!r}{ragged})"


def _objects(config: object) -> list[dict[str, Any]]:
    found = [config] if isinstance(config, dict) and "class_name" in config else []
    children = config.values() if isinstance(config, dict) else config if isinstance(config, (list, tuple)) else ()
    return found + [node for child in children for node in _objects(child)]


def _name(node: dict[str, Any]) -> str:
    """The name of a serialized class or function in its code."""
    inner = node.get("config")
    return inner if node["class_name"] == "function" and isinstance(inner, str) else str(node["class_name"])


def _is_keras_object(node: dict[str, Any]) -> bool:
    name, module, registered = node["class_name"], node.get("module") or "", node.get("registered_name") or ""
    if name.startswith("__"):  # Keras' own names for tuples, arrays and the like; `__lambda__` is code
        return bool(name != "__lambda__")
    return (
        bool(module.startswith(("keras", "builtins"))) and ">" not in registered and name not in ("Lambda", "function")
    )
