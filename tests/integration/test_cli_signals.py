"""Ctrl-C and SIGTERM: what was trained is recorded, nothing is left behind, and nobody sees a stack trace."""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
import time
from pathlib import Path

import psutil
import pytest
from command_line import Folder, Tracked, ask_each, read_journal
from small_journal import ask, eventually

from runner.fleet.ray import auth

ONE_OF_EACH = ("params.learning_rate=0.003", "params.dropout=0")
SLOW, EXHAUSTIVE = (pytest.mark.ray, pytest.mark.slow), (pytest.mark.ray, pytest.mark.exhaustive)


def members_of_group(group: int) -> list[int]:
    return [process.pid for process in psutil.process_iter() if _group(process.pid) == group]


def _group(pid: int) -> int | None:
    try:
        return os.getpgid(pid)
    except ProcessLookupError:
        return None


def send_to_all(pid: int, number: int) -> None:
    """As a batch system does: no process of the job is left out."""
    family = (psutil.Process(pid), *psutil.Process(pid).children(recursive=True))
    ask_each(family, lambda process: process.send_signal(number))


def has_runs(folder: Folder) -> bool:
    return folder.store.exists() and len(ask(folder.store, "SELECT 1 FROM runs")) == 3


@pytest.mark.parametrize(
    ("number", "send", "fleet"),
    [
        pytest.param(signal.SIGINT, os.killpg, "ray", id="Ctrl-C", marks=pytest.mark.ray),  # as a terminal does
        pytest.param(signal.SIGTERM, send_to_all, "ray", id="end of a batch job with Ray", marks=SLOW),
        pytest.param(signal.SIGHUP, os.killpg, "local", id="closed terminal", marks=pytest.mark.exhaustive),
        pytest.param(signal.SIGINT, os.kill, "local", id="SIGINT", marks=pytest.mark.exhaustive),
        pytest.param(signal.SIGTERM, send_to_all, "local", id="end of a batch job", marks=pytest.mark.exhaustive),
        pytest.param(signal.SIGHUP, os.killpg, "ray", id="closed terminal with Ray", marks=EXHAUSTIVE),
    ],
)
def test_a_signal_ends_the_sweep_and_loses_nothing(folder: Folder, number: int, send: object, fleet: str) -> None:
    with folder.start("sweep", "train.epochs=2000", "train.compile=graph", f"fleet.kind={fleet}") as running:
        running.wait_for_round(3)
        eventually(lambda: has_runs(folder), within_s=60.0)  # MLflow's store is new, and is being made
        family = running.descendants()
        if send is os.kill:
            assert f"in use by process {running.process.pid}" in folder.run("sync", code=2).err
        began = time.monotonic()
        send(running.process.pid, number)  # type: ignore[operator]
        ended = running.finish(128 + number)
    print(f"ended {time.monotonic() - began:.1f} s after the signal")
    assert time.monotonic() - began < 10.0
    assert ended.err.endswith("stopped by a signal\n")
    assert "Traceback" not in ended.everything
    assert "SIGTERM" not in ended.everything, "Ray's own handler prints a stack trace"
    _, alive = psutil.wait_procs(family, timeout=5.0)
    assert not alive
    eventually(lambda: not members_of_group(running.process.pid), within_s=5.0)  # killed, and not yet reaped

    (sweep,) = folder.sweeps
    record = read_journal(sweep)
    assert record.sweep.status == "killed"
    assert f"to go on with it:  python -m runner resume {sweep.name}\n" in ended.out
    begun = [trial for trial in record.trials.values() if trial.metrics]
    first = max(begun, key=lambda trial: trial.metrics["val_accuracy"])
    assert f"(trial {first.id})" in folder.run("list").out, "also of trials without a model"
    assert {trial.status for trial in record.trials.values()} == {"killed"}
    kept = {path.parent.name: int(path.name) for path in sweep.glob("snapshots/*/*")}
    last = {trial: max(t.round for t in record.turns if t.trial == trial) for trial in ("000", "001")}
    assert kept == {trial: number + 1 for trial, number in last.items()}, "nothing has to be repeated"
    tracked = Tracked(folder, record.sweep.id)
    assert tracked.parent.info.status == "KILLED"
    assert set(tracked.children) == {"000", "001"}
    for trial_id, run in tracked.children.items():
        assert run.info.status == "KILLED"
        rows = record.shown(trial_id)
        assert tracked.history(trial_id) == rows
        assert len(rows) >= 3


@pytest.mark.ray
@pytest.mark.parametrize(
    ("number", "send"),
    [pytest.param(signal.SIGINT, os.killpg, marks=pytest.mark.slow), (signal.SIGTERM, os.kill)],
)
def test_a_signal_while_workers_start_leaves_nothing(folder: Folder, number: int, send: object) -> None:
    with folder.start("sweep") as running:
        running.read_until("starting workers")
        time.sleep(1.0)  # Ray is starting
        family = running.descendants()
        send(running.process.pid, number)  # type: ignore[operator]
        ended = running.finish(128 + number)
    assert ended.err == "stopped by a signal\n"
    _, alive = psutil.wait_procs(family, timeout=5.0)
    assert not alive
    eventually(lambda: not members_of_group(running.process.pid), within_s=5.0)  # killed, and not yet reaped
    assert not folder.sweeps
    assert not folder.store.exists()


@pytest.mark.slow
@pytest.mark.ray
def test_a_second_signal_ends_everything_at_once_and_the_sweep_can_go_on(folder: Folder) -> None:
    arguments = ("train.epochs=20", "train.steps_per_epoch=20000", "train.batch_size=1", "params.units=32")
    with folder.start("sweep", *arguments, "params.dropout=0", "params.learning_rate=0.001,0.002") as running:
        running.wait_for_round(1)
        family = running.descendants()
        lines = ask_each(family, lambda process: (process, "".join(process.cmdline())))
        workers = [process for process, line in lines if "RayWorker" in line]
        assert len(workers) == 2
        for process in workers:
            process.suspend()  # a worker that does not answer keeps the first signal waiting
        os.killpg(running.process.pid, signal.SIGINT)
        time.sleep(1.0)
        began = time.monotonic()
        os.killpg(running.process.pid, signal.SIGINT)
        ended = running.finish(130)
        assert time.monotonic() - began < 5.0, "the suspended workers were waited for"
    assert "stopped at once by a second signal" in ended.err
    _, alive = psutil.wait_procs(family, timeout=5.0)
    assert not alive
    (sweep,) = folder.sweeps
    assert read_journal(sweep).sweep.status == "running", "as after a power cut: `resume` goes on"


@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.parametrize(
    "by", ["the folder of the next Ray", pytest.param("the next sweep", marks=pytest.mark.exhaustive)]
)
def test_a_killed_driver_leaves_no_process_and_its_files_are_removed(
    by: str, folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    private = {"TMPDIR": tempfile.mkdtemp(dir="/tmp")}  # short: Ray's sockets are below it
    try:
        with folder.start("sweep", "train.epochs=2000", env=private) as running:
            running.wait_for_round(1)
            family = running.descendants()
            assert {"ray::DashboardAgent", "ray::RuntimeEnvAgent"} <= set(ask_each(family, psutil.Process.name))
            running.process.kill()
            _, alive = psutil.wait_procs(family, timeout=10.0)
            assert not alive
        (left,) = Path(private["TMPDIR"]).glob("lsr-*")
        if by == "the next sweep":
            folder.run("sweep", "params.units=4", *ONE_OF_EACH, "train.epochs=1", env=private)
        else:
            monkeypatch.setenv("TMPDIR", private["TMPDIR"])
            with auth._private_folder():
                pass
        assert not left.exists()
        assert not list(Path(private["TMPDIR"]).glob("*lsr-*"))
    finally:
        shutil.rmtree(private["TMPDIR"])
