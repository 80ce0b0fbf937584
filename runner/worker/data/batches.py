"""Batches, and a trial's position in them: rows of arrays by index, or a `tf.data` pipeline."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TypeAlias

import keras
import numpy as np
import tensorflow as tf

from runner.worker.data.pipelines import is_seeded_by_iterators

Batch: TypeAlias = Any
"""What a step gets: `x`, `(x, y)` or `(x, y, sample_weight)`, each a tensor, or tensors in tuples and dicts."""
Index: TypeAlias = int | tf.Tensor


class RowOrder:
    """The order of the rows in each pass: one trial's position in arrays.

    Args:
        rows: number of rows.
        seed: each pass is a permutation from (seed, pass); None keeps the rows in their own order.
    """

    def __init__(self, rows: int, seed: int | None) -> None:
        self._rows, self._seed = rows, seed
        self._cached: tuple[int, tf.Tensor] | None = None

    def resume(self, step: int) -> None:
        """Has nothing to do, because every pass is computed from its number."""

    def of_pass(self, number: int) -> tf.Tensor:
        """Row numbers of pass `number`, in order: `int64 [rows]`."""
        if self._cached is None or self._cached[0] != number:
            self._cached = (number, self._make(number))
        return self._cached[1]

    def _make(self, number: int) -> tf.Tensor:
        if self._seed is None:
            return tf.range(self._rows, dtype=tf.int64)
        return tf.constant(np.random.default_rng([self._seed, number]).permutation(self._rows), tf.int64)


class Rows:
    """Arrays in memory as tensors, in batches.

    Args:
        tensors: `x`, `(x, y)` or `(x, y, sample_weight)`; leaves `[rows, ...]`.
        rows: number of rows in every leaf.
        batch_size: rows a step; the last batch of a pass has the rest.
    """

    def __init__(self, tensors: Batch, rows: int, batch_size: int) -> None:
        self.tensors, self.rows = tensors, rows
        self.batch_size = min(batch_size, rows)
        self.batches = -(-rows // batch_size)
        self.full_batches = rows // batch_size or 1

    def batch(self, index: Index, order: tf.Tensor) -> Batch:
        """Batch `index` of a pass, in a graph or outside of one."""
        begin = index * self.batch_size
        return self._take(order[begin : tf.minimum(begin + self.batch_size, self.rows)])

    def full_batch(self, index: Index, order: tf.Tensor) -> Batch:
        """Batch `index` of a pass, which must be a full one: a trace knows its length, as XLA needs it."""
        return self._take(tf.slice(order, [index * self.batch_size], [self.batch_size]))

    def spec(self, length: int | None) -> tf.TypeSpec:
        """The spec of a batch of this length; None leaves the length open, as in `fit`."""
        return keras.tree.map_structure(lambda leaf: tf.TensorSpec([length, *leaf.shape[1:]], leaf.dtype), self.tensors)

    def _take(self, chosen: tf.Tensor) -> Batch:
        return keras.tree.map_structure(lambda leaf: tf.gather(leaf, chosen, axis=0), self.tensors)


class Stream:
    """A `tf.data` pipeline that starts again when it ends: one trial's position in it.

    A pipeline of known length gets a new iterator for each pass, as in `fit`, so that a pipeline that reshuffles
    has the same order in both. `tf.data` itself repeats one of unknown length.

    Args:
        dataset: yields batches.
        batches: batches of a pass; None if unknown or endless.
        ahead: make batches while the model trains on others.
    """

    def __init__(self, dataset: tf.data.Dataset, batches: int | None, ahead: bool = True) -> None:
        passes = dataset if batches else dataset.repeat()
        self._dataset = passes.prefetch(tf.data.AUTOTUNE) if ahead else passes
        self.batches = batches
        self._seeded_by_iterators = is_seeded_by_iterators(dataset)
        self._iterator: tf.data.Iterator | None = None

    def iterator(self, step: int) -> tf.data.Iterator:
        """The iterator whose next batch is that of step number `step`; steps come in their order."""
        if self._iterator is None or (self.batches and step % self.batches == 0):
            self._iterator = iter(self._dataset)
        return self._iterator

    def resume(self, step: int) -> None:
        """Goes to the position after `step` batches, in a pipeline from which none has been drawn.

        Makes an iterator for each pass, because each advances the seeds of a pipeline that reshuffles.
        """
        passes, skipped = divmod(step, self.batches) if self.batches else (0, step)
        for _ in range(passes):
            self._iterator = iter(self._dataset)
            if not self._seeded_by_iterators:
                _skip(self._iterator, self.batches or 0)
        if skipped:
            self._iterator = iter(self._dataset)
            _skip(self._iterator, skipped)

    def stretch(self, step: int, count: int) -> int:
        """How many of `count` steps from `step` on have the same iterator."""
        return min(count, self.batches - step % self.batches) if self.batches else count

    def batch(self, step: int) -> Batch:
        """The batch of step number `step`.

        Raises:
            ValueError: the pipeline has no batch.
        """
        with empty_is_an_error():
            return next(self.iterator(step))


def _skip(iterator: tf.data.Iterator, count: int) -> None:
    with empty_is_an_error():
        for _ in range(count):
            next(iterator)


@contextmanager
def empty_is_an_error() -> Iterator[None]:
    """Raises ValueError if a pipeline that starts again at its end gives no batch."""
    try:
        yield
    except (StopIteration, tf.errors.OutOfRangeError) as err:
        raise ValueError("train data is empty: the tf.data.Dataset yields no batch") from err
