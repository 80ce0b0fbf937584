"""The seeds of a trial, set without making TensorFlow instantiate every traced function anew.

TensorFlow throws all its kernels away whenever its seed is set, because a random op that keeps its state in its kernel
must begin again. The next call of each traced function then takes tens of milliseconds, most of a small model's first
turn. Here they are thrown away when such an op next asks for its seed: it begins again all the same, and where there is
none, as in a model of Keras' own layers, nothing is lost.

Source: tensorflow 2.21, `python/eager/context.py` (`_set_global_seed`), `python/framework/random_seed.py`.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import keras
from tensorflow.python import pywrap_tfe
from tensorflow.python.eager import context
from tensorflow.python.framework import random_seed

_clear_kernels, _get_seed = pywrap_tfe.TFE_ContextClearCaches, random_seed.get_seed
_due = False


def set_seeds(seed: int) -> None:
    """As `keras.utils.set_random_seed`: seeds Python, NumPy, Keras and TensorFlow."""
    with _kernels_kept():
        keras.utils.set_random_seed(seed)


@contextmanager
def _kernels_kept() -> Iterator[None]:
    """Within this, TensorFlow's wish to throw its kernels away is noted, not followed."""
    global _due
    _due = True
    random_seed.get_seed = _get_seed_of_fresh_kernels
    pywrap_tfe.TFE_ContextClearCaches = lambda _: None
    try:
        yield
    finally:
        pywrap_tfe.TFE_ContextClearCaches = _clear_kernels


def _get_seed_of_fresh_kernels(op_seed: int | None) -> Any:
    """In the place of TensorFlow's function, which every op asks that has random state of its own."""
    global _due
    if _due:
        _due = False
        _clear_kernels(context.context()._context_handle)
    return _get_seed(op_seed)
