"""A sweep's own MPS daemon ends with its driver, however that ends. The daemon is a stand-in."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from runner.errors import MpsError
from runner.host.mps import clients_of
from runner.host.mps_daemon import MpsDaemon
from tests.mps_stand_in import write_control

DRIVER = """
import time
from runner.host.mps_daemon import MpsDaemon
print(MpsDaemon().start(()), flush=True)
time.sleep(60)
"""


@pytest.fixture(autouse=True)
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    return write_control(tmp_path)


def daemons(program: Path) -> list[psutil.Process]:
    return [one for one in psutil.process_iter(["cmdline"]) if str(program) in (one.info["cmdline"] or [])]


def wait_for(done: Callable[[], bool]) -> None:
    until = time.monotonic() + 15
    while not done():
        assert time.monotonic() < until
        time.sleep(0.05)


@pytest.mark.parametrize("leaves_server", [False, True])
def test_it_serves_from_a_private_folder_until_it_is_ended(
    program: Path, monkeypatch: pytest.MonkeyPatch, leaves_server: bool
) -> None:
    if leaves_server:
        monkeypatch.setenv("MPS_LEAVES_SERVER", "1")
    daemon = MpsDaemon()
    pipes = Path(daemon.start(()))
    try:
        assert [folder.stat().st_mode & 0o777 for folder in (pipes, pipes.parent, pipes.parent / "log")] == [0o700] * 3
        assert daemon.start(()) == str(pipes), "one is enough"
        assert clients_of(str(pipes), os.environ) == set()
        (pipes / "clients").write_text("17\n4711\n")
        assert clients_of(str(pipes), os.environ) == {17, 4711}
        assert len(daemons(program)) == 2
    finally:
        daemon.end()
    assert not daemons(program)
    assert not pipes.parent.exists()
    assert clients_of(str(pipes), os.environ) is None


def test_one_that_does_not_start_says_why(program: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MPS_FAILS", "1")
    with pytest.raises(MpsError, match="exit code 1: no GPU can be used"):
        MpsDaemon().start(())
    assert not list(program.parent.glob("lsr-mps-*"))


def test_a_killed_driver_leaves_no_daemon_and_no_folder(program: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", DRIVER], stdout=subprocess.PIPE, text=True) as driver:
        assert driver.stdout is not None
        folder = Path(driver.stdout.readline().strip()).parent
        assert len(daemons(program)) == 2
        driver.kill()
    wait_for(lambda: not daemons(program) and not folder.exists())


def test_what_a_killed_guard_left_is_removed_by_the_next_one(program: Path) -> None:
    first, second = MpsDaemon(), MpsDaemon()
    left = Path(first.start(())).parent
    assert first._guard is not None
    os.kill(first._guard.pid, signal.SIGKILL)
    first._guard.wait()
    wait_for(lambda: len(daemons(program)) <= 1)  # Linux ends the daemon with its guard
    try:
        assert Path(second.start(())).parent != left
        assert not left.exists()
    finally:
        second.end()
        for server in daemons(program):  # of the stand-in, which does not end with its daemon
            server.kill()
