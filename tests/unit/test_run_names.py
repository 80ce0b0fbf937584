"""Names of trials' runs: short, and each setting can be told from every other."""

from __future__ import annotations

import math

import pytest

from runner.tracking.run_names import short_names, short_value


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (0.003, "3e-3"), (0.0137, "0.0137"), (1e-05, "1e-5"), (0.25, "0.25"), (1.0, "1"), (0.0, "0"),
        (-0.0005, "-5e-4"),
        (12345.0, "1.23e4"), (64, "64"), (True, "true"), (None, "null"), ("relu", "relu"), ([32, 64], "[32, 64]"),
        (math.nan, "nan"), (-math.inf, "-inf"), ("x" * 30, "x" * 19 + "…"), (0.00999, "9.99e-3"), (1e-300, "1e-300"),
    ],
)  # fmt: skip
def test_a_value_has_three_digits(value: object, shown: str) -> None:
    assert short_value(value) == shown


def test_settings_have_their_usual_short_names_unless_two_would_share_one() -> None:
    assert short_names(["learning_rate", "train.batch_size", "units"]) == {
        "learning_rate": "lr", "train.batch_size": "batch", "units": "units",
    }  # fmt: skip
    both = ["train.batch_size", "batch_size", "lr", "learning_rate"]
    assert short_names(both) == {name: name for name in both}
