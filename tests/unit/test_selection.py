"""Rows and columns of a table that are wanted."""

from __future__ import annotations

from typing import Any

import pytest

from runner.errors import ConfigError
from runner.review.selection import Selection
from runner.review.tables import Table

TABLE = Table(
    ["trial", "status", "score", "units", "train.epochs", "activation", "nesterov"],
    [
        ["000", "complete", 0.9, 64, 3, "relu", True],
        ["001", "failed", None, 128, 3, "tanh", False],
        ["002", "stopped", 0.7, 32, 9, "relu", None],
        ["003", "complete", 0.95, 128, 9, "none", True],
    ],
)


def ids(**wanted: Any) -> list[object]:
    return [row[0] for row in Selection(**wanted).of(TABLE).rows]


@pytest.mark.parametrize(
    ("condition", "found"),
    [
        ("units>64", ["001", "003"]),
        (" units >= 64 ", ["000", "001", "003"]),
        ("units<64", ["002"]),
        ("units<=6.4e1", ["000", "002"]),
        ("units=128", ["001", "003"]),
        ("units!=128", ["000", "002"]),
        ("score>=0.9", ["000", "003"]),
        ("score=none", ["001"]),
        ("score!=none", ["000", "002", "003"]),
        ("status==complete", ["000", "003"]),
        ("trial=003", ["003"]),
        ("train.epochs=9", ["002", "003"]),
        ("activation~EL", ["000", "002"]),
        ("activation=none", ["003"]),
        ("nesterov=true", ["000", "003"]),
        ("nesterov>0", []),
    ],
)
def test_a_condition_chooses_rows(condition: str, found: list[str]) -> None:
    assert ids(filters=(condition,)) == found


def test_all_conditions_hold() -> None:
    assert ids(filters=("units=128", "status=complete")) == ["003"]


def test_rows_without_a_value_are_last_in_either_order() -> None:
    assert ids(sort="score") == ["002", "000", "003", "001"]
    assert ids(sort="-score") == ["003", "000", "002", "001"]
    assert ids(sort="activation") == ["003", "000", "002", "001"]
    assert ids() == ["000", "001", "002", "003"]


def test_a_value_that_is_not_a_number_is_last_too() -> None:
    nan = float("nan")
    rows: list[list[object]] = [[value] for value in (0.5, nan, 0.1, None, 0.9, nan, 0.3)]
    table = Table(["loss"], rows)
    assert [row[0] for row in Selection(sort="loss").of(table).rows][:4] == [0.1, 0.3, 0.5, 0.9]
    assert [row[0] for row in Selection(sort="-loss").of(table).rows][:4] == [0.9, 0.5, 0.3, 0.1]


def test_columns_come_in_the_order_in_which_they_are_named() -> None:
    assert Selection(columns=("units", "trial"), filters=("units<64",)).of(TABLE) == (["units", "trial"], [[32, "002"]])


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        ({"filters": ("unit>64",)}, "filter 'unit': there is no such column; did you mean units"),
        (
            {"filters": ("units",)},
            "filter 'units': is no condition; give a column, one of < <= > >= = != ~",
        ),
        ({"filters": ("units>many",)}, "filter 'units>many': > compares numbers, and 'many' is none; use = or ~"),
        ({"filters": ("units=>64",)}, "filter 'units=>64': => is none of < <= > >= = != ~"),
        ({"filters": ("units>6 and score<1",)}, "'6 and score<1' is none; give each condition a --filter of its own"),
        ({"sort": "-scores"}, "sort 'scores': there is no such column; did you mean score"),
        ({"columns": ("trial", "qqq")}, "columns 'qqq': there is no such column; there are trial, status, score"),
    ],
)
def test_a_mistake_says_what_there_is(wanted: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Selection(**wanted).of(TABLE)
    assert message in str(caught.value)
