"""What an experiment's imports need is looked for before anything starts, and read in the encoding that a file has."""

from __future__ import annotations

import ast
import queue
import subprocess
import sys
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path
from types import ModuleType

import pytest

from runner.config import load_config
from runner.errors import ConfigError
from runner.experiment.source import read_source
from runner.records import decode_python, encode_python, has_python_text
from runner.search.members import resolve_members
from runner.worker.imports import Neighbours, free_name, is_installed, outside_of

FUNCTIONS = "def load_data(): ...\ndef build_model(units: int = 4): ...\n"


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def resolve(project: Path, code: str, *settings: str) -> None:
    (project / "exp.py").write_text(f"{code}\n{FUNCTIONS}", encoding="utf-8")
    resolve_members(load_config("exp.py", list(settings), config_dir=None))


@pytest.mark.parametrize(
    ("code", "told"),
    [
        ("import pandsa", "exp.py:1: import pandsa: this environment has no module pandsa; did you mean pandas?"),
        ("import os\nimport no_such.part", "exp.py:2: import no_such.part: this environment has no module no_such;"),
        ("from no_such import x", "exp.py:1: import no_such: this environment has no module no_such; install it:"),
        ("from ..common.layers import head", "exp.py:1: from ..common.layers import head: an experiment is a file by"),
        ("from . import helper", "exp.py:1: from . import helper: an experiment is a file by itself"),
        ("import helper", "helper.py:1: import no_such: this environment has no module no_such"),
    ],
)
def test_an_import_that_must_fail_is_told_without_starting_anything(project: Path, code: str, told: str) -> None:
    (project / "helper.py").write_text("import no_such\n", encoding="utf-8")
    with pytest.raises(ConfigError) as error:
        resolve(project, code)
    assert told in str(error.value)


@pytest.mark.parametrize(
    "code",
    [
        "import json, os.path, numpy.linalg, package.part, beside",
        "try:\n    import no_such\nexcept ImportError:\n    no_such = None",
        "def later():\n    import no_such",
        "import sys\nsys.path.append('elsewhere')\nimport no_such",
        "import pyximport\npyximport.install()\nimport no_such",
        "import hooks\nhooks.install ()\nimport no_such",
        "import fast_ops, plain_ops",
        "import importlib\nimportlib.import_module('x')\nimport no_such",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from .x import y",
    ],
)
def test_an_import_that_may_succeed_is_left_to_the_worker(project: Path, code: str) -> None:
    (project / "package").mkdir()
    (project / "package" / "part.py").write_text("from . import other\n", encoding="utf-8")
    for name in ("beside.py", "hooks.py", f"fast_ops{EXTENSION_SUFFIXES[0]}", f"plain_ops{EXTENSION_SUFFIXES[-1]}"):
        (project / name).write_text("", encoding="utf-8")
    resolve(project, code)


def test_what_another_machine_may_have_is_not_looked_for_here(project: Path) -> None:
    resolve(project, "import no_such", "fleet.address=ray-head:6379")


@pytest.mark.parametrize(
    "content",
    [
        b"\xef\xbb\xbfNAME = '\xc3\xa9'\n",
        b"# -*- coding: latin-1 -*-\nNAME = '\xe9'\n",
        b"#!/usr/bin/python\n# vim: set fileencoding=cp1252 :\r\nNAME = '\x80'\r\n",
        "NAME = 'é'\n".encode(),
    ],
    ids=["mark", "latin-1", "cp1252", "utf-8"],
)
def test_a_files_text_is_the_same_whatever_its_encoding(tmp_path: Path, content: bytes) -> None:
    file, copy = tmp_path / "a.py", tmp_path / "copy.py"
    file.write_bytes(content)
    text = decode_python(content)
    assert has_python_text(file, text)
    assert not has_python_text(file, text + " ")
    copy.write_bytes(encode_python(text))
    assert has_python_text(copy, text)
    script = "import runpy, sys; print([ascii(runpy.run_path(name)['NAME']) for name in sys.argv[1:]])"
    ended = subprocess.run(
        [sys.executable, "-c", script, str(file), str(copy)], capture_output=True, text=True, check=True
    )
    first, second = ast.literal_eval(ended.stdout)
    assert first == second


def test_a_library_does_not_get_a_file_that_the_experiment_does_not_import(project: Path) -> None:
    for name in ("beside", "queue", "json"):
        (project / f"{name}.py").write_text("", encoding="utf-8")
    (project / "exp.py").write_text(f"import beside\n{FUNCTIONS}", encoding="utf-8")
    neighbours = Neighbours(project, read_source("exp.py"))
    found = neighbours.find_spec("beside")
    assert found is not None
    assert found.origin == str(project / "beside.py")
    assert neighbours.find_spec("queue") is None
    assert neighbours.find_spec("exp") is None


@pytest.mark.parametrize(("name", "told"), [("queue", "queue.py)"), ("sys", "built into Python")])
def test_a_neighbour_with_the_name_of_a_module_that_is_imported_already_is_refused(
    project: Path, name: str, told: str
) -> None:
    (project / f"{name}.py").write_text("VALUE = 1\n", encoding="utf-8")
    (project / "exp.py").write_text(f"import json, {name}\n{FUNCTIONS}", encoding="utf-8")
    neighbours = Neighbours(project, read_source("exp.py"))
    neighbours.refuse_imported({})
    with pytest.raises(ImportError, match=f"^{name}.py has the name of a module .* already, {name} ") as error:
        neighbours.refuse_imported({"queue": queue, "sys": sys})
    assert told in str(error.value)
    same = ModuleType(name)
    same.__file__ = str(project / f"{name}.py")
    neighbours.refuse_imported({name: same})


def test_an_experiments_module_takes_no_librarys_name(tmp_path: Path) -> None:
    names = {name: free_name(tmp_path / f"{name}.py") for name in ("random", "json", "pytest", "mlflow", "my_model")}
    taken = {"random": "random_", "json": "json_", "pytest": "pytest_", "mlflow": "mlflow_"}
    assert names == {**taken, "my_model": "my_model"}


def test_what_is_imported_from_outside_is_found_with_all_its_parts(project: Path) -> None:
    (project / "exp").mkdir()
    (project / "exp" / "exp.py").write_text(f"import common.layers, beside, numpy, sys\n{FUNCTIONS}", encoding="utf-8")
    (project / "exp" / "beside.py").write_text("", encoding="utf-8")
    files = {"common": None, "common.layers": "common/layers.py", "common.base": "common/base.py",
             "beside": "exp/beside.py", "unrelated": "unrelated.py"}  # fmt: skip
    modules = {name: ModuleType(name) for name in files}
    for name, file in files.items():
        modules[name].__file__ = file and str(project / file)
    modules["common"].__path__ = [str(project / "common")]
    own = {project / "exp" / "exp.py", project / "exp" / "beside.py"}
    assert outside_of(read_source("exp/exp.py"), {**sys.modules, **modules}, own) == (
        "common/base.py",
        "common/layers.py",
    )
    assert outside_of(read_source("exp/exp.py"), dict(sys.modules), own) == ()


def test_installed_is_what_pip_or_python_has_put_there(tmp_path: Path) -> None:
    import yaml

    assert is_installed(Path(yaml.__file__))
    assert is_installed(Path(subprocess.__file__))
    assert not is_installed(tmp_path / "common" / "layers.py")
