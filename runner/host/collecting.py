"""Switches Python's garbage collection off during large imports."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def without_collecting() -> Iterator[None]:
    """Switches garbage collection off in all threads inside of it.

    For large imports: their objects stay, and the collector would scan them again and again as they grow, which is a
    sixth of the import time of TensorFlow and MLflow.
    """
    collects = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collects:
            gc.enable()
