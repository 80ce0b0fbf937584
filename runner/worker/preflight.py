"""Finds errors in experiments' code early, in a process that has no slot and trains nothing.

`runner.driver.preflight` starts it before any worker, and sends it trials to try.
"""

from __future__ import annotations

import os
import re
import signal
import sys
import threading
from collections.abc import Callable, Iterable
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING

from runner.records import Allocation, Failure, Trial

if TYPE_CHECKING:
    from runner.worker.worker import Worker

_OF_THIS_PROCESS = frozenset({"disk", "oom"})  # kinds of failure that may not happen in a worker
_SPEAKS_OF_DEVICES = re.compile("gpu|cuda|device", re.IGNORECASE)
_ON_ANY_DEVICE = ("IndentationError", "SyntaxError")
# Python's audit events of actions outside this process. Writing to a file is one more.
_OUTSIDE = frozenset({
    *("os.exec", "os.fork", "os.forkpty", "os.posix_spawn", "os.spawn", "os.system", "subprocess.Popen"),
    *("socket.bind", "socket.connect", "socket.sendto", "urllib.Request"),
    *("os.link", "os.mkdir", "os.remove", "os.rename", "os.rmdir", "os.symlink", "shutil.rmtree"),
})  # fmt: skip


def main(descriptor: int) -> None:
    """Receives trials and replies with certain failures by trial, until the driver ends.

    Args:
        descriptor: of the connection to the driver, which sends trials and whether their workers will have GPUs. This
            process has none.
    """
    os.set_inheritable(descriptor, False)
    with suppress(OSError):  # if memory runs out, the kernel should kill this process first
        Path("/proc/self/oom_score_adj").write_text("1000", encoding="ascii")
    _end_with_driver()
    connection = Connection(descriptor)
    from runner.worker import startup

    startup.configure(Allocation(num_cpus=1))
    from runner.worker.printed import Descriptors, Output
    from runner.worker.worker import Worker

    output = Output(Descriptors())
    sys.dont_write_bytecode = True
    sys.addaudithook(_leave_to_workers)
    while True:
        trials, with_gpus = connection.recv()
        connection.send(failures(lambda: Worker(output=output), trials, with_gpus))


def failures(new_worker: Callable[[], Worker], trials: Iterable[Trial], with_gpus: bool) -> dict[str, Failure | None]:
    """Failures that are certain to happen in a worker too, by trial; None if that is not certain.

    Args:
        new_worker: creates a worker that has imported no experiment.
        trials: each is tried by itself.
        with_gpus: the trials' workers will have GPUs. This process has none.
    """
    found = [(trial, _failure(new_worker, trial)) for trial in trials]
    return {
        trial.id: failure if failure and _is_certain(failure, trial, with_gpus) else None for trial, failure in found
    }


def _failure(new_worker: Callable[[], Worker], trial: Trial) -> Failure | None:
    """Why `build_model` fails. If it does, it is called again as in a worker: after `load_data`, in a new module.

    `load_data` may create something that `build_model` needs.
    """
    failure = new_worker().build(trial)
    if failure is None or failure.kind != "build":
        return failure
    worker = new_worker()
    loaded = worker.load(trial)
    return loaded if isinstance(loaded, Failure) else worker.build(trial)


def _is_certain(failure: Failure, trial: Trial, with_gpus: bool) -> bool:
    """Whether the failure does not depend on memory, disks or GPUs, which workers may have."""
    if failure.kind in _OF_THIS_PROCESS:
        return False
    if not with_gpus or failure.message.startswith(_ON_ANY_DEVICE):
        return True
    return not any(_SPEAKS_OF_DEVICES.search(text) for _, text in trial.source.files)


def _leave_to_workers(event: str, arguments: tuple[object, ...]) -> None:
    """Ends this process before an experiment's code downloads, writes or starts anything.

    Otherwise a worker that runs the same code at the same time could find a file that is half written.

    Source: https://docs.python.org/3/library/audit_events.html
    """
    if event in _OUTSIDE or (event == "open" and _writes(arguments)):
        os._exit(0)


def _writes(arguments: tuple[object, ...]) -> bool:
    path, _, flags = arguments
    return isinstance(flags, int) and bool(flags & (os.O_WRONLY | os.O_RDWR)) and path != os.devnull


def _end_with_driver() -> None:
    """Ends this process with the driver, which holds the other end of standard input as long as it lives."""

    def wait() -> None:
        while os.read(0, 1):
            pass
        os.killpg(0, signal.SIGKILL)  # with the processes that the experiment's code has started

    threading.Thread(target=wait, daemon=True).start()
