"""Names in MLflow: what it takes stays, what it does not take stays apart."""

from __future__ import annotations

import posixpath
import re

import pytest

from runner.tracking.metric_keys import MAX_KEY, artifact_path, mlflow_key

ODD = (
    "", ".", "..", "/", "//", "/auc", "auc/", "a//b", "a/./b", "a/../b", "../auc", "..auc", "a/..", "AR@100", "AR#100",
    "AR%100", "x\ny", "x\n", "x\0y", "\ud800", "e\u0301", "精度!", "損失!", "a" * 251, "a" * 300 + "b", "a" * 300 + "c",
    "a/" * 200, "." * 300,
)  # fmt: skip
KEPT = (
    "loss",
    "val_accuracy",
    "精度",
    "損失",
    "é",
    "a b",
    "a:b",
    "a-b.c",
    "round/loss",
    "a/b/c",
    "...a"[3:],
    "x" * 250,
)


def is_taken(key: str) -> bool:
    """As `_validate_metric_name` and its siblings judge in mlflow 3.17, `mlflow/utils/validation.py`."""
    plain = posixpath.normpath(key)
    unique = plain == key and plain != "." and not plain.startswith(("..", "/"))
    return bool(re.match(r"^[/\w.\- :]*$", key)) and unique and 0 < len(key) <= MAX_KEY


@pytest.mark.parametrize("name", KEPT)
def test_a_name_that_mlflow_takes_stays_as_it_is(name: str):
    assert mlflow_key(name) == name


@pytest.mark.parametrize("name", ODD)
def test_a_name_that_mlflow_does_not_take_becomes_one_that_it_takes(name: str):
    assert is_taken(mlflow_key(name)), mlflow_key(name)
    assert mlflow_key(name) != name


def test_distinct_names_stay_distinct():
    names = (*ODD, *KEPT, *("Loss", "LOSS"))
    assert len({mlflow_key(name) for name in names}) == len(names)


def test_an_artifacts_path_stays_below_its_folder_and_keeps_its_suffix():
    paths = ("source/a#1.py", "source/a?1.py", "source/a%31.py", "source/a:1.py", "source/../a.py", "source/a.py")
    found = [artifact_path(path) for path in paths]
    assert len(set(found)) == len(paths)
    assert all(re.fullmatch(r"source/[\w. /-]+\.py", path) and ".." not in path.split("/") for path in found)
    assert found[-1] == "source/a.py"
