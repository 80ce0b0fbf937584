"""A first look at experiments' code, in a process that has no share of the machine and trains nothing.

It is started by `runner.preflight` before any worker is there, and answers the trials that it is sent.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING

from runner.records import Allocation, Failure, Trial

if TYPE_CHECKING:
    from runner.worker.worker import Worker

_OF_THIS_PROCESS = frozenset({"disk", "oom"})  # kinds of failure that a worker need not have
# What is wrong with GPUs and without: here are none, and code may ask for one.
_WITHOUT_GPU = ("AttributeError", "ImportError", "IndentationError", "ModuleNotFoundError", "NameError", "SyntaxError")


def main(descriptor: int) -> None:
    """Answers trials with what fails for certain, by trial, until the driver ends.

    Args:
        descriptor: of the connection to the driver, which sends trials, and whether their workers will have GPUs, which
            this process has not.
    """
    _end_with_driver()
    connection = Connection(descriptor)
    from runner.worker import process

    process.configure(Allocation(num_cpus=1))
    from runner.worker.printed import Descriptors, Output
    from runner.worker.worker import Worker

    worker = Worker(output=Output(Descriptors()))
    while True:
        try:
            trials, with_gpus = connection.recv()
        except EOFError:
            os._exit(0)  # whatever threads the experiment has left
        connection.send(failures(worker, trials, with_gpus))


def failures(worker: Worker, trials: Iterable[Trial], with_gpus: bool) -> dict[str, Failure]:
    """What fails for certain in a worker too, by trial."""
    found = {trial.id: _failure(worker, trial) for trial in trials}
    return {trial_id: failure for trial_id, failure in found.items() if failure and _is_certain(failure, with_gpus)}


def _failure(worker: Worker, trial: Trial) -> Failure | None:
    """A `build_model` that raises may want what `load_data`, which is called before it, has left behind."""
    failure = worker.build(trial)
    if failure is None or failure.kind != "build":
        return failure
    loaded = worker.load(trial)
    return loaded if isinstance(loaded, Failure) else worker.build(trial)


def _is_certain(failure: Failure, with_gpus: bool) -> bool:
    if failure.kind in _OF_THIS_PROCESS:
        return False
    return not with_gpus or failure.message.startswith(_WITHOUT_GPU)


def _end_with_driver() -> None:
    """The driver holds the other end of standard input for as long as it lives, however it ends."""

    def wait() -> None:
        while os.read(0, 1):
            pass
        os._exit(0)

    threading.Thread(target=wait, daemon=True).start()
