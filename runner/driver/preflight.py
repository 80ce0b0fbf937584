"""Finds mistakes in experiments' code while Ray and the workers start, by running it in a process of its own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from multiprocessing import Pipe
from pathlib import Path
from typing import Self

from runner.errors import RunnerError
from runner.records import Failure, Trial

Failures = Mapping[str, Failure | None]
Tried = Callable[[Callable[[Sequence[Trial]], Failures]], object]
_NICENESS = 19
_CODE = "import sys; sys.path[:] = {!r}; from runner.worker.preflight import main; main({})"


class Preflight:
    """Tries experiments' code while Ray and the workers start; nothing waits for its result.

    The process starts when this is entered, so that it imports TensorFlow while the driver reads the config and Ray
    starts, when a core is idle. It lowers its priority once workers start, and ends when they have checked the code.
    """

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._found: RunnerError | None = None
        self._thread: threading.Thread | None = None
        self._gives_way = False

    def __enter__(self) -> Self:
        self._connection, theirs = Pipe()
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-c", _CODE.format(sys.path, theirs.fileno())],
            stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            pass_fds=[theirs.fileno()], start_new_session=True,
        )  # fmt: skip
        theirs.close()
        return self

    def __exit__(self, *exc: object) -> None:
        self.end()

    def look(self, tried: Tried, *, with_gpus: bool) -> None:
        """Starts to try the code if this has been entered; returns at once.

        Args:
            tried: calls the function that it is given for the failures of trials, and raises those of the experiment.
            with_gpus: the workers have GPUs; this process has none.
        """
        if self._process is None:
            return
        self._thread = threading.Thread(target=self._try, args=(tried, with_gpus), name="preflight", daemon=True)
        self._thread.start()

    def check(self) -> None:
        """Raises the mistake that was found, if any; called repeatedly while Ray and the workers start.

        Raises:
            ExperimentError: the mistake.
        """
        if not self._gives_way and self._process is not None and ray_runs():
            _give_way(self._process.pid)
            self._gives_way = True
        if self._found is not None:
            raise self._found

    def end(self) -> None:
        """Ends the process, whatever it is doing."""
        if self._process is not None:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)  # with processes that the experiment's code started
            self._process.communicate()
            if self._thread is not None:
                self._thread.join()
            self._connection.close()
        self._process = self._thread = self._found = None

    def _try(self, tried: Tried, with_gpus: bool) -> None:
        def failures_of(trials: Sequence[Trial]) -> Failures:
            self._connection.send((tuple(trials), with_gpus))
            found: Failures = self._connection.recv()
            return found

        try:
            tried(failures_of)
        except RunnerError as err:
            self._found = err
        except (EOFError, OSError):  # `end` or the experiment's code has ended the process
            return


def ray_runs() -> bool:
    """Whether Ray has started, so that workers start now."""
    ray = sys.modules.get("ray")
    return ray is not None and ray.is_initialized()


def _give_way(pid: int) -> None:
    """Lowers the priority of the process below that of workers, which import TensorFlow now.

    Also that of its session, because Linux may divide CPU time among sessions first.

    Source: sched(7), "The autogroup feature"
    """
    os.setpriority(os.PRIO_PGRP, pid, _NICENESS)  # all of its threads
    with suppress(OSError):  # the kernel lacks the feature, or the process has just ended
        Path(f"/proc/{pid}/autogroup").write_text(str(_NICENESS), encoding="ascii")
