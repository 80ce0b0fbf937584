"""Ctrl-C and SIGTERM: what was trained is recorded, nothing is left behind, and nobody sees a stack trace."""

from __future__ import annotations

import os
import signal
import time

import psutil
import pytest
from command_line import Folder, Tracked, read_journal


def members_of_group(group: int) -> list[int]:
    return [process.pid for process in psutil.process_iter() if _group(process.pid) == group]


def _group(pid: int) -> int | None:
    try:
        return os.getpgid(pid)
    except ProcessLookupError:
        return None


@pytest.mark.parametrize(
    ("number", "send", "fleet"),
    [
        (signal.SIGINT, os.killpg, "ray"),  # as a terminal does
        (signal.SIGINT, os.kill, "local"),
        (signal.SIGTERM, os.kill, "ray"),
    ],
    ids=["Ctrl-C", "SIGINT", "SIGTERM"],
)
def test_a_signal_ends_the_sweep_and_loses_nothing(folder: Folder, number: int, send: object, fleet: str) -> None:
    with folder.start("sweep", "train.epochs=2000", f"fleet.kind={fleet}") as running:
        running.read_until("000 round 3 ")
        family = running.descendants()
        if fleet == "local":
            assert f"still at work in process {running.process.pid}" in folder.run("sync", code=2).err
        began = time.monotonic()
        send(running.process.pid, number)  # type: ignore[operator]
        ended = running.finish(128 + number)
    print(f"ended {time.monotonic() - began:.1f} s after the signal")
    assert time.monotonic() - began < 40.0
    assert ended.err.endswith("stopped by a signal\n")
    assert "Traceback" not in ended.everything
    assert "SIGTERM" not in ended.everything, "Ray's own handler prints a stack trace"
    _, alive = psutil.wait_procs(family, timeout=5.0)
    assert not alive
    assert not members_of_group(running.process.pid)

    (sweep,) = folder.sweeps
    record = read_journal(sweep)
    assert record.sweep.status == "killed"
    assert {trial.status for trial in record.trials.values()} == {"killed"}
    tracked = Tracked(folder, record.sweep.id)
    assert tracked.parent.info.status == "KILLED"
    assert set(tracked.children) == {"000", "001"}
    for trial_id, run in tracked.children.items():
        assert run.info.status == "KILLED"
        rows = sorted((key, step, value) for (trial, key, step), value in record.rows.items() if trial == trial_id)
        assert tracked.history(trial_id) == rows
        assert len(rows) >= 3


@pytest.mark.parametrize(("number", "send"), [(signal.SIGINT, os.killpg), (signal.SIGTERM, os.kill)])
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
    assert not members_of_group(running.process.pid)
    assert not folder.sweeps
    assert not folder.store.exists()
