"""The global state of Keras, Python and NumPy: settings, random states, and a trial's own copy of both."""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeAlias, cast

import keras
import numpy as np
import tensorflow as tf

from runner.worker import private

PythonState: TypeAlias = tuple[int, tuple[int, ...], float | None]
"""As `random.getstate` returns it."""
NumpyState: TypeAlias = tuple[str, np.ndarray, int, int, float]
"""As `numpy.random.get_state` returns it."""


@dataclass(frozen=True, slots=True)
class Settings:
    """Global settings of Keras, and one of TensorFlow, that an experiment's file may change when it is imported."""

    floatx: str
    image_data_format: str
    epsilon: float
    dtype_policy: keras.DTypePolicy
    tensor_float_32: bool

    @classmethod
    def current(cls) -> Settings:
        """The settings in force."""
        config, short = keras.config, tf.config.experimental.tensor_float_32_execution_enabled()
        return cls(config.floatx(), config.image_data_format(), config.epsilon(), config.dtype_policy(), short)

    def apply(self) -> None:
        """Puts these settings in force."""
        keras.config.set_floatx(self.floatx)
        keras.config.set_image_data_format(self.image_data_format)
        keras.config.set_epsilon(self.epsilon)
        keras.config.set_dtype_policy(self.dtype_policy)
        tf.config.experimental.enable_tensor_float_32_execution(self.tensor_float_32)


class Globals:
    """The global state of Keras and Python as one trial sees it.

    Seed generators, automatic names, policies and random states belong to the trial. Neither another trial in the same
    process nor the order of turns can change them.

    Args:
        seed: seeds Python, NumPy, Keras and TensorFlow when the state is first active.
        settings: the settings at the start.
    """

    def __init__(self, seed: int, settings: Settings) -> None:
        self._seed: int | None = seed
        self.settings = settings
        self._trackers = (threading.local(), threading.local())
        self._random_states: tuple[PythonState, NumpyState] | None = None

    @contextmanager
    def active(self) -> Iterator[None]:
        """Puts the trial's state in place, and restores the surrounding state at the end."""
        outside_settings, outside_random = Settings.current(), _random_states()
        outside = private.swap_trackers(self._trackers)
        self.settings.apply()
        if self._random_states is not None:
            _set_random_states(self._random_states)
        if self._seed is not None:
            private.set_seeds(self._seed)
            self._seed = None
        try:
            yield
        finally:
            self.settings, self._random_states = Settings.current(), _random_states()
            self._trackers = private.swap_trackers(outside)
            outside_settings.apply()
            _set_random_states(outside_random)


@dataclass(frozen=True, slots=True)
class RandomState:
    """The random states of a trial's own global state.

    Args:
        python: as `random.getstate` returns it.
        numpy: as `numpy.random.get_state` returns it.
        keras: of the generator that unseeded `keras.random` draws from; None before its first use.
    """

    python: PythonState
    numpy: NumpyState
    keras: np.ndarray | None

    @classmethod
    def current(cls) -> RandomState:
        """The states of the active `Globals`."""
        return cls(*_random_states(), private.unseeded_generator_state())

    def apply(self) -> None:
        """Makes these the states of the active `Globals`."""
        if self.keras is not None:
            private.set_unseeded_generator_state(self.keras)  # first, because it may draw from Python's
        _set_random_states((self.python, self.numpy))


def _random_states() -> tuple[PythonState, NumpyState]:
    return cast(PythonState, random.getstate()), cast(NumpyState, np.random.get_state())


def _set_random_states(states: tuple[PythonState, NumpyState]) -> None:
    random.setstate(states[0])
    np.random.set_state(states[1])
