"""The check of an experiment: what it finds of a sound one, and the place of each mistake."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from command_line import environment

import runner
from runner.config import load_config
from runner.driver.context import Context
from runner.driver.examine import examine
from runner.errors import ConfigError, ExperimentError, RunnerError
from runner.records import Examined
from runner.views.examined import as_text
from runner.views.watchers import Silent

SOUND = """\
import keras
import numpy as np
import tensorflow as tf


class Scale(keras.layers.Layer):
    def __init__(self, by):
        super().__init__()
        self.by = by

    def call(self, x):
        return x * self.by


def load_data(rows: int = 96):
    x = np.random.default_rng(0).normal(size=(rows, 4)).astype("float32")
    y = np.arange(rows) % 3
    return (x, y), (x[:32], y[:32])


def build_model(units: int = 8):
    print("a word")
    model = keras.Sequential(
        [
            keras.Input((4,)),
            keras.layers.Dense(units),
            keras.layers.Dense(3, activation="softmax"),
        ]
    )
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model
"""
PIPELINE = """\
    x[3] = FILL
    pipeline = tf.data.Dataset.from_tensor_slices((x, y)).batch(32)
    return pipeline, pipeline.take(1)
"""
RETURNS = "    return (x, y), (x[:32], y[:32])\n"
DENSE = "keras.layers.Dense(units)"


@pytest.fixture
def checked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Examined]:
    """Checks an experiment with this code, in this process."""
    monkeypatch.chdir(tmp_path)

    def check(code: str, *overrides: str) -> Examined:
        Path("mine.py").write_text(code, encoding="utf-8")
        (tmp_path / "folder").mkdir()
        config = load_config("mine.py", overrides, config_dir=None)
        return examine(config, Context(watcher=Silent()), tmp_path / "folder", {})

    return check


def line_of(code: str, part: str) -> int:
    return next(number for number, line in enumerate(code.splitlines(), 1) if part in line)


def test_a_sound_experiment_is_described(checked: Callable[..., Examined]) -> None:
    found = checked(SOUND, "params.units=4,8,16", "train.epochs=3")
    assert (found.name, found.trials, found.metric, found.goal, found.warnings) == (
        "mine",
        3,
        "val_loss",
        "minimize",
        (),
    )
    first, last = found.checked
    assert (first.settings, last.settings) == ({"rows": 96, "units": 4}, {"rows": 96, "units": 16})
    assert (first.searched, first.parameters, last.parameters) == ({"units": 4}, 35, 131)
    train, validation = first.details.splits
    assert (train.name, train.rows, validation.name, validation.rows) == ("train", 96, "validation", 32)
    assert [(part.name, part.dtype, part.shape) for part in train.tensors] == [
        ("x", "float32", (-1, 4)),
        ("y", "int64", (-1,)),
    ]
    assert (first.details.optimizer, first.details.loss) == ("Adam", "sparse_categorical_crossentropy")
    assert set(first.details.values) == {"loss", "accuracy", "val_loss", "val_accuracy"}
    assert (first.program, first.program_reason, first.steps_per_epoch, first.compile) == ("round", "", 3, "graph")
    assert first.steps_per_s["graph"] > 10
    assert first.memory_mib > 100
    assert first.model_bytes is not None
    assert first.output == last.output == "a word\n" * 2
    text = as_text(found)
    for part in ("96 rows: x float32 [rows, 4], y int64 [rows]", "loaded by plain Keras", "would train 3 trials"):
        assert part in text


def test_what_a_person_should_know_of_a_model_is_shown(checked: Callable[..., Examined]) -> None:
    code = SOUND.replace(RETURNS, PIPELINE.replace("FILL", "0")).replace(DENSE, "Scale(2.0)")
    found = checked(code.replace('["accuracy"])', '["accuracy"], run_eagerly=True)'), "train.batch_size=8")
    (setting,) = found.checked
    assert [(split.rows, split.batches) for split in setting.details.splits] == [(None, 3), (None, 1)]
    assert (setting.program, setting.compile) == ("plain", "eager")
    assert setting.model_bytes is None
    assert setting.own_parts == {"Scale": "mine.py:6"}
    assert "run_eagerly" in setting.inexact
    assert ["train.batch_size does nothing" in text for text in found.warnings] == [True]
    text = as_text(found)
    for part in ("a pipeline of 3 batches", "plain Keras lacks Scale (mine.py:6)", "perhaps not: run_eagerly"):
        assert part in text


def test_of_several_optimizers_those_are_named_that_have_made_an_update(tensorflow: object) -> None:
    import keras

    from runner.worker.details import details_of

    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    feed: Any = SimpleNamespace(shapes=dict)
    model.compile("rmsprop")
    assert details_of(model, feed, {}).optimizer == "RMSprop"
    model.first, model.second = keras.optimizers.Adam(), keras.optimizers.SGD()
    for optimizer in (model.first, model.second):
        optimizer.apply([keras.ops.ones_like(weight) for weight in model.weights], model.weights)
    assert details_of(model, feed, {}).optimizer == "Adam and SGD"


def test_a_layer_that_keras_cannot_serialize_is_named(checked: Callable[..., Examined]) -> None:
    (setting,) = checked(SOUND.replace(DENSE, "Scale(tf.constant(2.0))")).checked
    assert (setting.model_bytes, setting.own_parts) == (None, {"Scale": "mine.py:6"})


def test_xla_is_timed_if_the_sweep_would_be_long_enough(checked: Callable[..., Examined]) -> None:
    (setting,) = checked(SOUND, "train.epochs=1000000").checked
    assert set(setting.steps_per_s) == {"graph", "xla"}
    assert setting.compile in ("graph", "xla")


BUILD = "build_model: ValueError"
MISTAKES = {
    "a raising build_model": ({DENSE: "keras.layers.Dense(units, 'relux')"}, "relux')", BUILD, "relux"),
    "a wrong shape": ({"Input((4,))": "Input((5,))"}, "model.compile", BUILD, "expected axis -1"),
    "labels without a class": ({"Dense(3": "Dense(2"}, "model.compile", BUILD, "allowed: 0 to 1"),
    "another loss": ({"sparse_cat": "cat"}, "model.compile", BUILD, "must have the same rank"),
    "NaN in an array": (
        {RETURNS: "    x[3] = np.nan\n" + RETURNS}, "return (x, y)", "load_data: ValueError", "first in row 3",
    ),
    "NaN in a pipeline": (
        {RETURNS: PIPELINE.replace("FILL", "np.nan")}, "model.compile", "build_model: the loss of the first", "nan",
    ),
    "a layer that raises": (
        {DENSE: "Scale(2.0)", "x * self.by": "x.shapee"}, "x.shapee", "Scale.call: AttributeError", "shapee",
    ),
    "no model": ({"return model": "return model.name"}, "return model.name", "build_model: TypeError", "a str"),
    "an error at import": ({"import tensorflow as tf": "raise OSError('lost')"}, "raise OSError", "OSError", "lost"),
}  # fmt: skip


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_has_its_place_and_line(checked: Callable[..., Examined], mistake: str) -> None:
    changes, where, what, why = MISTAKES[mistake]
    code = SOUND
    for before, after in changes.items():
        code = code.replace(before, after)
    with pytest.raises(ExperimentError) as caught:
        checked(code)
    line = line_of(code, where)
    first, *rest = str(caught.value).splitlines()
    assert first.startswith(f"mine.py:{line}: {what}")
    assert why in first
    assert rest[0] == f"    {line} | {code.splitlines()[line - 1].strip()}"


def test_a_mistake_of_the_last_setting_names_it(checked: Callable[..., Examined]) -> None:
    code = SOUND.replace("    print", "    assert units < 9, 'too many'\n    print")
    with pytest.raises(
        ExperimentError, match=r"mine\.py:22: build_model: AssertionError: too many\n.*\n    with units=16"
    ):
        checked(code, "params.units=8,16")


def test_a_missing_function_and_a_metric_that_is_never_produced_are_config_errors(
    checked: Callable[..., Examined], tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=r"mine\.py: load_data: missing"):
        checked(SOUND.replace("load_data", "load"))
    (tmp_path / "folder").rmdir()
    with pytest.raises(ConfigError, match=r"search\.metric: 'val_f1' is never produced by mine\.py"):
        checked(SOUND, "search.metric=val_f1")


def test_the_library_checks_in_a_process_of_its_own_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TMPDIR", str(tmp_path / "temporary"))
    monkeypatch.setattr("tempfile.tempdir", None)
    (tmp_path / "temporary").mkdir()
    code = SOUND.replace(
        "    print", "    import os, tempfile\n    tempfile.mkdtemp()\n    print(os.getpid())\n    print"
    )
    Path("mine.py").write_text(code, encoding="utf-8")
    found = runner.check("mine.py", params={"units": 4})
    assert str(os.getpid()) not in found.checked[0].output.splitlines()
    assert repr(found).startswith("mine")
    Path("mine.py").write_text(code.replace("print(os.getpid())", "os._exit(7)"), encoding="utf-8")
    with pytest.raises(RunnerError, match=r"^mine: its code ended the process of the check \(exit code 7\)$"):
        runner.check("mine.py")
    Path("mine.py").write_text(
        code.replace("print(os.getpid())", "import ctypes; ctypes.string_at(0)"), encoding="utf-8"
    )
    with pytest.raises(RunnerError, match=r"^mine\.py:24: build_model: its code .* \(SIGSEGV\)$"):
        runner.check("mine.py")
    assert not any((tmp_path / "temporary").iterdir())
    assert {path.name for path in tmp_path.iterdir()} <= {"mine.py", "temporary", "__pycache__"}


def test_it_imports_neither_ray_nor_mlflow(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(SOUND + "\nimport sys\nprint('has', {'ray', 'mlflow'} & set(sys.modules))\n")
    code = "import runner, sys; print(runner.check('mine.py').checked[0].output, 'tensorflow' in sys.modules)"
    ended = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=environment(), capture_output=True, text=True, check=True
    )
    assert "has set()" in ended.stdout
    assert ended.stdout.endswith(" False\n")
