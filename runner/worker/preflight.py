"""A first look at experiments' code, in a process that has no share of the machine and trains nothing.

It is started by `runner.driver.preflight` before any worker is there, and answers the trials that it is sent.
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
from typing import TYPE_CHECKING, Any

from runner.records import Allocation, Failure, Trial

if TYPE_CHECKING:
    from runner.worker.worker import Worker

_OF_THIS_PROCESS = frozenset({"disk", "oom"})  # kinds of failure that a worker need not have
_SPEAKS_OF_DEVICES = re.compile("gpu|cuda|device", re.IGNORECASE)
_ON_ANY_DEVICE = ("IndentationError", "SyntaxError")
# Python's audit events of what reaches beyond this process. Writing to a file is another one.
_OUTSIDE = frozenset({
    *("os.exec", "os.fork", "os.forkpty", "os.posix_spawn", "os.spawn", "os.system", "subprocess.Popen"),
    *("socket.bind", "socket.connect", "socket.sendto", "urllib.Request"),
    *("os.link", "os.mkdir", "os.remove", "os.rename", "os.rmdir", "os.symlink", "shutil.rmtree"),
})  # fmt: skip


def main(descriptor: int) -> None:
    """Answers trials with what fails for certain, by trial, until the driver ends.

    Args:
        descriptor: of the connection to the driver, which sends trials, and whether their workers will have GPUs, which
            this process has not.
    """
    os.set_inheritable(descriptor, False)
    with suppress(OSError):  # if memory runs out, this is what can be spared
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
    """What fails for certain in a worker too, by trial; None of trials of which that cannot be told.

    Args:
        new_worker: makes a worker that has imported no experiment.
        trials: each is tried by itself.
        with_gpus: the trials' workers will have GPUs, which this process has not.
    """
    found = [(trial, _failure(new_worker, trial)) for trial in trials]
    return {
        trial.id: failure if failure and _is_certain(failure, trial, with_gpus) else None for trial, failure in found
    }


def _failure(new_worker: Callable[[], Worker], trial: Trial) -> Failure | None:
    """Why `build_model` fails. If so, it is called once more as in a worker: after `load_data`, in a new module.

    The first function may leave something behind that the second needs.
    """
    failure = new_worker().build(trial)
    if failure is None or failure.kind != "build":
        return failure
    worker = new_worker()
    loaded = worker.load(trial)
    return loaded if isinstance(loaded, Failure) else worker.build(trial)


def _is_certain(failure: Failure, trial: Trial, with_gpus: bool) -> bool:
    """False if the workers' memory, disks or GPUs may make the difference."""
    if failure.kind in _OF_THIS_PROCESS:
        return False
    if not with_gpus or failure.message.startswith(_ON_ANY_DEVICE):
        return True
    return not any(_SPEAKS_OF_DEVICES.search(text) for _, text in trial.source.files)


def _leave_to_workers(event: str, arguments: tuple[Any, ...]) -> None:
    """Ends this process before an experiment's code downloads, writes or starts anything.

    A worker that runs the same code at the same time would meet a file that is half written.

    Source: https://docs.python.org/3/library/audit_events.html
    """
    if event in _OUTSIDE or (event == "open" and _writes(*arguments)):
        os._exit(0)


def _writes(path: object, mode: object, flags: object) -> bool:
    return isinstance(flags, int) and bool(flags & (os.O_WRONLY | os.O_RDWR)) and path != os.devnull


def _end_with_driver() -> None:
    """The driver holds the other end of standard input for as long as it lives, however it ends."""

    def wait() -> None:
        while os.read(0, 1):
            pass
        os.killpg(0, signal.SIGKILL)  # what the experiment's code has started, too

    threading.Thread(target=wait, daemon=True).start()
