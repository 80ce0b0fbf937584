"""Batches and a trial's place among them: rows of arrays by index, or a `tf.data` pipeline."""

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


class RowOrder:
    """The order in which each pass takes the rows: one trial's place in arrays.

    Args:
        rows: how many there are.
        seed: each pass is a permutation from (seed, pass); None takes the rows as they lie.
    """

    def __init__(self, rows: int, seed: int | None) -> None:
        self._rows, self._seed = rows, seed
        self._cached: tuple[int, Any] | None = None

    def resume(self, step: int) -> None:
        """Goes to where `step` batches have been drawn: nowhere, since every pass is computed from its number."""

    def of_pass(self, number: int) -> Any:
        """Row numbers of pass `number` in the order they are taken: `int64 [rows]`."""
        if self._cached is None or self._cached[0] != number:
            self._cached = (number, self._make(number))
        return self._cached[1]

    def _make(self, number: int) -> Any:
        if self._seed is None:
            return tf.range(self._rows, dtype=tf.int64)
        return tf.constant(np.random.default_rng([self._seed, number]).permutation(self._rows), tf.int64)


class Rows:
    """Arrays in memory as tensors, in batches.

    Args:
        tensors: `x`, `(x, y)` or `(x, y, sample_weight)`; leaves `[rows, ...]`.
        rows: rows in every leaf.
        batch_size: rows a step; the last batch of a pass has what is left.
    """

    def __init__(self, tensors: Any, rows: int, batch_size: int) -> None:
        self.tensors, self.rows = tensors, rows
        self.batch_size = min(batch_size, rows)
        self.batches = -(-rows // batch_size)
        self.full_batches = rows // batch_size or 1

    def batch(self, index: Any, order: Any) -> Any:
        """Batch `index` of a pass; usable inside and outside of a graph."""
        begin = index * self.batch_size
        return self._take(order[begin : tf.minimum(begin + self.batch_size, self.rows)])

    def full_batch(self, index: Any, order: Any) -> Any:
        """Batch `index` of a pass, which must be a full one: its length is known to a trace, as XLA needs it."""
        return self._take(tf.slice(order, [index * self.batch_size], [self.batch_size]))

    def spec(self, length: int | None) -> Any:
        """What a batch of this length looks like to a trace; None leaves it open, as in `fit`."""
        return keras.tree.map_structure(lambda leaf: tf.TensorSpec([length, *leaf.shape[1:]], leaf.dtype), self.tensors)

    def _take(self, chosen: Any) -> Any:
        return keras.tree.map_structure(lambda leaf: tf.gather(leaf, chosen, axis=0), self.tensors)


class Stream:
    """A `tf.data` pipeline that starts again when it runs out.

    A pipeline of known length gets a new iterator for each pass, as in `fit`, so that reshuffling pipelines give the
    same order here and there. One of unknown length is repeated by `tf.data` itself.

    Args:
        dataset: yields batches.
        batches: batches of a pass; None where unknown or endless.
        ahead: batches are made while others are trained on.
    """

    def __init__(self, dataset: Any, batches: int | None, ahead: bool = True) -> None:
        passes = dataset if batches else dataset.repeat()
        self._dataset = passes.prefetch(tf.data.AUTOTUNE) if ahead else passes
        self.batches = batches
        self._seeded_by_iterators = is_seeded_by_iterators(dataset)
        self._iterator: Any = None

    def iterator(self, step: int) -> Any:
        """The iterator that gives the batch of step number `step`, which comes after all before it."""
        if self._iterator is None or (self.batches and step % self.batches == 0):
            self._iterator = iter(self._dataset)
        return self._iterator

    def resume(self, step: int) -> None:
        """Goes to where `step` batches have been drawn, in a pipeline that has not been drawn from yet.

        As many iterators are made as there were passes, since each advances the seeds of a pipeline that reshuffles.
        """
        passes, skipped = divmod(step, self.batches) if self.batches else (0, step)
        for _ in range(passes):
            self._iterator = iter(self._dataset)
            if not self._seeded_by_iterators:
                self._skip(self.batches or 0)
        if skipped:
            self._iterator = iter(self._dataset)
            self._skip(skipped)

    def _skip(self, count: int) -> None:
        with empty_is_an_error():
            for _ in range(count):
                next(self._iterator)

    def stretch(self, step: int, count: int) -> int:
        """How many of `count` steps from `step` the same iterator gives."""
        return min(count, self.batches - step % self.batches) if self.batches else count

    def batch(self, step: int) -> Any:
        """The batch of step number `step`.

        Raises:
            ValueError: there is none at all.
        """
        with empty_is_an_error():
            return next(self.iterator(step))


@contextmanager
def empty_is_an_error() -> Iterator[None]:
    """A pipeline that starts again at its end and yet has no batch has none at all."""
    try:
        yield
    except (StopIteration, tf.errors.OutOfRangeError) as err:
        raise ValueError("train data is empty: the tf.data.Dataset yields no batch") from err
