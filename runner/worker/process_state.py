"""What of a process an experiment's code may change for whatever runs there later."""

from __future__ import annotations

import builtins
import gc
import locale
import logging
import os
import resource
import signal
import socket
import sys
import threading
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import keras
import numpy as np

from runner.worker import private

_LIMITS = ("RLIMIT_AS", "RLIMIT_CORE", "RLIMIT_CPU", "RLIMIT_DATA", "RLIMIT_FSIZE", "RLIMIT_NOFILE", "RLIMIT_STACK")


@dataclass(frozen=True, kw_only=True, slots=True)
class ProcessState:
    """The state of this process at one moment.

    Args:
        folder: the current folder.
        environment: the environment variables that Python knows.
        path: where Python finds modules.
        threads: Python's threads that run.
        others: everything that cannot be put back, by what it is called.
    """

    folder: str
    environment: Mapping[str, str]
    path: tuple[str, ...]
    threads: frozenset[threading.Thread]
    others: Mapping[str, object]

    @classmethod
    def current(cls) -> ProcessState:
        """The state now."""
        return cls(
            folder=os.getcwd(),
            environment=dict(os.environ),
            path=tuple(sys.path),
            threads=frozenset(threading.enumerate()),
            others=_others(),
        )

    def changes(self, now: ProcessState) -> Iterator[str]:
        """What differs now and cannot be put back, for a person."""
        yield from (f"its thread {thread.name!r} still runs" for thread in now.threads - self.threads)
        yield from (f"it has changed {name}" for name, before in self.others.items() if now.others[name] != before)

    def put_back(self) -> None:
        """Puts the folder, the environment and the path back, and has Python show each warning once more."""
        os.chdir(self.folder)
        for name in os.environ.keys() - self.environment.keys():
            del os.environ[name]
        os.environ.update(self.environment)
        sys.path[:] = self.path
        with warnings.catch_warnings():  # Python then forgets which ones it has shown
            pass


def _others() -> dict[str, object]:
    root = logging.getLogger()
    numbers = sorted(signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP})
    return {
        "signal handlers": tuple(signal.getsignal(number) for number in numbers),
        "a timer": signal.getitimer(signal.ITIMER_REAL)[1],
        "how NumPy treats errors of floating point": tuple(np.geterr().items()),
        "Python's builtins": tuple((name, id(value)) for name, value in vars(builtins).items() if name != "_"),
        "standard streams": (id(sys.stdout), id(sys.stderr), id(sys.excepthook)),
        "the recursion limit": sys.getrecursionlimit(),
        "resource limits": tuple(resource.getrlimit(getattr(resource, name)) for name in _LIMITS),
        "priority or CPUs": (os.getpriority(os.PRIO_PROCESS, 0), frozenset(os.sched_getaffinity(0))),
        "the locale": locale.setlocale(locale.LC_ALL),
        "the timeout of sockets": socket.getdefaulttimeout(),
        "garbage collection": (gc.isenabled(), gc.get_threshold()),
        "the root logger": (root.level, root.manager.disable, tuple(map(id, root.handlers))),
        "Keras' registered objects": tuple(
            (name, id(item)) for name, item in keras.saving.get_custom_objects().items()
        ),
        "TensorFlow's global generator": private.global_generator_state(),
    }
