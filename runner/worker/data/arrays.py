"""Data sets of arrays: converted, weighted and checked as in `fit`, and as tensors over the same memory."""

from __future__ import annotations

import ctypes
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

import keras
import numpy as np
import tensorflow as tf

from runner.data import Data, is_pydataset
from runner.worker import private
from runner.worker.data.conversion import as_array, is_list_of_values, refuse_no_array, rows_given_as_inputs

_SHOWN = 6  # lengths that a message names
_ALIGNMENT = 64  # bytes; TensorFlow's kernels rely on it, and Ray's object store has it

Arrays: TypeAlias = np.ndarray | tuple["Arrays", ...] | dict[str, "Arrays"] | None
"""A part of a split, or all of it: arrays `[rows, ...]`, in tuples and dicts."""


@dataclass(frozen=True, kw_only=True)
class ArraySplit:
    """One split in memory.

    Args:
        tensors: what a step gets, as `fit` packs it: `x`, `(x, y)` or `(x, y, sample_weight)`; leaves are arrays
            `[rows, ...]`.
        rows: number of rows, the same in every leaf.
    """

    tensors: Arrays
    rows: int


@dataclass(frozen=True, kw_only=True)
class ArrayData:
    """A data set of arrays, which processes share by value."""

    train: ArraySplit
    validation: ArraySplit | None
    test: ArraySplit | None


def is_stream(split: object) -> bool:
    """Whether a split is a `tf.data.Dataset` or a `PyDataset`, of which each trial makes its own."""
    return hasattr(split, "element_spec") or is_pydataset(split)


def are_all_streams(data: Data) -> bool:
    """Whether the splits are pipelines.

    Raises:
        TypeError: some are, and others are arrays.
    """
    splits = {
        name: is_stream(split)
        for name, split in (("train", data.train), ("validation", data.validation), ("test", data.test))
        if split is not None
    }
    if len(set(splits.values())) > 1:
        kinds = ", ".join(f"{name} is {'a pipeline' if stream else 'arrays'}" for name, stream in splits.items())
        raise TypeError(
            f"{kinds}; give all splits of one kind: tf.data.Dataset.from_tensor_slices((x, y)).batch(32) makes a "
            "pipeline of arrays"
        )
    return splits["train"]


def array_data(data: Data) -> ArrayData:
    """Converts what `load_data` returned.

    Raises:
        ValueError: empty, NaN, ragged or mismatching data; the message names the split and the part.
    """
    return ArrayData(
        train=array_split("train", data.train, data.class_weight),
        validation=None if data.validation is None else array_split("validation", data.validation),
        test=None if data.test is None else array_split("test", data.test),
    )


def array_split(name: str, value: object, class_weight: Mapping[int, float] | None = None) -> ArraySplit:
    """Converts one split of arrays; floats become Keras' float type, as in `fit`.

    Raises:
        ValueError: empty, NaN, ragged or mismatching data; the message names the split and the part.
    """
    parts = value if isinstance(value, tuple) else (value,)
    if not isinstance(value, (tuple, list, dict)):
        refuse_no_array(f"{name} data", value)
    if not 1 <= len(parts) <= 3:
        raise ValueError(f"{name} data has {len(parts)} parts; allowed: (x,), (x, y) or (x, y, sample_weight)")
    x, y, weight = (*parts, None, None)[:3]
    given = {"x": x, "y": y, "sample_weight": weight}
    x, y, weight = (_convert(f"{name} {part}", leaf) for part, leaf in given.items())
    if class_weight is not None:
        weight = _class_weights(name, y, weight, class_weight)
    if weight is not None and keras.tree.is_nested(y) and not keras.tree.is_nested(weight):
        weight = keras.tree.map_structure(lambda _: weight, y)  # as in `fit`: the same weights for every output
    tensors = keras.utils.pack_x_y_sample_weight(x, y, weight)  # a step gets x itself if there is no y, as in `fit`
    return ArraySplit(tensors=tensors, rows=_count_rows(name, tensors, given))


def _convert(name: str, value: object) -> Arrays:
    if value is None:
        return None
    if isinstance(value, dict):
        return {key: _convert_part(f"{name}[{key!r}]", leaf) for key, leaf in value.items()}
    if isinstance(value, (tuple, list)) and not is_list_of_values(value):
        return tuple(_convert_part(f"{name}[{index}]", leaf) for index, leaf in enumerate(value))
    return as_array(name, value, keras.config.floatx())


def _convert_part(name: str, value: object) -> Arrays:
    if value is None:
        raise ValueError(f"{name} is None; leave it out, or give an array")
    return _convert(name, value)


def _class_weights(name: str, y: Arrays, weight: Arrays, class_weight: Mapping[int, float]) -> np.ndarray:
    if weight is not None:
        raise ValueError(f"{name} data has sample weights and class_weight; give one of them")
    if not isinstance(y, np.ndarray):
        raise ValueError("class_weight needs a model with a single output and its integer or one-hot targets")
    weights = private.class_weights_as_sample_weights(y, class_weight)
    return as_array(f"{name} class_weight", weights, keras.config.floatx())


def _count_rows(name: str, tensors: Arrays, given: Mapping[str, object]) -> int:
    lengths = [len(leaf) for leaf in keras.tree.flatten(tensors) if leaf is not None]
    if not lengths or lengths[0] == 0:
        raise ValueError(f"{name} data is empty")
    if len(set(lengths)) > 1:
        advice = "".join(rows_given_as_inputs(f"{name} {part}", leaf, lengths) for part, leaf in given.items())
        shown = ", ".join(map(str, lengths[:_SHOWN])) + (", …" if len(lengths) > _SHOWN else "")
        raise ValueError(f"{name} data has parts of different length: {shown} rows{advice}")
    return lengths[0]


def as_tensor(array: np.ndarray) -> tf.Tensor:
    """The array as a tensor: over the same memory on a CPU if that is possible, copied to a GPU.

    The caller keeps the array as long as the tensor lives. Workers may share read-only memory, because TensorFlow
    does not write to a tensor.
    """
    if array.dtype.kind not in "fiu" or not _can_share(array):
        return tf.convert_to_tensor(array)
    # NumPy does not export read-only memory by DLPack. This is the same memory without that flag.
    address = (ctypes.c_char * array.nbytes).from_address(array.ctypes.data)
    alias = np.frombuffer(memoryview(address), dtype=array.dtype).reshape(array.shape)
    return tf.experimental.dlpack.from_dlpack(alias.__dlpack__())


def _can_share(array: np.ndarray) -> bool:
    aligned = array.ctypes.data % _ALIGNMENT == 0 and array.flags.c_contiguous and array.nbytes > 0
    return aligned and not tf.config.list_logical_devices("GPU")
