"""Ctrl-C, SIGTERM and a closed terminal: the first signal ends the program cleanly, the second at once."""

from __future__ import annotations

import contextlib
import os
import signal
import stat
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, Self, TypeVar

from runner.errors import Interrupted
from runner.host.output import silence
from runner.host.processes import descendants, kill

T = TypeVar("T")
_STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_ECHO_S = 0.2  # a terminal and `timeout` may signal the group and then the process


class StopRequest:
    """A request to stop, which any thread may make; code inside of `deferred` obeys it."""

    def __init__(self) -> None:
        self._is_made = False
        self._tell: Callable[[], None] | None = None

    @property
    def requested(self) -> bool:
        """True once the request has been made."""
        return self._is_made

    @property
    def insisted(self) -> bool:
        """Whether a second signal has asked to stop at once."""
        return False

    def make(self) -> None:
        """Asks the program to stop at its next step."""
        self._is_made = True
        if self._tell is not None:
            self._tell()

    @contextmanager
    def deferred(self, tell: Callable[[], None]) -> Iterator[None]:
        """Inside, the first request calls `tell`, in its maker's thread, and the code inside asks `requested`."""
        self._tell = tell
        if self._is_made:
            tell()
        try:
            yield
        finally:
            self._tell = None


class StopSignals(StopRequest):
    """While open, SIGINT, SIGTERM and SIGHUP stop the program, except a SIGHUP that `nohup` ignores.

    The first signal raises `Interrupted`, a KeyboardInterrupt, in the main thread, because it is the only exception
    that Ray's blocking calls pass on. Inside of `deferred` it makes the request instead. The second signal kills all
    descendants of this process and ends it at once, which is safe because the files on disk are complete at any moment.
    A SIGHUP never counts as the second, because a terminal that closes sends several.

    Args:
        ends_program: whether the second signal does so; otherwise it raises, because the program is not ours.
    """

    def __init__(self, *, ends_program: bool = True) -> None:
        super().__init__()
        self._ends_program = ends_program
        self._received: signal.Signals | None = None
        self._ending: signal.Signals | None = None
        self._received_s = 0.0
        self._insisted = False
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
    def received(self) -> signal.Signals | None:
        """The first signal; None before it."""
        return self._received

    @property
    def ending(self) -> signal.Signals | None:
        """The last one that is to end the program, and is not Ctrl-C; None if there was none."""
        return self._ending

    @property
    def exit_code(self) -> int:
        """The exit code of a program that such a signal stopped: 129, 130 or 143."""
        return 128 + (self._received or signal.SIGINT)

    def _stop(self, number: int, _: FrameType | None) -> None:
        now_s = time.monotonic()
        if number != signal.SIGINT:
            self._ending = signal.Signals(number)
        if number == signal.SIGHUP:
            _silence_closed_terminal()
        if self._received is not None:
            if number != signal.SIGHUP and now_s - self._received_s > _ECHO_S:
                self._insist(number)
            return
        self._received, self._received_s = signal.Signals(number), now_s
        self.make()
        if self._tell is None:
            raise Interrupted

    @property
    def insisted(self) -> bool:
        """As `StopRequest.insisted`."""
        return self._insisted

    def _insist(self, number: int) -> None:
        self._insisted = True
        if not self._ends_program:
            raise Interrupted
        _end_at_once(128 + number)


def uninterrupted(call: Callable[[], T]) -> T:
    """Runs the call in a thread of its own, so that no signal interrupts it; signals raise after its end."""
    answers: list[T] = []
    errors: list[BaseException] = []
    ended = threading.Event()

    def work() -> None:
        try:
            answers.append(call())
        except BaseException as err:  # raised again below
            errors.append(err)
        finally:
            ended.set()

    threading.Thread(target=work).start()  # an executor takes nothing once the program ends
    try:
        ended.wait()
    finally:
        ended.wait()  # also if a signal has interrupted that
    if errors:
        raise errors[0]
    return answers[0]


def _silence_closed_terminal() -> None:
    """Redirects output to /dev/null if its terminal is gone, because writing to it would be an error."""
    for descriptor in (1, 2):
        with contextlib.suppress(OSError):
            if stat.S_ISCHR(os.fstat(descriptor).st_mode) and not os.isatty(descriptor):
                silence(descriptor)


def _end_at_once(exit_code: int) -> None:
    """Kills all descendants, parents first so that they start no others, and ends this process."""
    kill(descendants(os.getpid()))
    os.write(2, b"stopped at once by a second signal\n")
    os._exit(exit_code)
