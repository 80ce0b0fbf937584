"""`Data`: what an experiment's `load_data` may return if two tuples of arrays are not enough."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

_SHOWN = 6  # types that a message names


@dataclass(frozen=True, kw_only=True)
class Data:
    """The splits of a data set, as `load_data` returns them.

    Args:
        train: arrays `(x, y)` or `(x, y, sample_weight)`, every leaf `[rows, ...]` (x and y may be dicts or tuples of
            arrays, y may be None for models that need no target), or a `tf.data.Dataset` or `keras.utils.PyDataset`
            that yields such batches.
        validation: the same kind, evaluated whole at the end of an epoch; None for no validation.
        test: the same kind, evaluated once when the trial has ended; None for no test.
        class_weight: weight of each integer class, for models with a single output. It excludes sample weights, as in
            `keras.Model.fit`.

    Example:
        >>> import numpy as np
        >>> x, y = np.zeros((8, 2)), np.zeros(8)
        >>> data = runner.Data(train=(x[:6], y[:6]), validation=(x[6:], y[6:]), class_weight={0: 1.0, 1: 3.0})
        >>> data.test is None
        True
    """

    train: Any
    validation: Any = None
    test: Any = None
    class_weight: Mapping[int, float] | None = None

    @classmethod
    def of(cls, value: object) -> Data:
        """Accepts what `load_data` returned: a `Data`, or two splits such as `((x, y), (x_val, y_val))`.

        Raises:
            TypeError: it is anything else; the message names the type received.
        """
        if isinstance(value, cls):
            return value
        if isinstance(value, (tuple, list)) and len(value) == 2 and all(_is_split(part) for part in value):
            return cls(train=value[0], validation=value[1])
        raise TypeError(
            f"load_data returned {_describe(value)}; return ((x, y), (x_val, y_val)) or "
            "runner.Data(train=..., validation=...)"
        )


def is_pydataset(split: object) -> bool:
    """Whether a split is a `keras.utils.PyDataset`. Does not import Keras."""
    return any(kind.__name__ == "PyDataset" and kind.__module__.startswith("keras.") for kind in type(split).__mro__)


def _is_split(part: object) -> bool:
    # A generator and PyTorch's DataLoader are meant as splits. A later check refuses them and says what to give.
    meant = hasattr(part, "__next__") or hasattr(part, "batch_sampler")
    return isinstance(part, tuple) or hasattr(part, "element_spec") or is_pydataset(part) or meant


def _describe(value: object) -> str:
    if isinstance(value, (tuple, list)) and 0 < len(value) <= _SHOWN:
        return f"a {type(value).__name__} of {len(value)} ({', '.join(type(part).__name__ for part in value)})"
    return f"a {type(value).__name__}{f' of {len(value)}' if isinstance(value, (tuple, list)) else ''}"
