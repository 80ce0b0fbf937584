"""MLflow's server as `ui` runs it: for browsers of this machine, and their requests to it by name."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import sysconfig
from collections.abc import Callable, Mapping, Sequence

from runner.host.signals import StopSignals

_PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None, use_errno=True)


def server_command(port: int) -> list[str]:
    """The command that serves MLflow's pages to browsers of this machine, and to them by this machine's names alone.

    MLflow's own list of hosts has `10.*` in it, and so any page at a name like `10.example.com` that an attacker lets
    point to 127.0.0.1.
    """
    names = ("127.0.0.1", "localhost")
    hosts, origins = ",".join(f"{name}:{port}" for name in names), ",".join(f"http://{name}:{port}" for name in names)
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    return [*command, "--allowed-hosts", hosts, "--cors-allowed-origins", origins]


def server_environment(store: str, inherited: Mapping[str, str]) -> dict[str, str]:
    """The environment of MLflow's server. The store is named here, as other users can read a process's arguments."""
    kept = {name: value for name, value in inherited.items() if name != "MLFLOW_SERVER_DISABLE_SECURITY_MIDDLEWARE"}
    no_jobs = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}  # they would be seven more processes
    # `python -m`, and uvicorn without a folder, would find a json.py of the current folder before Python's.
    own_folder = {"PYTHONSAFEPATH": "1", "UVICORN_APP_DIR": sysconfig.get_path("stdlib")}
    return {**kept, **no_jobs, **own_folder, "MLFLOW_BACKEND_STORE_URI": store}


def serve(command: Sequence[str], environment: Mapping[str, str], signals: StopSignals) -> int:
    """Runs a server until it ends or a signal stops this program; returns the server's exit code.

    It is in a session of its own, so that it gets one signal at Ctrl-C and not two: the second is an error to MLflow.

    Raises:
        KeyboardInterrupt: a signal has come, and the server has ended.
    """
    running: list[subprocess.Popen[bytes]] = []

    def stop() -> None:
        if running:
            running.pop().terminate()

    with signals.deferred(stop):  # a signal that interrupted its start would leave it behind
        server = subprocess.Popen(command, env=environment, start_new_session=True, preexec_fn=_end_with(os.getpid()))
        running.append(server)
        if signals.requested:
            stop()
        code = server.wait()
    if signals.requested:
        raise KeyboardInterrupt
    return code


def _end_with(parent: int) -> Callable[[], None]:
    """What a new process calls to be ended with its parent, also where that is killed. Linux only, as the program is.

    Source: prctl(2), PR_SET_PDEATHSIG.
    """

    def prepare() -> None:
        _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != parent:  # it has died before
            os._exit(1)

    return prepare
