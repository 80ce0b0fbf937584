"""Process trees of this machine, and imports without garbage collection."""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator

import psutil
import pytest

from runner.host.processes import descendants, is_running, kill, send, start_of, without_collecting

FAMILY = ["sh", "-c", "sh -c 'sleep 60 & wait' & wait"]


def wait_until(condition: Callable[[], bool], within_s: float = 10.0) -> None:
    deadline_s = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline_s
        time.sleep(0.01)


@pytest.fixture
def family() -> Iterator[subprocess.Popen[bytes]]:
    """A shell with a shell with a `sleep`."""
    with subprocess.Popen(FAMILY) as process:
        wait_until(lambda: len(descendants(process.pid)) == 2)
        members = descendants(process.pid)
        yield process
        process.kill()
        kill(members)


def test_all_processes_below_another_are_listed_parents_first(family: subprocess.Popen[bytes]) -> None:
    shell, sleep = descendants(family.pid)
    assert (shell.ppid(), sleep.ppid()) == (family.pid, shell.pid)
    assert shell.pid in [process.pid for process in descendants(os.getpid())]


def test_they_are_killed_whether_or_not_they_have_ended(family: subprocess.Popen[bytes]) -> None:
    members = descendants(family.pid)
    for _ in range(2):
        kill(members)
        wait_until(lambda: not any(is_running(process.pid) for process in members))
    assert family.wait(10) == 0


def test_a_signal_reaches_the_process_with_that_start_alone(family: subprocess.Popen[bytes]) -> None:
    started = start_of(family.pid)
    assert started is not None
    send(family.pid, started - 1, signal.SIGKILL)
    assert is_running(family.pid)
    send(family.pid, started, signal.SIGKILL)
    wait_until(lambda: not is_running(family.pid))
    assert start_of(family.pid) == started, "a zombie has ended, and keeps its number"
    family.wait()
    send(family.pid, started, signal.SIGKILL)
    assert (start_of(family.pid), descendants(family.pid), is_running(family.pid)) == (None, [], False)


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    yield
    gc.enable()


def test_nothing_is_collected_inside() -> None:
    with without_collecting():
        assert not gc.isenabled()
    assert gc.isenabled()


def test_collection_goes_on_after_an_error() -> None:
    with pytest.raises(ImportError), without_collecting():
        raise ImportError
    assert gc.isenabled()


def test_a_program_that_never_collects_still_does_not() -> None:
    gc.disable()
    with without_collecting():
        pass
    assert not gc.isenabled()


def test_processes_that_proc_hides_are_left_out(
    family: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    hidden = descendants(family.pid)[1].pid
    really = psutil.Process.ppid

    def ppid(process: psutil.Process) -> int:
        if process.pid == hidden:
            raise psutil.AccessDenied(hidden)
        return int(really(process))

    monkeypatch.setattr(psutil.Process, "ppid", ppid)
    assert hidden not in [process.pid for process in descendants(family.pid)]
    assert len(descendants(family.pid)) == 1
