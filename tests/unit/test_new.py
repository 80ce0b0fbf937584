"""A new experiment: where its file goes, what it holds, and that nothing is overwritten."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from runner.driver.new import new_experiment
from runner.errors import ConfigError
from runner.experiment.signature import parse_python, read_signature

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_the_file_goes_to_experiments_if_that_folder_exists() -> None:
    assert new_experiment("my_model") == Path("my_model.py")
    Path("experiments").mkdir()
    assert new_experiment("my_model") == Path("experiments/my_model.py")
    assert new_experiment("other.py") == Path("other.py")
    Path("some where").mkdir()
    assert new_experiment("some where/deep") == Path("some where/deep.py")
    text = Path("some where/deep.py").read_text()
    assert "runner sweep 'some where/deep.py'" in text
    commands = [line for line in text.splitlines() if line.startswith("python -m runner") and "  # " in line]
    assert len(commands) == 5
    assert len({line.index("  # ") for line in commands}) == 1, "comments are under each other"


def test_nothing_is_overwritten() -> None:
    Path("mine.py").write_text("mine")
    os.symlink("nowhere.py", "link.py")
    for name in ("mine", "mine.py", "link"):
        with pytest.raises(ConfigError, match=r"\.py: exists; give another name"):
            new_experiment(name)
    assert Path("mine.py").read_text() == "mine"
    assert not Path("nowhere.py").exists()


@pytest.mark.parametrize(
    ("name", "what"),
    [
        ("my-model", "not a name for a Python file"),
        ("", "not a name for a Python file"),
        ("a=b", "not a name for a Python file"),
        ("statistics", "statistics is a module of Python"),
        ("keras.py", "keras is a module of Python or a library"),
        ("no/where", "no such folder: no"),
    ],
)
def test_a_name_that_does_not_do_is_refused_and_nothing_written(name: str, what: str) -> None:
    with pytest.raises(ConfigError, match=what):
        new_experiment(name)
    assert list(Path().iterdir()) == []


def test_its_parameters_are_typed_and_have_defaults() -> None:
    file = new_experiment("my_model")
    signature = read_signature(parse_python(file.read_text(encoding="utf-8"), str(file)), str(file))
    assert set(signature.load_data) == {"held_out"}
    assert set(signature.build_model) == {"units", "activation", "dropout", "learning_rate"}
    assert all(parameter.known_default for parameter in signature.parameters.values())


@pytest.mark.parametrize("command", [["check"], ["format", "--diff"]], ids=str)
def test_it_is_in_the_projects_style(command: list[str]) -> None:
    Path("experiments").mkdir()
    file = new_experiment("my_model")
    ruff = [sys.executable, "-m", "ruff", *command, "--stdin-filename", str(ROOT / file), "-"]
    found = subprocess.run(ruff, input=file.read_bytes(), capture_output=True, check=False, cwd=ROOT)
    assert found.returncode == 0, found.stdout + found.stderr
