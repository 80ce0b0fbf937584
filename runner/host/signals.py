"""Ctrl-C, SIGTERM and a closed terminal: the first ends the program in good order, the second at once."""

from __future__ import annotations

import contextlib
import os
import signal
import stat
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from types import FrameType
from typing import Any, Self, TypeVar

from runner.errors import Interrupted
from runner.host.output import silence
from runner.host.processes import below, kill

T = TypeVar("T")
_STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_ECHO_S = 0.2  # a terminal and `timeout` may send one signal to the group and once more to the process


class StopSignals:
    """While open, SIGINT, SIGTERM and SIGHUP stop the program; not a SIGHUP that `nohup` has it ignore.

    The first raises `Interrupted`, a KeyboardInterrupt, in the main thread: of all exceptions that a signal may raise,
    Ray's blocking calls pass on this one alone. Inside of `deferred` it is told instead. The second kills every process
    below this one and ends it, without a word to anybody: what is on the disk is whole at any moment. A SIGHUP is never
    that second one: a terminal that closes tells it more than once, and does not mean haste.
    """

    def __init__(self) -> None:
        self._received: signal.Signals | None = None
        self._received_s = 0.0
        self._tell: Callable[[], None] | None = None
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Self:
        ignored = signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
        heeded = [number for number in _STOPPING if not (ignored and number == signal.SIGHUP)]
        self._before = {number: signal.signal(number, self._stop) for number in heeded}
        return self

    def __exit__(self, *exc: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    @property
    def requested(self) -> bool:
        """True once a signal has come."""
        return self._received is not None

    @property
    def exit_code(self) -> int:
        """What a program ends with that such a signal stopped: 129, 130 or 143."""
        return 128 + (self._received or signal.SIGINT)

    @contextmanager
    def deferred(self, tell: Callable[[], None]) -> Iterator[None]:
        """Inside, the first signal calls `tell`, in its handler, and whoever is inside asks `requested`."""
        self._tell = tell
        try:
            yield
        finally:
            self._tell = None

    def _stop(self, number: int, _: FrameType | None) -> None:
        now_s = time.monotonic()
        if number == signal.SIGHUP:
            _silence_where_nobody_is()
        if self._received is not None:
            if number != signal.SIGHUP and now_s - self._received_s > _ECHO_S:
                _end_at_once(128 + number)
            return
        self._received, self._received_s = signal.Signals(number), now_s
        if self._tell is None:
            raise Interrupted
        self._tell()


def uninterrupted(call: Callable[[], T]) -> T:
    """Calls it where no signal raises, in a thread of its own; what one raises here meanwhile waits for its end."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(call).result()


def _silence_where_nobody_is() -> None:
    """What is printed from now on goes nowhere where the terminal is gone: writing to that is an error."""
    for descriptor in (1, 2):
        with contextlib.suppress(OSError):
            if stat.S_ISCHR(os.fstat(descriptor).st_mode) and not os.isatty(descriptor):
                silence(descriptor)


def _end_at_once(exit_code: int) -> None:
    """Ends every process below this one, parents first so that they start no other, and then this one."""
    kill(below(os.getpid()))
    os.write(2, b"stopped at once by a second signal\n")
    os._exit(exit_code)
