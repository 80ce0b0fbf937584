"""A trial's seeds act as `keras.utils.set_random_seed`, and leave traced functions as they are."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

pytestmark = pytest.mark.usefixtures("tensorflow")


def _draws() -> list[Any]:
    """One number of each source of chance there is, those with state in TensorFlow's kernels twice."""
    import random

    import keras
    import tensorflow as tf

    shuffled = tf.data.Dataset.range(100).shuffle(100)
    return [
        random.random(),
        np.random.random(),
        float(keras.random.uniform(())),
        *(float(tf.random.uniform(())) for _ in range(2)),
        *(float(tf.random.uniform((), seed=5)) for _ in range(2)),
        *(float(tf.random.normal((), seed=5)) for _ in range(2)),
        [int(number) for number in shuffled],
    ]


def _drawn_after(seeded: Callable[[int], None], seed: int) -> list[Any]:
    seeded(seed)
    return _draws()


def test_every_source_of_chance_begins_again_as_after_set_random_seed() -> None:
    import keras

    from runner.worker.private import set_seeds

    expected = _drawn_after(keras.utils.set_random_seed, 3)
    assert _drawn_after(set_seeds, 3) == expected
    assert _drawn_after(set_seeds, 3) == expected  # the kernels of the first time have advanced, and are gone
    assert _drawn_after(keras.utils.set_random_seed, 3) == expected


def test_kernels_stay_until_an_op_with_random_state_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    import keras
    import tensorflow as tf

    from runner.worker import private

    cleared = []
    monkeypatch.setattr(private, "_clear_kernels", cleared.append)
    private.set_seeds(0)
    keras.random.uniform(())
    keras.layers.Dense(2).build((None, 3))
    assert not cleared
    tf.random.uniform(())
    tf.random.uniform(())
    assert len(cleared) == 1
