"""A `keras.utils.PyDataset` as a pipeline: it gets the calls that `fit` makes in epochs of one pass, in their order.

It runs inside its trial's turns only, never ahead in a thread of its own, because it may draw from the random states of
Python and NumPy, which belong to the trial whose turn it is.

Source: keras 3.15, `keras/src/trainers/data_adapters/py_dataset_adapter.py`.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor

import keras
import numpy as np
import tensorflow as tf

from runner.worker import private
from runner.worker.data.batches import Batch

INEXACT = "a keras.utils.PyDataset is Python code, which may not give the same again"


def as_pipeline(name: str, dataset: keras.utils.PyDataset, seed: int | None) -> tf.data.Dataset:
    """The batches of a PyDataset as a `tf.data.Dataset`, each of whose iterators calls it for one pass.

    An epoch begins and ends with a pass, even if `train.steps_per_epoch` is set; in `fit` it would with `fit`'s epochs.
    `on_epoch_end` is called before the last batch is given, because no other batch is drawn before the next pass.

    Args:
        name: of the split, for messages.
        dataset: batches by number; `num_batches` is None for a dataset without end.
        seed: each pass has an order of the batches from (seed, pass); None keeps their own order.

    Raises:
        ValueError: it is empty, or `fit` does not accept its batches.
    """
    batches = dataset.num_batches
    if batches == 0:
        raise ValueError(f"{name} data is empty: the {type(dataset).__name__} has no batch")
    first = [_batch(name, dataset[index]) for index in range(min(2, batches or 2))]  # as many as `fit` looks at
    pipeline = tf.data.Dataset.from_generator(_Passes(name, dataset, seed), output_signature=private.batch_spec(first))
    cardinality = tf.data.INFINITE_CARDINALITY if batches is None else batches
    options = tf.data.Options()  # TensorFlow may add a prefetch by default
    options.experimental_optimization.inject_prefetch = False
    options.autotune.enabled = False
    return pipeline.apply(tf.data.experimental.assert_cardinality(cardinality)).with_options(options)


class _Passes:
    """Returns the batches of the next pass whenever it is called."""

    def __init__(self, name: str, dataset: keras.utils.PyDataset, seed: int | None) -> None:
        self._name, self._dataset, self._seed = name, dataset, seed
        self._number = 0

    def __call__(self) -> Iterator[Batch]:
        number, self._number = self._number, self._number + 1
        is_training = self._name == "train"
        if number == 0 or not is_training:
            self._dataset.on_epoch_end()  # as `fit` resets its dataset, and `evaluate` each time
        self._dataset.on_epoch_begin()
        last = self._dataset.num_batches
        for place, value in enumerate(_drawn(self._dataset, self._order(number)), start=1):
            batch = _batch(self._name, value)
            if place == last:
                batch = tf.nest.map_structure(_copied, batch)  # `on_epoch_end` may change its memory
                self._dataset.on_epoch_end()
            yield batch

    def _order(self, number: int) -> Iterable[int]:
        batches = self._dataset.num_batches
        if batches is None:
            return itertools.count()
        if self._seed is None:
            return range(batches)
        return [int(index) for index in np.random.default_rng([self._seed, number]).permutation(batches)]


def _drawn(dataset: keras.utils.PyDataset, order: Iterable[int]) -> Iterator[Batch]:
    """The batches in this order; several at a time, in threads, if the dataset asks for workers."""
    if dataset.workers <= 1:
        yield from map(dataset.__getitem__, order)
        return
    indices, together = iter(order), max(dataset.workers, dataset.max_queue_size)
    with ThreadPoolExecutor(dataset.workers) as pool:
        while chosen := list(itertools.islice(indices, together)):
            yield from list(pool.map(dataset.__getitem__, chosen))


def _copied(part: object) -> object:
    return part.copy() if isinstance(part, np.ndarray) else part


def _batch(name: str, value: object) -> Batch:
    """The batch as `fit` accepts it: a dict, or a tuple of up to three parts."""
    if isinstance(value, np.ndarray):
        return (value,)
    if isinstance(value, list):
        value = tuple(value)
    if not isinstance(value, dict) and not (isinstance(value, tuple) and 1 <= len(value) <= 3):
        raise ValueError(
            f"{name} data: the PyDataset's batch is a {type(value).__name__}"
            f"{f' of {len(value)}' if isinstance(value, tuple) else ''}; allowed: (x,), (x, y), (x, y, sample_weight) "
            "or a dict"
        )
    return value
