"""Digests of data: equal for equal data, and cheap beside training on it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

import keras
import numpy as np

from runner.worker.data.arrays import ArraySplit

_WHOLE_BYTES = 64 * 2**20  # an array up to this size is hashed whole, a larger one in as many parts of a MiB
_PART_BYTES = 2**20
_TEXTS = 10_000
_DIGITS = 12


def digest_of_arrays(split: ArraySplit) -> str:
    """A hash of a split's arrays: their names, types, shapes and values.

    Of an array beyond 64 MiB, 64 evenly spaced parts of a MiB stand for its values.
    """
    found = hashlib.sha256()
    for path, array in keras.tree.flatten_with_path(split.tensors):
        found.update(f"{path} {array.dtype} {array.shape}".encode())
        for part in _parts(array):
            found.update(part)
    return found.hexdigest()[:_DIGITS]


def digest_of_pipeline(spec: object, batches: int) -> str:
    """A hash of what a pipeline says of itself, because reading its values could take as long as training.

    Args:
        spec: of a batch.
        batches: its cardinality.
    """
    return hashlib.sha256(f"{spec} {batches}".encode()).hexdigest()[:_DIGITS]


def _parts(array: np.ndarray) -> Iterator[bytes | memoryview]:
    if array.dtype.kind in "OSU":
        yield repr(array.ravel()[:_TEXTS].tolist()).encode("utf-8", "surrogatepass")
        return
    values = np.ascontiguousarray(array).reshape(-1).view(np.uint8).data if array.size else memoryview(b"")
    if len(values) <= _WHOLE_BYTES:
        yield values
        return
    count = _WHOLE_BYTES // _PART_BYTES
    for number in range(count):
        start = (len(values) - _PART_BYTES) * number // (count - 1)
        yield values[start : start + _PART_BYTES]
