"""A first look at experiments' code, in a real process of its own: what it finds, what it leaves to the workers."""

from __future__ import annotations

import pickle
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from command_line import environment
from small_journal import eventually

from runner.driver.check import refuse_mistakes
from runner.driver.preflight import Preflight
from runner.errors import ExperimentError
from runner.host.processes import start_of
from runner.records import Failure, Trial

HEAD = """
import keras, numpy as np, tensorflow as tf
STATE = {}
def load_data():
    STATE["units"] = 4
    x = np.zeros((8, 2), "float32")
    return (x, x[:, 0]), (x, x[:, 0])
"""
SOUND = """
def build_model(units=4):
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(units)])
    model.compile("adam", "mse")
    return model
"""
CACHED = """
@functools.cache
def size():
    return STATE.get("units", 0)
"""
CODE = {
    "sound": SOUND,
    "state of load_data": SOUND.replace("units)", "STATE['units'])"),
    "raises": SOUND.replace("Dense(units)", "Dense(units, activation='relux')"),
    "raises for 1": SOUND.replace("    model =", "    assert units != 1, 'one is too few'\n    model ="),
    "asks for a GPU": SOUND.replace("    model =", "    assert tf.config.list_physical_devices('GPU')\n    model ="),
    "cached": "import functools\n" + SOUND.replace("units)", "size())") + CACHED,
    "misspells": SOUND.replace("model.compile", "modle.compile"),
    "is not compiled": SOUND.replace('    model.compile("adam", "mse")\n', ""),
    "prints": SOUND.replace("    model =", "    print('about to fail')\n    raise ValueError('failed')\n    model ="),
    "memory": SOUND.replace("    model =", "    raise MemoryError('too much')\n    model ="),
    "import": SOUND + "\nraise RuntimeError('at import')\n",
}


@pytest.fixture(scope="module")
def experiments(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("experiments")
    for name, code in CODE.items():
        (folder / f"{name.replace(' ', '_')}.py").write_text(HEAD + code, encoding="utf-8")
    return folder


@pytest.fixture
def trials_of(experiments: Path, make_trial: Any) -> Any:
    def make(*names: str) -> dict[str, Trial]:
        paths = {name: experiments / f"{name.replace(' ', '_')}.py" for name in names}
        return {n: make_trial(path=path, params={}, id=f"{i:03d}") for i, (n, path) in enumerate(paths.items())}

    return make


def first_look(trials: list[Trial], with_gpus: bool) -> dict[str, Failure]:
    found: dict[str, Failure] = {}
    done = threading.Event()

    def tried(failures_of: Any) -> None:
        found.update({trial_id: failure for trial_id, failure in failures_of(trials).items() if failure})
        done.set()

    with Preflight() as preflight:
        preflight.look(tried, with_gpus=with_gpus)
        assert done.wait(120.0)
    return found


def test_what_fails_in_any_worker_is_found_and_nothing_else(trials_of: Any) -> None:
    trials = trials_of(*CODE)
    found = first_look(list(trials.values()), with_gpus=False)
    failed = {name: found[trial.id] for name, trial in trials.items() if trial.id in found}
    assert failed.keys() == {"raises", "asks for a GPU", "misspells", "is not compiled", "prints", "import"}
    assert "relux" in failed["raises"].message
    assert failed["raises"].place.endswith("raises.py:10")
    assert "not compiled" in failed["is not compiled"].message
    assert "about to fail" in failed["prints"].aside.output
    assert "at import" in failed["import"].message


def test_where_workers_have_gpus_only_what_has_nothing_to_do_with_them_counts(trials_of: Any) -> None:
    trials = trials_of("sound", "asks for a GPU", "misspells", "memory")
    found = first_look(list(trials.values()), with_gpus=True)
    assert found.keys() == {trials["misspells"].id}


def test_a_member_fails_where_its_first_trial_and_its_last_one_do(experiments: Path, make_trial: Any) -> None:
    path, asked = experiments / "raises_for_1.py", []

    def trial(number: int, units: int) -> Trial:
        return make_trial(path=path, params={"units": units}, id=f"{number:03d}", data_params=())

    def failures_of(failing: set[str]) -> Any:
        def tell(trials: list[Trial]) -> dict[str, Failure | None]:
            asked.extend(trial.id for trial in trials)
            failure = {trial_id: Failure(trial_id=trial_id, kind="build", message="no") for trial_id in failing}
            return {trial.id: failure.get(trial.id) for trial in trials}

        return tell

    trials = [trial(0, 1), trial(1, 1), trial(2, 2)]
    refuse_mistakes(trials, failures_of({"000"}))
    refuse_mistakes(trials, failures_of({"002"}))
    assert asked == ["000", "002", "000"]
    with pytest.raises(ExperimentError, match="build_model or its first step failed: no"):
        refuse_mistakes(trials, failures_of({"000", "002"}))


def test_the_error_is_raised_where_the_driver_asks_and_forgotten_at_the_end(trials_of: Any) -> None:
    trial = trials_of("raises")["raises"]
    with Preflight() as preflight:
        preflight.look(lambda failures_of: refuse_mistakes([trial], failures_of), with_gpus=False)
        preflight.check()
        with pytest.raises(ExperimentError, match=r"raises\.py:10: build_model .* relux"):
            eventually(preflight.check, within_s=120.0)
    preflight.check()


TELL = "import os, signal, time\nos.kill(os.getppid(), signal.SIGUSR1)\n"
STUCK = {
    "sleeps": "time.sleep(600)\n",
    "ends its process": "os._exit(3)\n",
    "starts another": "from multiprocessing.util import spawnv_passfds\n"
    "spawnv_passfds(b'/bin/sleep', [b'sleep', b'600'], [3, 4, 5, 6, 7, 8, 9])\n"
    "time.sleep(600)\n",
}
OUTSIDE = {
    "writes": "open('file', 'w')\n",
    "starts a program": "os.system('touch file')\n",
    "forks": "if os.fork() == 0:\n    os._exit(0)\n",
    "downloads": "import urllib.request\nurllib.request.urlopen('http://127.0.0.1:9')\n",
}


HOOKED = "import os, sys\nfrom runner.worker.preflight import _leave_to_workers\nsys.addaudithook(_leave_to_workers)\n"


@pytest.fixture
def preflight_process() -> Callable[[], psutil.Process]:
    """Finds the process that a preflight has started among the children of this one."""
    others = set(psutil.Process().children())

    def find() -> psutil.Process:
        (process,) = set(psutil.Process().children()) - others
        return process

    return find


@pytest.fixture
def heard() -> Iterator[threading.Event]:
    """Set when an experiment's code tells that it runs."""
    event = threading.Event()
    before = signal.signal(signal.SIGUSR1, lambda *_: event.set())
    yield event
    signal.signal(signal.SIGUSR1, before)


@pytest.mark.parametrize("code", STUCK)
def test_it_ends_at_once_whatever_the_code_does(
    tmp_path: Path,
    make_trial: Any,
    heard: threading.Event,
    preflight_process: Callable[[], psutil.Process],
    code: str,
) -> None:
    path = tmp_path / "odd.py"
    path.write_text(TELL + STUCK[code] + HEAD + SOUND)
    trial, found = make_trial(path=path, params={}), []
    with Preflight() as preflight:
        preflight.look(lambda failures_of: found.append(failures_of([trial])), with_gpus=False)
        process = preflight_process()
        eventually(heard.is_set, within_s=120.0)
        time.sleep(0.2)
        family = process.children()
        preflight.check()
        began = time.monotonic()
    assert time.monotonic() - began < 5.0
    eventually(lambda: not any(start_of(one.pid) for one in (process, *family)), within_s=5.0)
    assert len(family) == (code == "starts another")
    assert found == []


@pytest.mark.parametrize("code", OUTSIDE)
def test_code_that_is_about_to_reach_beyond_its_process_ends_it(tmp_path: Path, code: str) -> None:
    ended = subprocess.run(
        [sys.executable, "-B", "-c", HOOKED + OUTSIDE[code] + "print('went on')"], cwd=tmp_path, env=environment(),
        check=True, capture_output=True, text=True,
    )  # fmt: skip
    assert (ended.stdout, ended.stderr) == ("", "")
    assert not (tmp_path / "file").exists()


@pytest.mark.parametrize(
    "code", [pytest.param(code, marks=pytest.mark.slow) if code != "writes" else code for code in OUTSIDE]
)
def test_what_reaches_beyond_the_process_is_left_to_the_workers(
    tmp_path: Path,
    make_trial: Any,
    heard: threading.Event,
    monkeypatch: pytest.MonkeyPatch,
    preflight_process: Callable[[], psutil.Process],
    code: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "odd.py"
    path.write_text(TELL + OUTSIDE[code] + "raise ValueError('found')\n")
    trial, found = make_trial(path=path, params={}), []
    with Preflight() as preflight:
        process = preflight_process()
        preflight.look(lambda failures_of: found.append(failures_of([trial])), with_gpus=False)
        eventually(heard.is_set, within_s=120.0)
        process.wait(20.0)
        preflight.check()
    assert found == []
    assert not (tmp_path / "file").exists()


DRIVER = """
import os, pickle, signal, sys, time
from runner.driver.preflight import Preflight
heard = []
signal.signal(signal.SIGUSR1, lambda *_: heard.append(1))
with Preflight() as preflight:
    preflight.look(lambda failures_of: failures_of(pickle.loads(bytes.fromhex(sys.argv[1]))), with_gpus=False)
    while not heard:
        time.sleep(0.05)
    print(preflight._process.pid, flush=True)
    os._exit(0)
"""


def test_it_ends_with_the_driver(tmp_path: Path, make_trial: Any) -> None:
    path = tmp_path / "odd.py"
    path.write_text(TELL + "time.sleep(600)\n")
    trial = pickle.dumps([make_trial(path=path, params={})]).hex()
    ended = subprocess.run(
        [sys.executable, "-c", DRIVER, trial], cwd=tmp_path, env=environment(), check=True, timeout=120,
        capture_output=True,
    )  # fmt: skip
    eventually(lambda: start_of(int(ended.stdout)) is None, within_s=10.0)
