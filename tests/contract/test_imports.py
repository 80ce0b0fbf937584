"""What an experiment's code imports: from its own folder, in any encoding, and from outside, which is told."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from runner.experiment.source import read_source
from runner.records import Failure

pytestmark = pytest.mark.usefixtures("tensorflow")

EXPERIMENT = """\
import numpy as np
import keras
from pathlib import Path
{imports}

NAME = "é"

def load_data():
    assert len(NAME) == 1
    x = np.loadtxt(Path(__file__).with_name("data.csv"), delimiter=",").astype("float32")
    return (x, x.sum(1)), (x, x.sum(1))

def build_model():
    {body}
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    return model
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "exp").mkdir()
    (tmp_path / "exp" / "data.csv").write_text("1,2\n3,4\n" * 8, encoding="utf-8")
    return tmp_path


def checked(folder: Path, make_trial: Any, *, imports: str = "", body: str = "pass", encoding: str = "utf-8") -> Any:
    """What a worker's check says of an experiment that is written in this encoding."""
    from runner.worker.worker import Worker

    file = folder / "exp" / "exp.py"
    cookie = "" if encoding.startswith("utf-8") else f"# -*- coding: {encoding} -*-\n"
    file.write_text(cookie + EXPERIMENT.format(imports=imports, body=body), encoding=encoding)
    trial = replace(make_trial(params={}, batch_size=4), source=read_source("exp/exp.py"))
    worker = Worker()
    return worker.check(trial, worker.load(trial))


@pytest.mark.parametrize("encoding", ["utf-8-sig", "latin-1", "cp1252"])
def test_a_file_in_any_encoding_finds_the_data_beside_it(folder: Path, make_trial: Any, encoding: str) -> None:
    answer = checked(folder, make_trial, encoding=encoding)
    assert not isinstance(answer, Failure), answer.message


def test_files_beside_an_experiment_that_it_does_not_import_are_given_to_no_library(
    folder: Path, make_trial: Any
) -> None:
    absent = next(name for name in ("tabnanny", "sched", "pyclbr", "stringprep") if name not in sys.modules)
    (folder / "exp" / f"{absent}.py").write_text("raise RuntimeError('of the user')\n", encoding="utf-8")
    answer = checked(folder, make_trial, body=f"import importlib; importlib.import_module({absent!r})")
    assert not isinstance(answer, Failure), answer.message
    assert sys.modules.pop(absent).__file__ != str(folder / "exp" / f"{absent}.py")


def test_a_file_named_like_a_module_that_is_imported_already_is_an_error(folder: Path, make_trial: Any) -> None:
    (folder / "exp" / "queue.py").write_text("VALUE = 1\n", encoding="utf-8")
    answer = checked(folder, make_trial, imports="from queue import VALUE")
    assert isinstance(answer, Failure)
    assert answer.message.startswith(
        "ImportError: exp/queue.py has the name of a module that is imported already, queue"
    )
    assert answer.message.endswith("rename your file")


def test_code_from_outside_the_experiments_folder_is_told(folder: Path, make_trial: Any) -> None:
    (folder / "common_code").mkdir()
    (folder / "common_code" / "layers.py").write_text("", encoding="utf-8")
    imports = f"import sys\nsys.path.append({str(folder)!r})\nimport common_code.layers"
    try:
        answer = checked(folder, make_trial, imports=imports)
        assert answer.facts.outside == ("common_code/layers.py",)
        assert checked(folder, make_trial).facts.outside == ()
    finally:
        sys.path.remove(str(folder))
        for name in ("common_code", "common_code.layers"):
            sys.modules.pop(name, None)


def test_a_failure_names_the_innermost_line_of_the_users_own_files(folder: Path, make_trial: Any) -> None:
    (folder / "exp" / "parts.py").write_text(
        "import keras\n\ndef head(n):\n    return keras.layers.Dense(n)\n", "utf-8"
    )
    answer = checked(folder, make_trial, imports="import parts", body="parts.head(-1)")
    assert isinstance(answer, Failure)
    assert answer.place == "exp/parts.py:4, in head"
    answer = checked(folder, make_trial, body="undefined")
    assert answer.place == "exp/exp.py:14"
