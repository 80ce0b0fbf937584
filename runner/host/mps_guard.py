"""Runs a daemon of NVIDIA's MPS as long as the process that started this one lives.

A separate program: `main(parent)` prints a line of JSON once the daemon listens or has failed, and ends the daemon when
its standard input is closed or its parent has ended, however that was.
"""

from __future__ import annotations

import ctypes
import json
import os
import select
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from runner.host.mps import CONTROL, LOGS, PIPES
from runner.host.private_folder import private_folder
from runner.host.processes import descendants, is_running, kill

PREFIX, _PIPES, _LOG = "lsr-mps-", "p", "log"
_LONGEST = 60  # characters of the path of temporary files; longer ones leave no room for the names of sockets
_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36  # prctl(2)
_START_S, _QUIT_S, _POLL_S, _LOOK_S = 10.0, 3.0, 0.02, 0.5


def main(parent: int) -> None:
    """Runs the daemon until its end.

    Args:
        parent: number of the process that has started this one.
    """
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda *_: sys.exit(1))
    _control_process(_PR_SET_CHILD_SUBREAPER, 1)  # so that the daemon's server is found if the daemon has ended
    with private_folder(_parent_folder(), PREFIX, [_PIPES, _LOG]) as folder, _daemon(folder) as daemon:
        problem = _problem(daemon, folder)
        print(json.dumps({"pipes": str(folder / _PIPES), "problem": problem}), flush=True)
        while problem is None and os.getppid() == parent and daemon.poll() is None:
            if select.select([0], [], [], _LOOK_S)[0]:  # its end, since no process writes to it
                break


def _parent_folder() -> Path:
    own = tempfile.gettempdir()
    return Path(own if len(own) <= _LONGEST else "/tmp")


@contextmanager
def _daemon(folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    """The daemon in the foreground, and its end with everything that it has started."""
    for name in (_PIPES, _LOG):
        (folder / name).mkdir(mode=0o700)
    environment = {**os.environ, PIPES: str(folder / _PIPES), LOGS: str(folder / _LOG)}
    with (folder / _LOG / "output").open("wb") as output:
        daemon = subprocess.Popen(
            [CONTROL, "-f"], env=environment, stdin=subprocess.DEVNULL, stdout=output, stderr=output,
            preexec_fn=lambda: _control_process(_PR_SET_PDEATHSIG, signal.SIGKILL),
        )  # fmt: skip
    try:
        yield daemon
    finally:
        _end(daemon, environment)


def _problem(daemon: subprocess.Popen[bytes], folder: Path) -> str | None:
    """Waits until the daemon listens; why it does not."""
    until = time.monotonic() + _START_S
    while not (folder / _PIPES / "control").exists():
        if daemon.poll() is not None:
            return f"its daemon has ended with exit code {daemon.returncode}{_last_words(folder)}"
        if time.monotonic() > until:
            return f"its daemon does not listen after {_START_S:.0f} s{_last_words(folder)}"
        time.sleep(_POLL_S)
    return None


def _last_words(folder: Path) -> str:
    for file in (folder / _LOG / "output", folder / _LOG / "control.log"):
        lines = file.read_text(encoding="utf-8", errors="replace").split("\n") if file.exists() else []
        if said := [line.strip() for line in lines if line.strip()]:
            return f": {said[-1][:200]}"
    return ""


def _end(daemon: subprocess.Popen[bytes], environment: dict[str, str]) -> None:
    """Asks the daemon to end; then ends it, and its server, by their numbers."""
    with suppress(OSError, subprocess.TimeoutExpired):  # then it is killed
        subprocess.run(
            [CONTROL], input=b"quit\n", env=environment, check=False, timeout=_QUIT_S,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        daemon.wait(_QUIT_S)
    until = time.monotonic() + _QUIT_S
    while (left := [child for child in descendants(os.getpid()) if is_running(child.pid)]) and time.monotonic() < until:
        if daemon.poll() is None or time.monotonic() > until - _QUIT_S / 2:
            kill(left)
        time.sleep(_POLL_S)


def _control_process(option: int, value: int) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(option, value)
