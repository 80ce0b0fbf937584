"""Python's search for garbage, left out where what is made is to stay."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def without_collecting() -> Iterator[None]:
    """No thread of the process searches for garbage meanwhile.

    For large imports: their modules stay, and Python searches all of them time and again as they become more. That is a
    sixth of the time that TensorFlow and MLflow take.
    """
    collects = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collects:
            gc.enable()
