"""What `load_data` returns becomes arrays as `fit` converts it; what cannot is refused with what to do."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from runner.data import Data
from runner.worker.data.conversion import as_array, is_list_of_values, rows_given_as_inputs
from runner.worker.metrics import as_numbers

ROWS = 4
NUMBERS = np.arange(ROWS, dtype="float64")


def frame(**columns: Any) -> pd.DataFrame:
    return pd.DataFrame({"a": NUMBERS, **columns})


def objects(*items: Any) -> np.ndarray:
    array = np.empty(len(items), dtype=object)
    array[:] = items
    return array


CONVERTED: dict[str, tuple[Any, str, tuple[int, ...]]] = {
    "doubles": (NUMBERS, "float32", (ROWS,)),
    "integers": (np.arange(ROWS), "int64", (ROWS,)),
    "a Series is a column": (pd.Series(NUMBERS), "float32", (ROWS, 1)),
    "a Series of texts": (pd.Series(["a", "b"]), "object", (2, 1)),
    "bool and double columns": (frame(b=NUMBERS > 1), "float32", (ROWS, 2)),
    "bool and float columns": (frame(a=NUMBERS.astype("float32"), b=NUMBERS > 1), "float32", (ROWS, 2)),
    "bool and integer columns": (frame(a=np.arange(ROWS), b=NUMBERS > 1), "int64", (ROWS, 2)),
    "bool columns": (frame(a=NUMBERS > 1), "bool", (ROWS, 1)),
    "columns of the same name": (pd.concat([frame(), frame()], axis=1), "float32", (ROWS, 2)),
    "text columns": (pd.DataFrame({"a": ["x", "y"], "b": ["u", "v"]}), "object", (2, 2)),
    "texts": (np.array(["x", "y"]), "object", (2,)),
    "bytes": (np.array([b"x", b"y"]), "|S1", (2,)),
    "a list of NumPy's numbers": (list(NUMBERS), "float32", (ROWS,)),
    "a list of lists": ([[1, 2], [3, 4]], "int64", (2, 2)),
}


@pytest.mark.parametrize("case", CONVERTED)
def test_data_is_converted_as_fit_does(case: str) -> None:
    value, dtype, shape = CONVERTED[case]
    array = as_array("train x", value, "float32")
    assert (array.dtype, array.shape) == (np.dtype(dtype), shape)


def test_a_frames_values_keep_their_places() -> None:
    array = as_array("train x", frame(b=NUMBERS > 1), "float32")
    np.testing.assert_array_equal(array, [[0, 0], [1, 0], [2, 1], [3, 1]])


REFUSED: dict[str, tuple[Any, tuple[str, ...]]] = {
    "a sparse matrix": (sparse.csr_matrix(np.eye(ROWS)), ("train x is a sparse matrix", "x.toarray()")),
    "a nullable column": (frame(b=pd.array([1, 2, 3, 4], dtype="Int64")), ("'b'", "Int64", ".astype('int64')")),
    "a nullable Series": (pd.Series([1, 2], dtype="Int64"), ("train x", "Int64", ".astype('int64')")),
    "a missing value": (frame(b=[1.0, None, 3.0, 4.0]), ("'b'", "1 of 4 rows", "first in row 1", "fillna")),
    "a missing nullable": (frame(b=pd.array([1, None, 3, 4], dtype="Int64")), ("'b'", "missing", "fillna")),
    "a category column": (frame(b=pd.Categorical(["u", "v"] * 2)), ("'b'", "category", ".cat.codes")),
    "a text column": (frame(b=["u", "v"] * 2), ("'b'", "text ('u')", "pd.get_dummies")),
    "a date column": (frame(b=pd.date_range("2020", periods=4)), ("'b'", "dates", "(x['b'] - x['b'].min())")),
    "a date column with a zone": (frame(b=pd.date_range("2020", periods=4, tz="UTC")), ("'b'", "UTC", "dates")),
    "a column of objects": (frame(b=[[1], [2], [3], [4]]), ("'b'", "np.stack")),
    "dates": (np.array(["2020-01-01"], "datetime64[D]"), ("dates", "np.timedelta64(1, 'D')")),
    "records": (np.zeros(2, [("u", "f4"), ("v", "i4")]), ("structured", "u, v", "dict")),
    "rows of unequal length": ([[1], [1, 2]], ("unequal", "(1,), (2,)", "pad")),
    "arrays of unequal length": (objects(np.ones(1), np.ones(2)), ("unequal", "pad")),
    "an array of arrays": (objects(np.ones(2), np.ones(2)), ("np.stack(x)",)),
    "numbers as objects": (objects(1, 2.5), ("numbers as Python objects", "float, int", "x.astype('float32')")),
    "no value": (objects(1, None), ("row 1", "None", "drop")),
    "a nested None": ([1.0, None], ("row 1", "None")),
    "other objects": (objects(object(), 1), ("Python objects", "object)")),
    "a generator": ((row for row in NUMBERS), ("Python generator", "from_generator", "PyDataset")),
    "zip": (zip([1], [2], strict=True), ("Python zip", "from_generator")),
    "a set": ({1, 2}, ("set", "sorted")),
    "a path": ("data.csv", ("'data.csv'", "load_data")),
    "a number": (3.0, ("a float, not an array of rows",)),
    "a function": (len, ("builtin_function_or_method", "allowed")),
    "NaN": (np.array([0.0, np.nan]), ("NaN or infinite values in 1 of 2 rows, first in row 1",)),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_no_array_of_rows_is_refused_with_advice(case: str) -> None:
    value, told = REFUSED[case]
    with pytest.raises(ValueError, match=r"^train x") as err:
        as_array("train x", value, "float32")
    assert all(text in str(err.value) for text in told), str(err.value)


def test_advice_is_code_for_the_part_that_is_meant() -> None:
    with pytest.raises(ValueError, match=r"give x\['all words'\]\.toarray\(\)"):
        as_array("train x['all words']", sparse.csr_matrix(np.eye(ROWS)), "float32")


@pytest.mark.parametrize(("name", "told"), [("DataLoader", "PyTorch DataLoader"), ("Dataset", "PyTorch Dataset")])
def test_pytorchs_loaders_are_refused_with_advice(name: str, told: str) -> None:
    loader = type(name, (), {"__module__": "torch.utils.data.dataloader"})()
    with pytest.raises(ValueError, match=told):
        as_array("train x", loader, "float32")


def test_a_list_is_one_array_or_an_array_for_each_input() -> None:
    assert all(is_list_of_values(value) for value in ([1.0], list(NUMBERS), [[1], [2]], (1, 2), ["a"]))
    assert not any(is_list_of_values(value) for value in ([NUMBERS, NUMBERS], (NUMBERS,), []))


def test_a_list_of_rows_is_told_from_a_list_of_inputs() -> None:
    rows = [np.ones(8)] * 48
    assert "train x is a list of 48 arrays" in rows_given_as_inputs("train x", rows, [8, 48])
    assert "np.stack(x)" in rows_given_as_inputs("train x", rows, [8, 48])
    assert "pad" in rows_given_as_inputs("train x", [np.ones(1), np.ones(2)], [1, 2, 2])
    assert rows_given_as_inputs("train x", rows, [8]) == ""
    assert rows_given_as_inputs("train x", NUMBERS, [ROWS]) == ""


def test_two_splits_may_come_as_a_list() -> None:
    train, validation = (NUMBERS, NUMBERS), (NUMBERS[:2], NUMBERS[:2])
    data = Data.of([train, validation])
    assert (data.train, data.validation) == (train, validation)


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ((NUMBERS, NUMBERS), "a tuple of 2 (ndarray, ndarray)"),
        ([NUMBERS] * 48, "a list of 48;"),
        ((item for item in ()), "a generator;"),
        ({}, "a dict;"),
    ],
)
def test_anything_else_is_told_by_its_type(value: Any, told: str) -> None:
    with pytest.raises(TypeError, match=r"return \(\(x, y\), \(x_val, y_val\)\)") as err:
        Data.of(value)
    assert told in str(err.value)


def test_a_vector_is_its_mean_and_its_components() -> None:
    assert as_numbers({"f1": np.array([0.5, 1.0], "float32"), "loss": np.float32(0.25)}) == {
        "f1": 0.75,
        "f1/0": 0.5,
        "f1/1": 1.0,
        "loss": 0.25,
    }
    assert as_numbers({"m": np.eye(2)}) == {"m": 0.5, "m/0/0": 1.0, "m/0/1": 0.0, "m/1/0": 0.0, "m/1/1": 1.0}
    assert as_numbers({"one": np.array([0.5])}) == {"one": 0.5}
    assert as_numbers({"large": np.ones((20, 20))}) == {"large": 1.0}
