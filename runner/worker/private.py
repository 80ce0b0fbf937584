"""Private parts of Keras and TensorFlow, used in this module alone, so that a new version breaks only here.

Sources:
    keras 3.15, `keras/src/backend/tensorflow/trainer.py` (`fit`), `keras/src/backend/common/global_state.py`.
    tensorflow 2.21, `python/eager/context.py` (`_set_global_seed`), `python/framework/random_seed.py`,
    `python/framework/config.py` (`enable_op_determinism`), `python/data/ops/dataset_ops.py`.
"""

from __future__ import annotations

import collections
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from threading import local
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
import tensorflow as tf
from keras.src.backend.common import global_state
from keras.src.initializers import random_initializers
from keras.src.random import seed_generator
from keras.src.trainers.data_adapters import data_adapter_utils, tf_dataset_adapter
from tensorflow.core.framework import graph_pb2
from tensorflow.python import pywrap_tfe
from tensorflow.python.eager import context
from tensorflow.python.framework import config, op_def_registry, random_seed
from tensorflow.python.ops import gen_dataset_ops, stateful_random_ops

from runner.worker import missing
from runner.worker.metrics import as_numbers, flat
from runner.worker.oom import is_out_of_memory

if TYPE_CHECKING:
    from collections.abc import Callable

    from tensorflow.core.framework import op_def_pb2

_NAMES = "object_name_uids"

# Keras: models and their steps.


def symbolic_build(model: keras.Model, batch: object) -> bool:
    """Tries to create every variable that the first step of `fit` would create, without a trace of the step.

    Args:
        model: compiled.
        batch: tensors or their specs, as a step gets them.

    Returns:
        False if that failed, which may leave the model half built.

    Raises:
        Exception: memory ran out while the variables were created.
    """
    build = missing.part(
        model, "keras.Model", "_symbolic_build", "every trial traces its own model, which takes longer"
    )
    if build is None:
        return False
    try:
        build(data_batch=batch)
    except Exception as err:  # any layer may fail on symbolic values; only its trace shows whether it trains
        if is_out_of_memory(err):
            raise
        return False
    return True


def is_built(model: keras.Model) -> bool:
    """Whether every variable of the model, its optimizer and its metrics exists, so that a trace creates none."""
    parts = (model, model.optimizer, model._compile_loss, model._compile_metrics)
    return all(part is None or part.built for part in parts)


def epoch_logs(model: keras.Model, logs: Any) -> dict[str, float]:
    """The values that `fit` shows after a step that returned `logs`; a vector's components beside its mean."""
    return as_numbers(flat(raw_epoch_logs(model, logs)))


def raw_epoch_logs(model: keras.Model, logs: Any) -> dict[str, Any]:
    """The same as `fit` passes them to callbacks: tensors or arrays, perhaps in levels."""
    return dict(model._get_metrics_result_or_logs(logs))


# Keras: callbacks.


def is_default_hook(hook: Callable[..., object]) -> bool:
    """Whether a hook of a callback is the one that does nothing, which every callback has."""
    return bool(getattr(hook, "_is_default", False))


def has_profiler(tensorboard: keras.callbacks.TensorBoard) -> bool:
    """Whether the callback profiles some of the batches."""
    return bool(tensorboard._should_trace)


def tensor_name(tensor: keras.KerasTensor) -> str | None:
    """An input's name as a loaded model has it, which is its layer's; any other symbolic tensor's own name."""
    if not isinstance(tensor, keras.KerasTensor):
        return getattr(tensor, "name", None)
    effect = "a recorded signature may name inputs otherwise than the loaded model"
    layer = getattr(missing.part(tensor, "keras.KerasTensor", "_keras_history", effect), "operation", None)
    return layer.name if isinstance(layer, keras.layers.InputLayer) else getattr(tensor, "name", None)


def attributes_of_a_step(instance: object, attributes: Mapping[str, object]) -> dict[str, object]:
    """Those of an object's attributes that a training step can read.

    Leaves out TensorFlow's records for checkpoints, because they list every attribute a second time. Leaves out a seed
    that an initializer has drawn for itself, because it is not part of its config and is used only to build the model.
    """
    found = {name: value for name, value in attributes.items() if not name.startswith("_self_")}
    if isinstance(instance, random_initializers.RandomInitializer) and found.get("_init_seed") is None:
        found.pop("seed", None)
    return found


# Keras: data.


def class_weights_as_sample_weights(y: np.ndarray, class_weight: Mapping[int, float]) -> np.ndarray:
    """One weight a row, as `fit` makes them: `[rows]`."""
    return np.asarray(data_adapter_utils.class_weight_to_sample_weights(y, dict(class_weight)))


def class_weight_map(class_weight: Mapping[int, float]) -> Callable[..., object]:
    """A function for `Dataset.map` that adds a weight to each row, as `fit` does for datasets."""
    add_weights: Callable[..., object] = tf_dataset_adapter.make_class_weight_map_fn(dict(class_weight))
    return add_weights


def batch_spec(batches: list[Any]) -> tf.TypeSpec:
    """The spec of all batches of a `PyDataset`, inferred from the first ones as `fit` does."""
    return data_adapter_utils.get_tensor_spec(batches)


# Keras: global state of a thread.


def swap_trackers(trackers: tuple[local, local]) -> tuple[local, local]:
    """Makes these the objects in which Keras keeps its global state and settings; returns the former ones."""
    before = (global_state.GLOBAL_STATE_TRACKER, global_state.GLOBAL_SETTINGS_TRACKER)
    global_state.GLOBAL_STATE_TRACKER, global_state.GLOBAL_SETTINGS_TRACKER = trackers
    return before


def settings_that_a_trace_reads() -> dict[str, object]:
    """What Keras keeps in its global state and a step's trace may read.

    Leaves out the counters of names, and the generator of unseeded draws, because its variable belongs to no model.
    """
    found = vars(global_state.GLOBAL_STATE_TRACKER) | vars(global_state.GLOBAL_SETTINGS_TRACKER)
    left_out = (seed_generator.GLOBAL_SEED_GENERATOR, "global_random_seed", _NAMES)
    return {name: value for name, value in found.items() if name not in left_out}


def automatic_names() -> dict[str, int]:
    """How often Keras has given each automatic name."""
    return dict(global_state.get_global_attribute(_NAMES) or {})


def set_automatic_names(names: Mapping[str, int]) -> None:
    """Sets how often Keras has given each automatic name, so that the next one follows."""
    global_state.set_global_attribute(_NAMES, collections.defaultdict(int, names))


def unseeded_generator_state() -> np.ndarray | None:
    """The state of the generator that unseeded `keras.random` draws from; None before its first use."""
    generator = global_state.get_global_attribute(seed_generator.GLOBAL_SEED_GENERATOR)
    return None if generator is None else np.array(keras.ops.convert_to_numpy(generator.state))


def set_unseeded_generator_state(state: np.ndarray) -> None:
    """Sets the state of the generator that unseeded `keras.random` draws from.

    Side effects:
        A generator that is created for this draws its first seed from Python's `random`.
    """
    seed_generator.global_seed_generator().state.assign(state)


# TensorFlow: seeds. It discards all its kernels whenever its seed is set, because a random op that keeps its state in
# its kernel must start again. The next call of each traced function then takes tens of milliseconds, most of a small
# model's first turn. Here kernels are discarded when such an op next asks for its seed: it starts again all the same.
# A model of Keras' own layers has no such op, and keeps its kernels.

_SLOWER = "the first turn of each trial takes longer"
_clear_kernels = missing.part(pywrap_tfe, "tensorflow.python.pywrap_tfe", "TFE_ContextClearCaches", _SLOWER)
_get_seed = missing.part(random_seed, "tensorflow.python.framework.random_seed", "get_seed", _SLOWER)
_is_clearing_due = False


def set_seeds(seed: int) -> None:
    """Seeds Python, NumPy, Keras and TensorFlow as `keras.utils.set_random_seed` does, and keeps kernels if it can."""
    with _kernels_kept() if _clear_kernels and _get_seed else nullcontext():
        keras.utils.set_random_seed(seed)


@contextmanager
def _kernels_kept() -> Iterator[None]:
    """Postpones what TensorFlow would do inside: to discard its kernels."""
    global _is_clearing_due
    _is_clearing_due = True
    random_seed.get_seed = _get_seed_with_fresh_kernels
    pywrap_tfe.TFE_ContextClearCaches = lambda _: None
    try:
        yield
    finally:
        pywrap_tfe.TFE_ContextClearCaches = _clear_kernels


def _get_seed_with_fresh_kernels(op_seed: int | None) -> tuple[int | None, int | None]:
    """Replaces TensorFlow's function, which every op with random state of its own calls for its seed."""
    global _is_clearing_due
    if _is_clearing_due:
        _is_clearing_due = False
        _clear_kernels(context.context()._context_handle)
    seeds: tuple[int | None, int | None] = _get_seed(op_seed)
    return seeds


# TensorFlow: ops.


def is_op_determinism_enabled() -> bool:
    """Whether the ops of this process are deterministic."""
    return bool(config.is_op_determinism_enabled())


def set_op_determinism(wanted: bool) -> None:
    """Makes the ops of this process deterministic, or allows them not to be.

    `tf.config` has only the first half, and ignores it while an experiment's code runs (`limits`).

    Side effects:
        Discards TensorFlow's kernels, because a kernel reads this setting once, when it is created.
    """
    if wanted:
        config.enable_op_determinism()
    else:
        config.disable_op_determinism()
    context.context().clear_kernel_cache()


def global_generator_state() -> bytes | None:
    """The state of the generator that `tf.random.get_global_generator` returns; None before its first use."""
    generator = stateful_random_ops.global_generator
    return None if generator is None else generator.state.numpy().tobytes()


def op_definition(op: str) -> op_def_pb2.OpDef | None:
    """How TensorFlow registers the op of this name; None for an unknown name."""
    return op_def_registry.get(op)


def is_default_strategy(item: object) -> bool:
    """Whether this is TensorFlow's one strategy that distributes nothing."""
    return type(item).__name__ == "_DefaultDistributionStrategy" and item is tf.distribute.get_strategy()


def name_of_variable(variable: tf.Variable) -> str:
    """The name by which Keras' tables know a variable: unique in the process."""
    return str(variable._unique_id)


# TensorFlow: parts of a `tf.data` pipeline.


_ARGUMENTS = {  # that a dataset of this kind keeps
    "_MapAndBatchDataset": ("_num_parallel_calls_t",), "_ParallelInterleaveDataset": ("_num_parallel_calls",),
    **dict.fromkeys(("_ParallelBatchDataset", "_ParallelMapDataset"), ("_num_parallel_calls", "_deterministic")),
    "_RandomDataset": ("_rerandomize",), "_ShuffleDataset": ("_reshuffle_each_iteration",),
}  # fmt: skip


def inputs_of(dataset: tf.data.Dataset) -> list[tf.data.Dataset]:
    """The datasets that this one reads."""
    kind = type(dataset).__name__
    for name in _ARGUMENTS.get(kind, ()):
        missing.part(dataset, f"tensorflow.python.data.{kind}", name, "a pipeline may count as exact that is not")
    return list(dataset._inputs())


def functions_of(dataset: tf.data.Dataset) -> list[tf.types.experimental.ConcreteFunction]:
    """The traced functions that this dataset calls, without those of its inputs."""
    return [function.function for function in dataset._functions()]


def parallel_calls(dataset: tf.data.Dataset) -> int | None:
    """How many elements the dataset makes at a time; None if that is unknown or left to TensorFlow."""
    calls = getattr(dataset, "_num_parallel_calls", getattr(dataset, "_num_parallel_calls_t", None))
    return None if calls is None else int(calls)


def argument_deterministic(dataset: tf.data.Dataset) -> str | None:
    """The argument `deterministic` of a parallel dataset: "true", "false" or "default"; None if it keeps none."""
    return str(dataset._deterministic) if hasattr(dataset, "_deterministic") else None


def is_random_each_pass(dataset: tf.data.Dataset) -> bool:
    """Whether the dataset itself draws other random numbers in each pass."""
    is_reshuffled = getattr(dataset, "_reshuffle_each_iteration", False) is not False
    return is_reshuffled or bool(getattr(dataset, "_rerandomize", False))


def graph_of(pipeline: tf.data.Dataset | tf.Tensor) -> graph_pb2.GraphDef | None:
    """The graph of a pipeline; None if TensorFlow cannot serialize it, for example arrays of gigabytes.

    Args:
        pipeline: a dataset, or the variant tensor that stands for one.
    """
    variant = getattr(pipeline, "_variant_tensor", pipeline)
    ignore = tf.data.experimental.ExternalStatePolicy.IGNORE.value
    try:
        text = gen_dataset_ops.dataset_to_graph_v2(variant, external_state_policy=ignore).numpy()
        return graph_pb2.GraphDef.FromString(text)
    except tf.errors.OpError:
        return None
