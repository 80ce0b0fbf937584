"""Arrays become tensors over the same memory where that is possible, and equal ones where it is not."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

pytestmark = pytest.mark.usefixtures("tensorflow")


def aligned(rows: int, dtype: Any, offset: int = 0) -> Any:
    """An array whose memory starts at a multiple of 64 bytes, plus an offset."""
    size = rows * np.dtype(dtype).itemsize
    raw = np.zeros(size + 128, np.uint8)
    begin = -raw.ctypes.data % 64 + offset
    return raw[begin : begin + size].view(dtype)


@pytest.mark.parametrize("dtype", ["float32", "float16", "int64", "int32", "uint8"])
def test_aligned_read_only_arrays_are_shared(dtype: str) -> None:
    from runner.worker.data.arrays import as_tensor

    array = aligned(1000, dtype)
    array[:] = np.arange(1000) % 100
    readable = array.view()
    readable.flags.writeable = False
    tensor = as_tensor(readable)
    np.testing.assert_array_equal(tensor.numpy(), array)
    assert tensor.dtype == dtype
    array[7] = 42  # only memory that is the same shows this
    assert tensor.numpy()[7] == 42


@pytest.mark.parametrize(
    "array",
    [aligned(1000, "float32", offset=4), aligned(1000, "float32")[::2], np.array(["a", "b"], object), np.array([True])],
    ids=["unaligned", "strided", "strings", "booleans"],
)
def test_other_arrays_are_copied(array: Any) -> None:
    from runner.worker.data.arrays import as_tensor

    tensor = as_tensor(array)
    assert [v.decode() if isinstance(v, bytes) else v for v in tensor.numpy().tolist()] == array.tolist()
