"""Arrays as tensors without a copy, where memory and device allow it."""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np
import tensorflow as tf

_ALIGNMENT = 64  # bytes; TensorFlow's kernels rely on it, and Ray's object store gives it


def as_tensor(array: np.ndarray[Any, Any]) -> Any:
    """The array as a tensor: over the same memory on a CPU, copied to a GPU.

    The caller keeps the array for as long as the tensor lives. TensorFlow does not write to a tensor, so memory that
    workers share, and that they may only read, is safe.
    """
    if array.dtype.kind not in "fiu" or not _can_share(array):
        return tf.convert_to_tensor(array)
    # numpy exports no read-only memory by DLPack: this is the same memory without that mark.
    address = (ctypes.c_char * array.nbytes).from_address(array.ctypes.data)
    alias = np.frombuffer(memoryview(address), dtype=array.dtype).reshape(array.shape)
    return tf.experimental.dlpack.from_dlpack(alias.__dlpack__())


def _can_share(array: np.ndarray[Any, Any]) -> bool:
    aligned = array.ctypes.data % _ALIGNMENT == 0 and array.flags.c_contiguous and array.nbytes > 0
    return aligned and not tf.config.list_logical_devices("GPU")
