"""Describes the data that a trial is trained on, for its record: parts, sizes and digests; no values."""

from __future__ import annotations

from collections.abc import Iterator

import keras
import tensorflow as tf

from runner.records import DataSet, Tensor
from runner.worker.data.feeds import Feed


def data_sets(feed: Feed) -> tuple[DataSet, ...]:
    """Each split of a trial's data."""
    digests = feed.digests()
    return tuple(
        DataSet(split=name, digest=digests[name], rows=rows, tensors=tuple(tensors_of(spec)))
        for name, (spec, rows, _) in feed.shapes().items()
    )


def tensors_of(batch: object) -> Iterator[Tensor]:
    """The parts of a batch whose spec this is; parts that are no tensors are left out."""
    parts = batch if isinstance(batch, tuple) and 1 <= len(batch) <= 3 else (batch,)
    for name, part in zip(("x", "y", "sample_weight"), parts, strict=False):
        for path, spec in keras.tree.flatten_with_path(part):
            if hasattr(spec, "shape") and hasattr(spec, "dtype"):
                inner = "".join(f"[{step!r}]" for step in path)
                yield Tensor(name=name + inner, dtype=spec.dtype.name, shape=_shape(spec.shape))


def _shape(shape: tf.TensorShape) -> tuple[int, ...]:
    return () if shape.rank is None else tuple(-1 if size is None else size for size in shape.as_list())
