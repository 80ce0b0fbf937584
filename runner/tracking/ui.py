"""Runs MLflow's server for browsers on this machine only."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import sysconfig
import threading
import time
import urllib.request
import webbrowser
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress

from runner.host.signals import StopSignals

_PR_SET_PDEATHSIG = 1
_READY_S, _LOOK_S = 60.0, 0.5  # a server takes seconds to start
_LIBC = ctypes.CDLL(None, use_errno=True)


def server_command(port: int) -> list[str]:
    """The command that serves MLflow's pages on 127.0.0.1, to requests that name this machine.

    MLflow's own list of allowed hosts contains `10.*`, which also allows a name like `10.example.com` that an attacker
    points to 127.0.0.1.
    """
    names = ("127.0.0.1", "localhost")
    hosts, origins = ",".join(f"{name}:{port}" for name in names), ",".join(f"http://{name}:{port}" for name in names)
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    return [*command, "--allowed-hosts", hosts, "--cors-allowed-origins", origins]


def server_environment(store: str, inherited: Mapping[str, str]) -> dict[str, str]:
    """The server's environment. It names the store, because other users can read a process's arguments."""
    kept = {name: value for name, value in inherited.items() if name != "MLFLOW_SERVER_DISABLE_SECURITY_MIDDLEWARE"}
    no_jobs = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}  # seven more processes
    # `python -m`, and uvicorn without a folder, would import a json.py in the current folder instead of Python's.
    own_folder = {"PYTHONSAFEPATH": "1", "UVICORN_APP_DIR": sysconfig.get_path("stdlib")}
    # Of MLflow's own code, which a user cannot change.
    quiet = ",".join(filter(None, (inherited.get("PYTHONWARNINGS"), "ignore:starlette.middleware.wsgi is deprecated")))
    return {**kept, **no_jobs, **own_folder, "PYTHONWARNINGS": quiet, "MLFLOW_BACKEND_STORE_URI": store}


def open_when_ready(address: str, port: int) -> None:
    """Opens a page in the browser as soon as the server of this port answers, from a thread; gives up in time."""

    def wait() -> None:
        for _ in range(int(_READY_S / _LOOK_S)):
            time.sleep(_LOOK_S)
            with suppress(OSError), urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=_LOOK_S):
                webbrowser.open(address)
                return

    threading.Thread(target=wait, name="open-browser", daemon=True).start()


def serve(command: Sequence[str], environment: Mapping[str, str], signals: StopSignals) -> int:
    """Runs a server until it ends or a signal stops this program; returns the server's exit code.

    The server runs in its own session, so that it gets one signal at Ctrl-C: MLflow treats a second one as an error.

    Raises:
        KeyboardInterrupt: a signal stopped the server.
    """
    running: list[subprocess.Popen[bytes]] = []

    def stop() -> None:
        if running:
            running.pop().terminate()

    with signals.deferred(stop):  # a signal during its start would leave it running
        server = subprocess.Popen(command, env=environment, start_new_session=True, preexec_fn=_end_with(os.getpid()))
        running.append(server)
        if signals.requested:
            stop()
        code = server.wait()
    if signals.requested:
        raise KeyboardInterrupt
    return code


def _end_with(parent: int) -> Callable[[], None]:
    """A function that makes the new process end with its parent, even if that is killed. Linux only.

    Source: prctl(2), PR_SET_PDEATHSIG.
    """

    def prepare() -> None:
        _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != parent:  # the parent has died already
            os._exit(1)

    return prepare
