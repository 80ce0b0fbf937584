"""Mistakes in an experiment's code, found while Ray and the workers start: the same code in a process of its own."""

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
    """Tries experiments' code while Ray and the workers start; nobody waits for what it finds.

    Its process begins with this, so that it imports TensorFlow while the driver reads the config and Ray starts, which
    leaves a core idle. It gives way once workers start, and ends when they have checked the same code.
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
        """Begins to try the code, if this has been entered; returns at once.

        Args:
            tried: asks the function that it is given for trials' failures, and raises if one is the experiment's own.
            with_gpus: the workers will have GPUs; the process has none.
        """
        if self._process is None:
            return
        self._thread = threading.Thread(target=self._try, args=(tried, with_gpus), name="preflight", daemon=True)
        self._thread.start()

    def check(self) -> None:
        """Returns at once; called again and again while Ray and the workers start.

        Raises:
            ExperimentError: what has been found so far.
        """
        if not self._gives_way and self._process is not None and _workers_start():
            _give_way(self._process.pid)
            self._gives_way = True
        if self._found is not None:
            raise self._found

    def end(self) -> None:
        """Ends the process, whatever it does; nothing is found any more."""
        if self._process is not None:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)  # what the experiment's code has started, too
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
        except (EOFError, OSError):  # the process has ended: by `end`, or by the experiment's own code
            return


def _workers_start() -> bool:
    ray = sys.modules.get("ray")
    return ray is not None and ray.is_initialized()


def _give_way(pid: int) -> None:
    """Workers, which import TensorFlow now, come first.

    Where Linux shares the processor out among sessions, the process' own weighs no more than the process.

    Source: sched(7), "The autogroup feature"
    """
    os.setpriority(os.PRIO_PGRP, pid, _NICENESS)  # all of its threads
    with suppress(OSError):  # there is no such feature, or the process has just ended
        Path(f"/proc/{pid}/autogroup").write_text(str(_NICENESS), encoding="ascii")
