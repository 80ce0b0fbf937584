"""Commands in processes that are forked with everything imported: imports are most of what a short sweep takes.

A fork server imports TensorFlow and MLflow once and uses nothing of them. Each command is a process of its own, with
its own folder, environment, session and exit code, as if a shell had started it.
"""

from __future__ import annotations

import atexit
import multiprocessing
import multiprocessing.forkserver
import os
import signal
import sys
import tempfile
from collections.abc import Mapping
from multiprocessing.connection import Connection
from multiprocessing.connection import wait as wait_for
from pathlib import Path
from subprocess import TimeoutExpired
from threading import Lock

TESTS = Path(__file__).parent

# Tests start commands from several threads. `os.environ` is one for all of them, and whoever starts a process also
# asks those that have ended for their exit codes: of two threads that read the same code, the second finds none.
_ONE_AT_A_TIME = Lock()


class WarmProcess:
    """A command in a forked process, with the part of `subprocess.Popen` that tests need.

    Args:
        arguments: of `python -m runner`.
        cwd: its working directory.
        env: its environment.
        out: takes standard output.
        errors: the file that takes standard error.
    """

    def __init__(
        self, arguments: tuple[str, ...], cwd: Path, env: Mapping[str, str], out: Connection, errors: Path
    ) -> None:
        context = multiprocessing.get_context("forkserver")
        self._process = context.Process(target=_run, args=(arguments, cwd, dict(env), out, errors))
        with _ONE_AT_A_TIME:
            _ensure_server()
            self._process.start()
        assert self._process.pid is not None
        self.pid: int = self._process.pid

    @property
    def returncode(self) -> int | None:
        """The exit code; None before the end."""
        with _ONE_AT_A_TIME:
            return self._process.exitcode

    def poll(self) -> int | None:
        """The same, looked at now."""
        return self.returncode

    def kill(self) -> None:
        """Kills it."""
        self._process.kill()

    def wait(self, timeout: float | None = None) -> int:
        """Waits for the end; returns the exit code.

        Raises:
            TimeoutExpired: it has not ended in time.
        """
        wait_for([self._process.sentinel], timeout)
        code = self.returncode
        if code is None:
            raise TimeoutExpired(f"process {self.pid}", timeout or 0.0)
        return code


def _ensure_server() -> None:
    """Starts the fork server, once for each process of pytest."""
    multiprocessing.set_forkserver_preload(["warm_imports"])
    before = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = os.pathsep.join([str(TESTS.parent), str(TESTS)])  # it takes no other path from here
    try:
        multiprocessing.forkserver.ensure_running()
    finally:
        del os.environ["PYTHONPATH"]
        if before is not None:
            os.environ["PYTHONPATH"] = before


def _run(arguments: tuple[str, ...], cwd: Path, env: dict[str, str], out: Connection, errors: Path) -> None:
    assert "warm_imports" in sys.modules, "the fork server has not imported it"
    os.setsid()
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(env)
    with open(os.devnull) as nothing, out, open(errors, "w") as file:
        for number, opened in enumerate((nothing, out, file)):
            os.dup2(opened.fileno(), number)
    sys.stdin = sys.__stdin__ = open(0, closefd=False)  # noqa: SIM115
    sys.stdout = sys.__stdout__ = open(1, "w", buffering=1, closefd=False)  # noqa: SIM115
    sys.stderr = sys.__stderr__ = open(2, "w", buffering=1, closefd=False, errors="backslashreplace")  # noqa: SIM115
    sys.argv = ["runner", *arguments]
    sys.path[:] = [str(cwd), *(path for path in sys.path if path and not Path(path).is_relative_to(TESTS))]
    tempfile.tempdir = None  # another environment, another folder
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    from runner.__main__ import main

    try:
        main()
    finally:
        atexit._run_exitfuncs()
