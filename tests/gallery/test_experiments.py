"""Every config in `conf/experiment/`, shortened, is killed and resumed: its trials end, and the best models load."""

from __future__ import annotations

import json
import math
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import yaml
from command_line import REPOSITORY, Folder, make_folder, read_journal, run_python

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

CONFIGS = sorted(path.stem for path in (REPOSITORY / "conf" / "experiment").glob("*.yaml"))
SOME = ("digits_callbacks", "digits_gan", "docstring_transformer", "forecast", "three_models")
COMMAND = re.compile(r"`python -m runner (\w+) ([^`]+)`")
OFTEN = ("train.steps_per_round=2", "recovery.snapshot_every_s=0.2")
LOAD = """
import importlib.util, inspect, json, os, pathlib, numpy as np
os.environ |= {"TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1", "KERAS_BACKEND": "tensorflow"}
import keras
export = pathlib.Path(sys.argv[1])
def run(file):
    spec = importlib.util.spec_from_file_location(file.stem, file)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module

is_plain = (export / "model.keras").exists()
model = keras.models.load_model(export / "model.keras") if is_plain else run(export / "rebuild.py").model
trained, loaded = np.load(export / "weights.npz"), model.get_weights()
assert all(np.array_equal(trained[name], weight) for name, weight in zip(trained.files, loaded, strict=True))

del sys.modules["runner"]  # the experiment's data may be a `runner.Data`
load_data = run(next((export / "source").glob("*.py"))).load_data
settings = json.loads((export / "trial.json").read_text())["settings"]
data = load_data(**{name: settings[name] for name in inspect.signature(load_data).parameters})
found = model.evaluate(*data[1], batch_size=32, return_dict=True, verbose=0) if isinstance(data, tuple) else {}
print(json.dumps({f"val_{name}": float(value) for name, value in found.items()}))
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, tables: None) -> Folder:
    return make_folder(tmp_path_factory.mktemp("experiments"), warm=True)


@pytest.mark.parametrize(
    "name", [name if name in SOME else pytest.param(name, marks=pytest.mark.exhaustive) for name in CONFIGS]
)
def test_a_killed_sweep_gives_undisturbed_numbers_and_models_that_load(
    name: str, folder: Folder, tmp_path: Path
) -> None:
    for verb, *arguments in preparations(name):
        folder.run(verb, *(shortened(arguments) if verb == "sweep" else arguments))
    with folder.start("sweep", *shortened([f"experiment={name}"]), *OFTEN) as running:
        running.wait_for_round(1)
    folder.run("resume")
    trials = read_journal(folder.sweeps[-1]).trials
    metric = settings_of(name).get("search", {}).get("metric", "loss")
    for trial in trials.values():
        assert trial.status in ("complete", "stopped"), trial.reason
        assert metric in trial.metrics
        assert all(map(math.isfinite, trial.metrics.values()))
        assert trial.facts is not None
        assert (trial.facts.inexact != "") == (name == "digits_callbacks"), trial.facts.inexact
    for best in json.loads(folder.run("best", "latest", "--json").out):
        folder.run("replay", "latest", best["trial"])  # undisturbed and alone; a difference is exit code 4
        export = tmp_path / best["trial"]
        folder.run("best", "latest", "--trial", best["trial"], "--export", str(export))
        scores = run_python(LOAD, str(export), cwd=tmp_path)
        # A callback's metric is not the model's. Threads change the last bits.
        expected = {key: best["metrics"][key] for key in best["metrics"] if key in scores}
        assert scores == pytest.approx(expected, rel=1e-4)
        assert scores or name == "three_models"


def settings_of(name: str) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((REPOSITORY / f"conf/experiment/{name}.yaml").read_text(encoding="utf-8"))
    return found


def preparations(name: str) -> list[list[str]]:
    """The commands that the head of a config's experiment asks for before its own."""
    file = settings_of(name).get("experiment")
    head = (REPOSITORY / file).read_text(encoding="utf-8").split('"""')[1] if file else ""
    return [[verb, *shlex.split(arguments)] for verb, arguments in COMMAND.findall(head)[1:]]


def shortened(arguments: list[str]) -> list[str]:
    """A sweep's arguments, for few trials of a few steps."""
    search = settings_of(arguments[0].partition("=")[2]).get("search", {})
    settings = [*arguments, "fleet.kind=local", "train.epochs=3", "train.steps_per_epoch=6"]
    if search:
        settings += ["search.sampler=random", "search.max_trials=2", "search.min_epochs=1"]  # a grid cannot be cut
    return settings + [f"search.{key}=2" for key in ("folds", "repeats") if key in search]
