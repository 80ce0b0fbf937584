"""Sweeps of a session: the second begins at once, sees nothing of the first, and gives a new process's numbers."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from command_line import ask_each

import runner
from runner.errors import RunnerError
from runner.journal import JournalReader

pytestmark = pytest.mark.ray
CODE = """
import os
import keras, numpy as np
SEEN = []
def load_data(leaves: str = ""):
    seen = [len(SEEN), os.environ.get("LEFT", "")]
    if leaves == "global":
        SEEN.append(1)
    if leaves == "environment":
        os.environ["LEFT"] = "something"
    if leaves == "handler":
        import signal
        signal.signal(signal.SIGUSR2, lambda *_: None)
    print("saw", seen)
    x = np.random.default_rng(0).normal(size=(64, 4)).astype("float32")
    return (x, x[:, 0]), (x, x[:, 0])
def build_model(units: int = 4):
    layers = [keras.layers.Dense(units), keras.layers.Dropout(0.3), keras.layers.Dense(1)]
    model = keras.Sequential([keras.layers.Input((4,)), *layers])
    model.compile("adam", "mse")
    return model
"""
SETTINGS: dict[str, Any] = {
    "space": {"units": [2, 4]},
    "train": {"epochs": 3, "compile": "graph"},
    "resources": {"num_cpus": 1, "max_concurrent": 2},
    "progress": "none",
    "tracking": {"uri": "sqlite:///m.db"},
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, tables: None) -> Path:
    folder = tmp_path_factory.mktemp("session")
    (folder / "same.py").write_text(CODE)
    (folder / "other.py").write_text(CODE.replace('"adam"', '"sgd"'))
    return folder


@pytest.fixture(autouse=True)
def _there(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)


@pytest.fixture(scope="module")
def session(folder: Path) -> Iterator[runner.Session]:
    with runner.Session() as session:
        yield session


def pids(result: runner.Result) -> set[int]:
    with JournalReader(result.folder) as reader:
        return {row.turn.pid for row in reader.turns()}


def workers() -> set[int]:
    """The processes of the session's workers."""
    family = psutil.Process().children(recursive=True)
    return {process.pid for process, name in ask_each(family, lambda one: (one, one.name())) if "RayWorker" in name}


def weights(result: runner.Result) -> list[bytes]:
    return [path.read_bytes() for path in sorted((result.folder / "models").glob("*.npz"))]


def saw(result: runner.Result) -> set[str]:
    lines = [line for log in (result.folder / "logs").glob("*.log") for line in log.read_text().splitlines()]
    return {line for line in lines if line.startswith("saw")}


@pytest.fixture(scope="module")
def first(session: runner.Session, folder: Path) -> runner.Result:
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        return session.sweep("same.py", **SETTINGS)


def test_the_second_sweep_uses_the_workers_of_the_first_and_gives_its_numbers(
    session: runner.Session, first: runner.Result
) -> None:
    second = session.sweep("same.py", **SETTINGS)
    assert pids(second) == pids(first)
    assert second.histories.equals(first.histories)
    assert weights(second) == weights(first)
    longer = session.resume(second, more_epochs=1, progress="none")
    assert set(longer.trials["epochs"]) == {4}
    assert pids(longer) == pids(first), "a sweep that goes on has the same code"
    alone = runner.sweep("same.py", **{**SETTINGS, "fleet": {"kind": "local"}})
    assert alone.histories.equals(first.histories)


@pytest.mark.parametrize(
    ("leaves", "is_kept"),
    [
        pytest.param("environment", True, marks=pytest.mark.slow),
        pytest.param("global", False, marks=pytest.mark.slow),
        pytest.param("handler", False, marks=pytest.mark.slow),
    ],
)
def test_nothing_of_a_sweep_is_seen_by_the_next(
    leaves: str, is_kept: bool, session: runner.Session, first: runner.Result, caplog: pytest.LogCaptureFixture
) -> None:
    leaving = session.sweep("same.py", params={"leaves": leaves}, **SETTINGS)
    after = session.sweep("same.py", **SETTINGS)
    assert saw(after) == {"saw [0, '']"}
    assert after.histories.equals(first.histories)
    loading = pids(leaving) - pids(after)  # one worker loads the data for all
    assert len(loading) == (0 if is_kept else 1)
    assert is_kept != ("a worker starts again, because of what the sweep before has left" in caplog.text)


def test_a_mistake_leaves_the_session_usable_and_other_code_runs_in_other_processes(
    session: runner.Session, first: runner.Result
) -> None:
    with pytest.raises(runner.ConfigError, match=r"params\.unit"):
        session.sweep("same.py", params={"unit": 2}, **SETTINGS)
    with pytest.raises(RunnerError, match="one process can have one only"):
        runner.sweep("same.py", **SETTINGS)
    with pytest.raises(runner.ConfigError, match=r"fleet\.address: a session has a Ray of its own"):
        session.sweep("same.py", **{**SETTINGS, "fleet": {"address": "10.0.0.5:6379"}})
    before = workers()
    assert before, "mistakes end no worker"
    running = session.sweep("other.py", block=False, **SETTINGS)
    with pytest.raises(RunnerError, match="trains a sweep already"):
        session.sweep("other.py", **SETTINGS)
    other = running.result()
    assert other.status == "complete"
    assert not other.histories.equals(first.histories)
    assert workers() == pids(other)
    assert not pids(other) & before
    stopped = session.sweep("same.py", block=False, **SETTINGS)
    stopped.stop()
    with pytest.raises(KeyboardInterrupt):  # it was still waiting for its workers
        stopped.result()


@pytest.mark.slow
def test_other_shares_and_dead_workers_mean_new_processes(session: runner.Session, first: runner.Result) -> None:
    before = session.sweep("same.py", **SETTINGS)
    one = session.sweep("same.py", **{**SETTINGS, "resources": {"num_cpus": 2, "max_concurrent": 1}})
    assert not pids(one) & pids(before)
    (pid,) = pids(one)
    psutil.Process(pid).kill()
    again = session.sweep("same.py", **{**SETTINGS, "resources": {"num_cpus": 2, "max_concurrent": 1}})
    assert pid not in pids(again)
    assert again.histories.equals(one.histories)


IN_THE_BACKGROUND = """
import runner
settings = dict(progress="none", tracking={"uri": "sqlite:///m.db"}, name="behind")
with runner.Session() as session:
    running = session.sweep("same.py", block=False, train={"epochs": 3}, **settings)
print(running.result().status, flush=True)
try:
    with runner.Session() as session:
        running = session.sweep("same.py", block=False, train={"epochs": 100000}, **settings)
        while running.progress.phase == "starting":
            pass
        raise ValueError
except ValueError:
    print(running.result().status)
"""


@pytest.mark.slow
def test_the_end_of_a_session_waits_for_a_sweep_in_the_background_and_an_exception_stops_it(folder: Path) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", IN_THE_BACKGROUND], cwd=folder, capture_output=True, text=True, check=False, timeout=200
    )
    assert ended.stdout.split() == ["complete", "killed"], ended.stderr


ALONE = """
import runner, sys
settings = dict(space={"units": [2, 4]}, train={"epochs": 2}, progress="none", tracking={"uri": "sqlite:///m.db"})
with runner.Session() as session:
    session.sweep("same.py", **settings)
    if sys.argv[1] == "raises":
        raise SystemExit(3)
try:
    session.sweep("same.py")
except runner.RunnerError as err:
    print(err)
"""


@pytest.mark.slow
@pytest.mark.parametrize(("how", "code"), [pytest.param("leaves", 0, marks=pytest.mark.exhaustive), ("raises", 3)])
def test_nothing_runs_after_a_session(how: str, code: int, folder: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", ALONE, how], cwd=folder, stdout=subprocess.PIPE, text=True, start_new_session=True,
        env={**os.environ, "SESSION_MARK": f"{how}-{os.getpid()}"},
    )  # fmt: skip
    output, _ = process.communicate(timeout=120)
    assert process.returncode == code
    assert ("the session is not open" in output) == (how == "leaves")
    assert not [one for one in psutil.process_iter() if _has(one, f"{how}-{os.getpid()}")]


def _has(process: psutil.Process, mark: str) -> bool:
    try:
        return process.environ().get("SESSION_MARK") == mark
    except psutil.Error:
        return False


LAST = """
import runner
settings = dict(progress="none", train={"epochs": 2}, tracking={"uri": "sqlite:///m.db"}, name="last")
runner.sweep("same.py", block=False, **settings)
"""


@pytest.mark.slow
def test_a_program_that_ends_waits_for_its_sweep(folder: Path) -> None:
    ended = subprocess.run([sys.executable, "-c", LAST], cwd=folder, capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stderr.count("Error")) == (0, 0), ended.stderr
    result = runner.load("last")
    assert result.status == "complete"
    assert result.review.trials[0].run_id is not None
