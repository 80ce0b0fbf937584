"""Examines an experiment in a process of its own, so that this one imports no TensorFlow and survives any code."""

from __future__ import annotations

import faulthandler
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping
from contextlib import suppress
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path
from tempfile import TemporaryDirectory

from runner.config import Config
from runner.driver.context import Context
from runner.driver.examine import examine
from runner.errors import ExperimentError, RunnerError
from runner.records import Examined, Source
from runner.views.watchers import Silent

_CODE = "import sys; sys.path[:] = {!r}; from runner.driver.apart import main; main({})"
_FRAME = re.compile(r'^  File "(.+)", line (\d+) in (.+)$', re.MULTILINE)  # as faulthandler writes it


def examine_apart(config: Config, environment: Mapping[str, str], sources: Mapping[str, Source]) -> Examined:
    """As `examine`, in a process that ends with it and leaves nothing behind.

    Raises:
        ConfigError, ExperimentError: as `examine`.
        ExperimentError: the experiment's code has ended the process.
    """
    context = Context(watcher=Silent(), environment=environment)
    ours, theirs = Pipe()
    with TemporaryDirectory(prefix="lockstep-runner-") as folder, Path(folder, "errors").open("w+b") as errors:
        process = subprocess.Popen(
            [sys.executable, "-P", "-c", _CODE.format(sys.path, theirs.fileno())],
            stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=errors,
            env={**environment, "TMPDIR": folder}, pass_fds=[theirs.fileno()], start_new_session=True,
        )  # fmt: skip
        theirs.close()
        try:
            ours.send((config, Path(folder), dict(sources)))
            answer: Examined | RunnerError = ours.recv()
        except (EOFError, OSError):
            errors.seek(0)
            raise _ended(config, process.wait(), context.masked(errors.read().decode(errors="replace"))) from None
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)  # with processes that the experiment's code started
            process.communicate()
            ours.close()
    if isinstance(answer, RunnerError):
        raise answer
    return answer


def _ended(config: Config, code: int, said: str) -> ExperimentError:
    """The error that the experiment's code has ended the process, with its place if it crashed."""
    how = (
        f"its code ended the process of the check ({f'exit code {code}' if code >= 0 else signal.Signals(-code).name})"
    )
    experiments = [config.experiment, *(member.experiment for member in config.members.values())]
    names = {str(Path(name).absolute()): name for name in experiments if name is not None}
    for file, line, function in _FRAME.findall(said):
        if file in names:
            return ExperimentError(f"{names[file]}:{line}: {function}: {how}", said)
    return ExperimentError(f"{config.name}: {how}", said)


def main(descriptor: int) -> None:
    """Receives a config, a folder and the code of functions, and replies with what was found, or with the error.

    Args:
        descriptor: of the connection to the process that asks.
    """
    os.set_inheritable(descriptor, False)
    faulthandler.enable()  # a crash in C shows the line of Python
    asker = os.dup(0)
    with open(os.devnull, "rb") as nothing:
        os.dup2(nothing.fileno(), 0)  # so that code which asks a question gets an EOFError, and never waits
    threading.Thread(target=_end_with_asker, args=(asker,), daemon=True).start()
    connection = Connection(descriptor)
    config, folder, sources = connection.recv()
    context = Context(watcher=Silent(), environment=dict(os.environ))
    try:
        connection.send(examine(config, context, folder, sources))
    except RunnerError as err:
        connection.send(err)


def _end_with_asker(asker: int) -> None:
    """Ends this process, and those that it started, when the other one has ended, which holds the pipe's other end."""
    while os.read(asker, 1):
        pass
    os.killpg(0, signal.SIGKILL)
