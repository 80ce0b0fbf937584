"""The few touches of Keras' private parts, in one place, so that a new Keras version breaks here and nowhere else.

Source: keras 3.15, `keras/src/backend/tensorflow/trainer.py` (`fit`), `keras/src/backend/common/global_state.py`.
"""

from __future__ import annotations

import collections
import random
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras.src.backend.common import global_state
from keras.src.initializers import random_initializers
from keras.src.random import seed_generator
from keras.src.trainers.data_adapters import data_adapter_utils, tf_dataset_adapter

from runner.worker.metrics import as_numbers
from runner.worker.oom import is_out_of_memory
from runner.worker.seeds import set_seeds

_NAMES = "object_name_uids"


def symbolic_build(model: Any, batch: Any) -> bool:
    """Tries to create every variable that the first step of `fit` would create, without tracing one.

    Returns:
        False if that failed, which may leave the model half built.

    Raises:
        Exception: no memory was left for the variables.
    """
    try:
        model._symbolic_build(data_batch=batch)
    except Exception as err:  # any layer may fail on symbolic values; only its trace can tell whether it trains
        if is_out_of_memory(err):
            raise
        return False
    return True


def automatic_names() -> dict[str, int]:
    """How often each automatic name has been given, in the active `Globals`."""
    return dict(global_state.get_global_attribute(_NAMES) or {})


def set_automatic_names(names: dict[str, int]) -> None:
    """Lets names be given as when `automatic_names` returned these."""
    global_state.set_global_attribute(_NAMES, collections.defaultdict(int, names))


def epoch_logs(model: Any, logs: Any) -> dict[str, float]:
    """The values that `fit` shows after a step that returned `logs`; a vector's components beside its mean."""
    return as_numbers(_flat(model._get_metrics_result_or_logs(logs)))


def class_weights_as_sample_weights(y: Any, class_weight: Any) -> np.ndarray[Any, Any]:
    """One weight a row, as `fit` makes them: `[rows]`."""
    return np.asarray(data_adapter_utils.class_weight_to_sample_weights(y, dict(class_weight)))


def class_weight_map(class_weight: Any) -> Any:
    """A function for `Dataset.map` that adds a weight a row, as `fit` does for datasets."""
    return tf_dataset_adapter.make_class_weight_map_fn(dict(class_weight))


def batch_spec(batches: list[Any]) -> Any:
    """What all batches of a `PyDataset` look like, told from the first ones as `fit` does."""
    return data_adapter_utils.get_tensor_spec(batches)


def tensor_name(tensor: Any) -> str | None:
    """An input's name as a loaded model has it, its layer's; any other symbolic tensor's own."""
    layer = getattr(getattr(tensor, "_keras_history", None), "operation", None)
    return layer.name if isinstance(layer, keras.layers.InputLayer) else getattr(tensor, "name", None)


def is_plain_trainer(model: Any) -> bool:
    """True where the model trains by its `train_step`, as `fit` does."""
    return all(getattr(type(model), name) is getattr(keras.Model, name) for name in ("fit", "make_train_function"))


def is_built(model: Any) -> bool:
    """True where every variable of the model, its optimizer and its metrics exists, so that a trace makes none."""
    parts = (model, model.optimizer, model._compile_loss, model._compile_metrics)
    return all(part is None or part.built for part in parts)


def is_default_strategy(item: Any) -> bool:
    """True for TensorFlow's one strategy that distributes nothing."""
    return type(item).__name__ == "_DefaultDistributionStrategy" and item is tf.distribute.get_strategy()


def attributes_of_a_step(instance: Any, attributes: Mapping[str, Any]) -> dict[str, Any]:
    """Those of an object's attributes that a training step can read.

    TensorFlow's notes for checkpoints are not among them, which list every attribute once more; nor is a seed that an
    initializer has drawn for itself, which is spent when the model is built and not part of its config.
    """
    found = {name: value for name, value in attributes.items() if not name.startswith("_self_")}
    if isinstance(instance, random_initializers.RandomInitializer) and found.get("_init_seed") is None:
        found.pop("seed", None)
    return found


def settings_of_the_trial() -> dict[str, Any]:
    """What Keras keeps for a thread and a step's trace may read, in the active `Globals`.

    Without counters of names and without the generator of unseeded draws: its variable is no model's.
    """
    found = vars(global_state.GLOBAL_STATE_TRACKER) | vars(global_state.GLOBAL_SETTINGS_TRACKER)
    left_out = (seed_generator.GLOBAL_SEED_GENERATOR, "global_random_seed", "object_name_uids")
    return {name: value for name, value in found.items() if name not in left_out}


@dataclass(frozen=True, slots=True)
class Settings:
    """Global settings of Keras, and one of TensorFlow, that an experiment's file may change when it is imported."""

    floatx: str
    image_data_format: str
    epsilon: float
    dtype_policy: Any
    tensor_float_32: bool

    @classmethod
    def current(cls) -> Settings:
        """As they are now."""
        config, short = keras.config, tf.config.experimental.tensor_float_32_execution_enabled()
        return cls(config.floatx(), config.image_data_format(), config.epsilon(), config.dtype_policy(), short)

    def apply(self) -> None:
        """Makes them the current ones."""
        keras.config.set_floatx(self.floatx)
        keras.config.set_image_data_format(self.image_data_format)
        keras.config.set_epsilon(self.epsilon)
        keras.config.set_dtype_policy(self.dtype_policy)
        tf.config.experimental.enable_tensor_float_32_execution(self.tensor_float_32)


class Globals:
    """Keras' and Python's global state as one trial sees it.

    Seed generators, automatic names, policies and random states belong to the trial: neither a sibling in the same
    process nor the order of turns can change them.

    Args:
        seed: set, for Python, NumPy, Keras and TensorFlow, when first entered.
        settings: the settings to begin with.
    """

    def __init__(self, seed: int, settings: Settings) -> None:
        self._seed: int | None = seed
        self.settings = settings
        self._trackers = (threading.local(), threading.local())
        self._random_states: tuple[Any, Any] | None = None

    @contextmanager
    def active(self) -> Iterator[None]:
        """Puts the trial's state in place, and afterwards the surrounding state back."""
        outside_settings, outside_random = Settings.current(), _random_states()
        outside = _swap_trackers(self._trackers)
        self.settings.apply()
        if self._random_states is not None:
            _set_random_states(self._random_states)
        if self._seed is not None:
            set_seeds(self._seed)
            self._seed = None
        try:
            yield
        finally:
            self.settings, self._random_states = Settings.current(), _random_states()
            self._trackers = _swap_trackers(outside)
            outside_settings.apply()
            _set_random_states(outside_random)


@dataclass(frozen=True, slots=True)
class RandomState:
    """The random states of a trial's own global state.

    Args:
        python: as `random.getstate`.
        numpy: as `numpy.random.get_state`.
        keras: of the generator that unseeded `keras.random` draws from; None before it has been used.
    """

    python: Any
    numpy: Any
    keras: np.ndarray[Any, Any] | None

    @classmethod
    def current(cls) -> RandomState:
        """As they are now, in the active `Globals`."""
        generator = global_state.get_global_attribute(seed_generator.GLOBAL_SEED_GENERATOR)
        seeds = None if generator is None else np.array(keras.ops.convert_to_numpy(generator.state))
        return cls(*_random_states(), seeds)

    def apply(self) -> None:
        """Makes them the current ones, in the active `Globals`."""
        if self.keras is not None:
            seed_generator.global_seed_generator().state.assign(self.keras)  # one that is made now draws from Python's
        _set_random_states((self.python, self.numpy))


def _swap_trackers(trackers: tuple[Any, Any]) -> tuple[Any, Any]:
    before = (global_state.GLOBAL_STATE_TRACKER, global_state.GLOBAL_SETTINGS_TRACKER)
    global_state.GLOBAL_STATE_TRACKER, global_state.GLOBAL_SETTINGS_TRACKER = trackers
    return before


def _random_states() -> tuple[Any, Any]:
    return random.getstate(), np.random.get_state()


def _set_random_states(states: tuple[Any, Any]) -> None:
    random.setstate(states[0])
    np.random.set_state(states[1])


def _flat(logs: Mapping[str, Any]) -> dict[str, Any]:
    """Without levels, as `History` has them, and without what is None there."""
    flat: dict[str, Any] = {}
    for name, value in logs.items():
        flat |= _flat(value) if isinstance(value, Mapping) else {} if value is None else {name: value}
    return flat
