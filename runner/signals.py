"""Ctrl-C and SIGTERM as one exception, and which of the two it was."""

from __future__ import annotations

import signal
from types import FrameType
from typing import Any, NoReturn, Self

_STOPPING = (signal.SIGINT, signal.SIGTERM)


class StopSignals:
    """While open, SIGINT and SIGTERM raise KeyboardInterrupt in the main thread.

    Of all exceptions that a signal may raise, Ray's blocking calls pass on this one alone.
    """

    def __init__(self) -> None:
        self._received = signal.SIGINT
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Self:
        self._before = {number: signal.signal(number, self._interrupt) for number in _STOPPING}
        return self

    def __exit__(self, *exc: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    @property
    def exit_code(self) -> int:
        """What a program ends with that such a signal stopped: 130 or 143."""
        return 128 + self._received

    def _interrupt(self, number: int, _: FrameType | None) -> NoReturn:
        self._received = signal.Signals(number)
        raise KeyboardInterrupt
