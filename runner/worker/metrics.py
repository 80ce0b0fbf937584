"""Logs of a step or an evaluation as numbers by name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

_MAX_COMPONENTS = 100  # of a larger metric, such as a large confusion matrix, only the mean is recorded


def as_numbers(logs: Mapping[str, ArrayLike]) -> dict[str, float]:
    """Scalars by name; of a vector, such as F1Score's, the mean by its name and each component by its index.

    Args:
        logs: values by name, such as `{"f1_score": [0.5, 0.7]}`, which gives `f1_score`, `f1_score/0`, `f1_score/1`.
    """
    found: dict[str, float] = {}
    for name, value in logs.items():
        values = np.asarray(value)
        found[name] = float(values.mean(dtype=np.float64)) if values.size > 1 else float(values.reshape(()))
        if 1 < values.size <= _MAX_COMPONENTS:
            for index in np.ndindex(values.shape):
                found["/".join([name, *map(str, index)])] = float(values[index])
    return found


def flat(logs: Mapping[str, Any]) -> dict[str, ArrayLike]:
    """Logs without levels, as `History` has them, and without None."""
    found: dict[str, ArrayLike] = {}
    for name, value in logs.items():
        found |= flat(value) if isinstance(value, Mapping) else {} if value is None else {name: value}
    return found
