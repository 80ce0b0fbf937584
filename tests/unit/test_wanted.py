"""What a Python program gives `runner.sweep`, as the config gets it."""

from __future__ import annotations

from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import pytest

from runner.api.contexts import check_progress
from runner.api.runs import configured, python_value, wanted_of
from runner.errors import ConfigError

EXPERIMENT = Path(__file__).parents[2] / "experiments" / "digits_mlp.py"


def given(space: Any = None, params: Any = None, **sections: Any) -> Any:
    return dict(wanted_of(None, (), {}, params, space, sections, None, "config", Path("sweeps")).given)


def test_numbers_and_arrays_of_numpy_are_pythons_own() -> None:
    found = given(
        space={"rate": list(np.logspace(-3, -1, 3)), "units": np.array([4, 8]), "deep": range(1, 4)},
        params={"scale": np.float32(0.5), "count": np.int64(8), "pair": (np.int8(1), "a")},
        seed=np.int64(3),
    )
    assert found == {
        "search": {"space": {"rate": [0.001, 0.01, 0.1], "units": [4, 8], "deep": [1, 2, 3]}},
        "params": {"scale": 0.5, "count": 8, "pair": [1, "a"]},
        "seed": 3,
    }
    assert {type(value) for value in found["search"]["space"]["units"]} == {int}
    assert type(python_value(np.bool_(True))) is bool


def test_a_search_of_any_mapping_keeps_its_keys() -> None:
    found = given(space={"units": [1]}, search=MappingProxyType({"max_trials": 3}))
    assert found["search"] == {"max_trials": 3, "space": {"units": [1]}}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"space": {"a": [1]}, "search": {"space": {"b": [1]}}}, "space: is given twice, as space= and in search="),
        ({"space": {"a": [1]}, "search": "halving"}, "search: must be a mapping of its keys; got 'halving'"),
    ],
)
def test_what_would_be_lost_is_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        given(**arguments)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({(1, 2): 3}, "a key must be text; got a list; the sweep's config is recorded as YAML, where this would"),
        ({1: 2}, "the key '1' is read as int, not as text"),
        ("a\0b", "control characters are not allowed"),
        (10**5000, "Exceeds the limit"),
        (object(), "cannot represent an object.*; give numbers, texts"),
    ],
    ids=["tuple", "number", "control", "long", "object"],
)
def test_what_resume_could_not_read_again_is_refused_before_anything_is_recorded(value: Any, message: str) -> None:
    wanted = wanted_of(EXPERIMENT, (), {}, {"units": value}, None, {}, None, "config", Path("sweeps"))
    with pytest.raises(ConfigError, match=message):
        configured(wanted)


def test_functions_are_passed_by_name() -> None:
    with pytest.raises(ConfigError, match="pass functions by name"):
        wanted_of(lambda: None, (), {}, None, None, {}, None, "config", Path("sweeps"))  # type: ignore[arg-type]


def test_an_unknown_kind_of_progress_is_refused() -> None:
    check_progress("auto")
    with pytest.raises(ConfigError, match="progress: must be auto, terminal, notebook, none; got 'notbook'"):
        check_progress("notbook")
