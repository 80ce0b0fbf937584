"""Converts one part of a split to an array of rows as `fit` does, or says why not and what to do instead.

Foreign classes are recognised by their names, so that a check imports nothing.

Source: keras 3.15, `keras/src/trainers/data_adapters/array_slicing.py`.
"""

from __future__ import annotations

import numbers
import re
from collections import Counter
from collections.abc import Collection, Iterable
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import pandas as pd

_SHOWN = 3  # values or columns that a message names
# Classes that are no arrays, and their subclasses: (package, class, what to write instead).
_NO_ARRAYS = (
    ("scipy.sparse", "", "a sparse matrix; give {name}.toarray(), or a tf.data.Dataset that makes each batch dense"),
    ("tensorflow.", "SparseTensor", "a tf.SparseTensor; give tf.sparse.to_dense({name})"),
    (
        "tensorflow.",
        "RaggedTensor",
        "a tf.RaggedTensor; give {name}.to_tensor(), or a tf.data.Dataset of ragged batches",
    ),
    ("tensorflow.", "DatasetV2", "a tf.data.Dataset; it is a split by itself: tf.data.Dataset.zip((x, y)).batch(32)"),
    ("keras.", "PyDataset", "a keras.utils.PyDataset; it is a split by itself, whose batches are (x, y)"),
    ("torch.", "DataLoader", "a PyTorch DataLoader; give NumPy arrays, or a keras.utils.PyDataset around its dataset"),
    ("torch.", "Dataset", "a PyTorch Dataset; give NumPy arrays, or a keras.utils.PyDataset around it"),
)


def as_array(name: str, value: Any, floatx: str) -> np.ndarray:
    """An array `[rows, ...]`: floats of Keras' float type, text as Python objects, a pandas Series as `[rows, 1]`.

    Args:
        name: the split and the part, for messages: `train x['age']`.
        value: an array, a tensor, a list of numbers or texts, or a pandas Series or DataFrame.
        floatx: Keras' float type.

    Raises:
        ValueError: it is no array, or has values that cannot be trained on; the message says what to do.
    """
    refuse_no_array(name, value)
    if _is_a(value, "pandas.", "DataFrame"):
        array = _of_frame(name, value, floatx)
    elif _is_a(value, "pandas.", "Series"):
        array = _of_column(name, value)[:, None]
    elif _is_a(value, "torch.", "Tensor"):
        array = value.detach().cpu().numpy()
    else:
        array = _of_others(name, value)
    if array.ndim == 0:
        raise ValueError(
            f"{name} is a {type(value).__name__}, not an array of rows; allowed: arrays, tensors, pandas frames and "
            "lists of numbers, or a tf.data.Dataset or keras.utils.PyDataset as a whole split"
        )
    return _checked(name, array, floatx)


def is_list_of_values(value: list[object] | tuple[object, ...]) -> bool:
    """Whether a list is one array of rows, and not an array for each input or output."""
    if not value:
        return False
    if isinstance(value, tuple):
        return all(isinstance(item, (numbers.Number, str, bytes)) for item in value)
    first = value[0]
    return bool(getattr(first, "shape", ()) == ())


def rows_given_as_inputs(name: str, value: object, lengths: Collection[int]) -> str:
    """What to do with a list that has an array for each row; empty for anything else.

    Args:
        name: the split and the part.
        value: the part.
        lengths: lengths of all parts; a list of arrays has rows if one of them is its own length.
    """
    if not isinstance(value, list) or len(value) not in lengths:
        return ""
    shapes = {np.shape(item) for item in value}
    advice = f"np.stack({_expression(name)}) makes one array of rows" if len(shapes) == 1 else "pad and np.stack them"
    return f"; {name} is a list of {len(value)} arrays, which Keras takes for {len(value)} inputs: {advice}"


def refuse_no_array(name: str, value: object) -> None:
    """Refuses a value whose type shows that it is no array of rows.

    Raises:
        ValueError: it says what to give instead.
    """
    part = _expression(name)
    for package, ancestor, advice in _NO_ARRAYS:
        if _is_a(value, package, ancestor):
            raise ValueError(f"{name} is {advice.format(name=part)}")
    if isinstance(value, (str, bytes)):
        raise ValueError(f"{name} is the text {value!r:.60}, not an array of rows; read the file in load_data")
    if isinstance(value, (set, frozenset)):
        raise ValueError(f"{name} is a set, whose order is by chance; give np.array(sorted({part}))")
    if hasattr(value, "__next__"):
        raise ValueError(
            f"{name} is a Python {type(value).__name__}, which gives its values once and to one trial; give arrays, a "
            "keras.utils.PyDataset, or a tf.data.Dataset.from_generator(function, output_signature=...).batch(n)"
        )


def _expression(name: str) -> str:
    """The Python expression for what a message names: `x['age']` for `train x: column 'age'`."""
    part = name.split(" ", 1)[-1]
    return re.sub(r": column (.*)$", r"[\1]", part)


def _is_a(value: object, package: str, name: str) -> bool:
    """Whether the value's class or an ancestor has this name in this package; an empty name is any class of it."""
    return any(
        f"{kind.__module__}.".startswith(package) and name in ("", kind.__name__) for kind in type(value).__mro__
    )


def _of_others(name: str, value: Any) -> np.ndarray:
    try:
        return np.asarray(value)
    except ValueError as err:
        if "inhomogeneous" not in str(err):
            raise
        raise ValueError(_unequal(name, value)) from err


def _unequal(name: str, rows: Iterable[Any]) -> str:
    shapes = Counter(
        np.shape(row) if hasattr(row, "shape") else (len(row),) if hasattr(row, "__len__") else () for row in rows
    )
    shown = ", ".join(map(str, list(shapes)[:_SHOWN]))
    return (
        f"{name} has rows of unequal shape ({shown}{', …' if len(shapes) > _SHOWN else ''}); pad them "
        "(keras.utils.pad_sequences), or give a tf.data.Dataset with padded_batch"
    )


def _of_frame(name: str, frame: pd.DataFrame, floatx: str) -> np.ndarray:
    """All columns in one array, of Keras' float type if one of them has floats, as `fit` does."""
    columns = [(column, frame.iloc[:, index]) for index, column in enumerate(frame.columns)]
    texts = [column for column, series in columns if _is_text(series)]
    if texts and len(texts) == len(columns) and len(frame):
        return np.asarray(frame.to_numpy(dtype=object))
    if texts and len(frame):
        part = _expression(name)
        raise ValueError(
            f"{name}: column {texts[0]!r} holds text ({frame[texts[0]].iloc[0]!r}) beside columns of numbers; encode "
            f"it (pd.get_dummies), or give the columns to an input each: {{name: {part}[name] for name in {part}}}"
        )
    arrays = [_of_column(f"{name}: column {column!r}", series) for column, series in columns]
    if not arrays:
        raise ValueError(f"{name} is a DataFrame without columns")
    common = floatx if any(array.dtype.kind == "f" for array in arrays) else np.result_type(*arrays)
    return np.stack([array.astype(common) for array in arrays], axis=1)


def _of_column(where: str, column: pd.Series) -> np.ndarray:
    """A Series as `[rows]`.

    Raises:
        ValueError: it has missing values or a type that only pandas has; the message names the column.
    """
    if str(column.dtype) == "category":
        raise ValueError(
            f"{where} is a category; give its numbers (.cat.codes) or a column for each of its values (pd.get_dummies)"
        )
    missing = np.flatnonzero(column.isna().to_numpy())
    if len(missing):
        raise ValueError(
            f"{where} has missing values (NaN) in {len(missing)} of {len(column)} rows, first in row {missing[0]}; "
            "fill or drop them (fillna, dropna)"
        )
    if str(column.dtype).startswith(("datetime", "period", "timedelta")):
        raise ValueError(_dates(where, column.dtype))
    array = np.asarray(column.to_numpy())
    if not isinstance(column.dtype, np.dtype) and not _is_text(column):
        numpy_type = getattr(column.dtype, "numpy_dtype", None) or "float32"
        raise ValueError(
            f"{where} has the type {column.dtype} of pandas, which Keras does not take; give one of NumPy's: "
            f".astype('{numpy_type}')"
        )
    return _checked_kind(where, array)


def _is_text(column: pd.Series) -> bool:
    return str(column.dtype).startswith(("str", "object")) and all(isinstance(item, str) for item in column)


def _checked(name: str, array: np.ndarray, floatx: str) -> np.ndarray:
    array = _checked_kind(name, array)
    if array.dtype.kind == "U":
        return array.astype(object)
    if array.dtype.kind != "f":
        return array
    if not np.isfinite(array).all():
        rows = np.flatnonzero(~np.isfinite(array).reshape(len(array), -1).all(axis=1))
        raise ValueError(
            f"{name} has NaN or infinite values in {len(rows)} of {len(array)} rows, first in row {rows[0]}"
        )
    return np.ascontiguousarray(array, dtype=floatx)


def _checked_kind(name: str, array: np.ndarray) -> np.ndarray:
    """Refuses dates, structured arrays, and Python objects other than texts."""
    part = _expression(name)
    if array.dtype.kind in "mM":
        raise ValueError(_dates(name, array.dtype))
    if array.dtype.names is not None:
        raise ValueError(
            f"{name} is a structured array of {', '.join(array.dtype.names)}; give a dict of arrays: "
            f"{{field: {part}[field] for field in {part}.dtype.names}}"
        )
    if array.dtype.kind == "O":
        _check_objects(name, array)
    return array


def _dates(name: str, dtype: object) -> str:
    part = _expression(name)
    return (
        f"{name} holds {dtype}, dates or durations; give numbers, such as days: "
        f"({part} - {part}.min()) / np.timedelta64(1, 'D')"
    )


def _check_objects(name: str, array: np.ndarray) -> None:
    """Refuses all Python objects but texts.

    Raises:
        ValueError: it names the first row without a value, or the objects.
    """
    items, part = list(array.flat), _expression(name)
    others = [item for item in items if not isinstance(item, (str, bytes))]
    empty = [index for index, item in enumerate(items) if _is_missing(item)]
    if empty:
        row = empty[0] // max(1, len(items) // len(array))
        raise ValueError(f"{name}: row {row} has no value ({items[empty[0]]}); fill or drop such rows")
    if others and all(hasattr(item, "__len__") for item in others):
        if len({np.shape(item) if hasattr(item, "shape") else len(item) for item in others}) > 1:
            raise ValueError(_unequal(name, others))
        raise ValueError(f"{name} is an array of {len(items)} arrays; make it one: np.stack({part})")
    if others and len(others) == len(items) and all(isinstance(item, numbers.Number) for item in others):
        kinds = ", ".join(sorted({type(item).__name__ for item in others})[:_SHOWN])
        raise ValueError(f"{name} holds numbers as Python objects ({kinds}); give {part}.astype('float32')")
    if others:
        raise ValueError(
            f"{name} holds Python objects ({others[0]!r:.40}, {type(others[0]).__name__}); give one array of numbers, "
            "or of strings"
        )


def _is_missing(item: object) -> bool:
    return item is None or (isinstance(item, float) and item != item)
