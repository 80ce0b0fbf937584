"""Sweeps of functions: of this module, of a script's `__main__`, of a notebook; resumed where there is neither."""

from __future__ import annotations

import linecache
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from barriers import AtBarriers

import runner
from runner.config import load_config
from runner.worker.experiment import Experiment

ROWS = 64
SETTINGS: dict[str, Any] = {
    "space": {"units": [2, 4]},
    "train": {"epochs": 3, "compile": "graph", "steps_per_round": 1},
    "fleet": {"kind": "local"},
    "tracking": {"uri": "sqlite:///m.db"},
    "progress": "none",
}


def scale(x: np.ndarray) -> np.ndarray:
    return (x - x.mean()) / x.std()


def load_numbers(rows: int = ROWS) -> Any:
    x = np.arange(rows, dtype="float32").reshape(-1, 1)
    return (scale(x), scale(x)), (scale(x), scale(x))


def build_dense(units: int = 2) -> Any:
    import keras

    model = keras.Sequential([keras.layers.Input((1,)), keras.layers.Dense(units), keras.layers.Dense(1)])
    model.compile("sgd", "mean_squared_error")
    return model


def build_nothing(units: int = 2) -> Any:
    return scale(None)  # type: ignore[arg-type]


FUNCTIONS: dict[str, Any] = {"load_data": load_numbers, "build_model": build_dense}


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def command(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "runner", *arguments], capture_output=True, text=True, check=False, timeout=300
    )


@pytest.mark.slow
def test_a_stopped_sweep_of_functions_goes_on_in_another_process(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(number: int) -> None:
        if number == 2:
            os.kill(os.getpid(), 2)

    with monkeypatch.context() as patch:
        patch.setattr("runner.api.contexts.watcher_for", lambda shows: AtBarriers(interrupt))
        stopped = runner.sweep(**FUNCTIONS, **SETTINGS)
    assert stopped.status == "killed"
    assert stopped.id.startswith("test_functions-")
    shutil.rmtree("sweeps/.code")  # as `clean` does
    ended = command("resume", stopped.id)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "changed since" not in ended.stdout
    assert set(stopped.trials["epochs"]) == {3}
    again = runner.sweep(**FUNCTIONS, **SETTINGS)
    assert dict(again.trials["loss"]) == dict(stopped.trials["loss"])
    assert command("replay", stopped.id, "001").returncode == 0
    assert command("best", stopped.id, "--export", "exported").returncode == 0
    code = stopped.folder / "code" / "test_functions.py"
    assert Path("exported/source/test_functions.py").read_text() == code.read_text()
    assert "\nROWS = 64\n" in code.read_text()
    (module,) = Path("sweeps/.code").rglob("*.py")
    assert module.read_text() == code.read_text()
    assert [one.id for one in runner.sweeps()] == [again.id, stopped.id]


def test_a_sweeps_config_finds_the_code_in_its_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    result = runner.sweep(**FUNCTIONS, **SETTINGS, name="dense")
    assert result.id.startswith("dense-")
    repeated = runner.sweep(config_dir=result.folder, progress="none")
    assert dict(repeated.trials["loss"]) == dict(result.trials["loss"])
    elsewhere = result.folder.parent.rename("moved").absolute()
    Path("other").mkdir()
    monkeypatch.chdir("other")
    assert load_config(None, [], config_dir=elsewhere / result.id).experiment == str(
        elsewhere / result.id / "code" / "test_functions.py"
    )


def test_a_mistake_in_a_helper_names_the_modules_line_and_the_function() -> None:
    with pytest.raises(runner.RunnerError) as caught:
        runner.sweep(load_data=load_numbers, build_model=build_nothing, **SETTINGS)
    place = str(caught.value).partition(": build_model or its first step failed")[0]
    file, line, function = place.replace(", in ", ":").split(":")
    lines = Path(file).read_text().splitlines()
    assert lines[int(line) - 1] == "    return (x - x.mean()) / x.std()"
    assert (lines[int(line) - 3].split("/")[-1].partition(":")[0], function) == ("test_functions.py", "scale")
    assert not list(Path("sweeps").glob("test*"))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"load_data": load_numbers}, "argument: load_data is given without build_model; give both functions"),
        ({"experiment": "x.py", **FUNCTIONS}, "argument: an experiment's file and functions (load_data, build_model) "),
        ({**FUNCTIONS, "space": {"unitz": [1]}}, "search.space.unitz: the experiment has no such parameter; did you"),
    ],
)
def test_functions_are_given_instead_of_a_file(given: dict[str, Any], message: str) -> None:
    with pytest.raises(runner.ConfigError) as caught:
        runner.sweep(**{**SETTINGS, **given})
    assert message in str(caught.value)


def test_a_notebooks_functions_use_the_modules_and_the_data_beside_it(monkeypatch: pytest.MonkeyPatch) -> None:
    Path("numbers.csv").write_text("1\n2\n3\n4\n")
    Path("beside").mkdir()
    Path("beside/__init__.py").touch()
    Path("beside/factor.txt").write_text("3")
    Path("beside/read.py").write_text(
        "from pathlib import Path\nFACTOR = float((Path(__file__).parent / 'factor.txt').read_text())\n"
    )
    cell = (
        "from beside import read\nimport numpy as np\n"
        "def load_data():\n"
        "    x = read.FACTOR * np.loadtxt('numbers.csv', dtype='float32')\n"
        "    return (x, x), (x, x)\n"
    )
    main = ModuleType("__main__")
    monkeypatch.setitem(sys.modules, "__main__", main)
    monkeypatch.syspath_prepend(".")
    monkeypatch.setitem(linecache.cache, "<cell>", (len(cell), None, cell.splitlines(keepends=True), "<cell>"))
    exec(compile(cell, "<cell>", "exec"), vars(main))
    settings = {**SETTINGS, "space": {"units": [2]}}
    result = runner.sweep(load_data=vars(main)["load_data"], build_model=build_dense, **settings)
    assert result.id.startswith("notebook-")
    files = {path.relative_to(result.folder / "code").as_posix() for path in result.folder.glob("code/**/*.py")}
    assert files == {"notebook.py", "beside/__init__.py", "beside/read.py"}
    del sys.modules["beside"], sys.modules["beside.read"]
    trial = result.best.record.trial
    assert Experiment(trial.source).load_data(trial).train[0].tolist() == [3, 6, 9, 12]


SCRIPT = """\
import keras
import numpy as np

import runner

ROWS = 32
print("began")


def load_data(rows: int = ROWS):
    x = np.ones((rows, 1), "float32")
    return (x, x), (x, x)


def build_model(units: int = 2):
    model = keras.Sequential([keras.layers.Input((1,)), keras.layers.Dense(units), keras.layers.Dense(1)])
    model.compile("sgd", "mean_squared_error")
    return model


result = runner.sweep(
    load_data=load_data, build_model=build_model, space={"units": [1, 2]},
    train={"epochs": 2, "compile": "graph"}, tracking={"uri": "sqlite:///m.db"},
)
print("ended", result.status, len(result.trials))
"""


@pytest.mark.slow
@pytest.mark.ray
def test_a_script_needs_no_guard_because_workers_do_not_run_it() -> None:
    Path("train.py").write_text(SCRIPT)
    ended = subprocess.run(
        [sys.executable, "train.py"], capture_output=True, text=True, check=False, timeout=300,
        env={**os.environ, "PYTHONPATH": str(Path(runner.__file__).parents[1])},
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.splitlines() == ["began", "ended complete 2"]
