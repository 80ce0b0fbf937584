"""What a user gets wrong is told within a second or two, in a line each, and starts nothing."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest
from command_line import Folder, environment, make_folder

HEAVY = ("tensorflow", "keras", "ray", "mlflow", "sklearn")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Folder:
    folder = make_folder(tmp_path_factory.mktemp("mistakes"))
    (folder.path / "empty.py").write_text("x = 1\n", encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def without_heavy_imports(folder: Folder) -> dict[str, str]:
    """An environment in which to import one of the heavy packages is to end at once with code 99."""
    poison = folder.path / "poison"
    poison.mkdir()
    for name in HEAVY:
        (poison / f"{name}.py").write_text(f"import os\nos.write(2, b'imports {name}')\nos._exit(99)\n")
    return {"PYTHONPATH": f"{poison}:{environment()['PYTHONPATH']}"}


MISTAKES = {
    "unknown key": (["train.epoch=3"], ["train.epoch", "did you mean train.epochs?"]),
    "wrong type": (["train.epochs=many"], ["train.epochs", "'many'"]),
    "out of range": (["train.epochs=0"], ["train.epochs", "above 0", "got 0"]),
    "missing file": (["nothing.py"], ["nothing.py: no such file"]),
    "missing function": (["empty.py"], ["empty.py: load_data: missing", "empty.py: build_model: missing"]),
    "unknown parameter": (["experiments/digits_mlp.py", "params.unit=3"], ["params.unit", "did you mean units?"]),
    "parameter of another type": (["params.units=wide"], ["params.units", "int", "'wide'"]),
    "empty space": (["search.space.units=[]"], ["search.space.units", "an empty list"]),
    "misspelt metric": (["search.metric=val_acuracy"], ["search.metric", "did you mean val_accuracy?"]),
    "several values where one belongs": (["resources.num_cpus=1,2"], ["resources.num_cpus"]),
    "unknown config": (["experiment=digit"], ["conf/experiment", "did you mean digits?"]),
    "no such GPU": (["resources.num_gpus=99"], ["resources.num_gpus: 99 asked"]),
    "a store in no folder": (
        ["tracking.uri=sqlite:////no/such/folder/mlflow.db"],
        ["tracking.uri=sqlite:////no/such/folder/mlflow.db: the folder /no/such/folder does not exist"],
    ),
    "no address of a store": (
        ["tracking.uri=mlruns"],
        ["tracking.uri=mlruns: not the address of an MLflow store"],
    ),
    "two files": (["experiments/digits_mlp.py", "empty.py"], ["one experiment file at a time"]),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_told_at_once(folder: Folder, without_heavy_imports: dict[str, str], mistake: str) -> None:
    arguments, told = MISTAKES[mistake]
    began = time.monotonic()
    ended = folder.run("sweep", *arguments, code=2, env=without_heavy_imports)
    assert time.monotonic() - began < 6.0
    assert all(text in ended.err for text in told), ended.err
    assert "Traceback" not in ended.everything
    assert not folder.sweeps
    assert not folder.store.exists()


def test_a_store_that_does_not_answer_is_told_at_once_and_starts_nothing(
    folder: Folder, without_heavy_imports: dict[str, str]
) -> None:
    began = time.monotonic()
    ended = folder.run("sweep", "tracking.uri=http://127.0.0.1:9", code=75, env=without_heavy_imports)
    assert time.monotonic() - began < 6.0
    assert "error: tracking.uri=http://127.0.0.1:9: nothing answers there" in ended.err
    assert "tracking.required=false, then python -m runner sync" in ended.err
    assert not folder.sweeps


RAISES = """
import sys, time
import keras, numpy as np
if "ray" in sys.modules:
    time.sleep(600)  # workers are not what finds it
def load_data():
    x = np.zeros((8, 2), "float32")
    return (x, x), (x, x)
def layer(units):
    return keras.layers.Dense(units, activation="relux")
def build_model(units=2):
    model = keras.Sequential([keras.Input((2,)), layer(units)])
    model.compile("adam", "mse")
    return model
"""


def test_a_build_model_that_raises_is_told_before_any_worker_has_tried_it(folder: Folder) -> None:
    (folder.path / "raises.py").write_text(RAISES, encoding="utf-8")
    with folder.start("sweep", "raises.py", "params.units=2,3") as running:
        ended = running.finish(2, timeout_s=120.0)
    assert "error: raises.py:10, in layer: build_model or its first step failed with units=2: ValueError" in ended.err
    assert "relux" in ended.err
    assert "nothing was started" in ended.err
    assert not folder.sweeps


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["results", "nothing"], "python -m runner sweep"),
        (["best"], "python -m runner sweep"),
        (["swep"], "Did you mean 'sweep'?"),
        (["ui", "--port", "0"], "--port"),
    ],
    ids=["no such sweep", "no sweep", "no such verb", "no such port"],
)
def test_other_verbs_tell_mistakes_too(
    folder: Folder, without_heavy_imports: dict[str, str], arguments: list[str], told: str
) -> None:
    ended = folder.run(*arguments, code=2, env=without_heavy_imports)
    assert told in ended.err
    assert "Traceback" not in ended.err


def test_help_needs_nothing(folder: Folder, without_heavy_imports: dict[str, str]) -> None:
    for verb in ("sweep", "plan", "list", "results", "best", "ui"):
        assert "Usage:" in folder.run(verb, "--help", env=without_heavy_imports).out


@pytest.mark.parametrize(
    ("present", "advice"),
    [
        (".venv/bin/python", "run: .venv/bin/python -m runner sweep seed=1"),
        ("Makefile", "run `make sweep`"),
        (None, "pip install FOLDER_OF_THE_CLONE"),
    ],
)
def test_a_python_without_the_packages_says_what_to_run(tmp_path: Path, present: str | None, advice: str) -> None:
    if present is not None:
        (tmp_path / present).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / present).touch()
    bare = [getattr(sys, "_base_executable", sys.executable), "-S", "-m", "runner", "sweep", "seed=1"]
    result = subprocess.run(bare, cwd=tmp_path, env=environment(), capture_output=True, text=True, check=False)
    assert result.returncode == 2
    assert advice in result.stderr
    assert "lacks click, mlflow, psutil, pydantic, ray, rich, tensorflow, yaml" in result.stderr
    assert "Traceback" not in result.stderr
