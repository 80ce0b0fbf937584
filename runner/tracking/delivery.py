"""Repeats sending to a store that is down: when it is tried again, and when that is given up."""

from __future__ import annotations

import math
import sqlite3
import time
from collections.abc import Callable

from runner.errors import TrackingError
from runner.tracking.errors import StoreRefusedError

Clock = Callable[[], float]

_FIRST_PAUSE_S = 0.25
_LONGEST_PAUSE_S = 30.0
_LONGEST_WAITED_FOR_S = 1.0  # while a person waits for the end


class Deadline:
    """How long a store that takes nothing is tried again at the end.

    Args:
        timeout_s: give up when the store has taken nothing for this long.
        taken_s: when the store last took something, by the clock.
        clock: monotonic seconds.
    """

    def __init__(self, timeout_s: float, taken_s: Clock, clock: Clock = time.monotonic) -> None:
        self.timeout_s = timeout_s
        self._taken_s, self._clock = taken_s, clock
        self._began_s = self._deadline_s = math.inf

    def begin(self) -> None:
        """Starts the deadline: until then there is none."""
        self._began_s = self._clock()

    def shorten(self, timeout_s: float) -> None:
        """Gives up after this time, even if the store still takes things."""
        self.timeout_s = min(self.timeout_s, timeout_s)
        self._deadline_s = self._clock() + self.timeout_s

    @property
    def seconds_left(self) -> float:
        """Until the end gives up; negative afterwards."""
        return min(max(self._began_s, self._taken_s()) + self.timeout_s, self._deadline_s) - self._clock()

    def __str__(self) -> str:
        within = f"within {self.timeout_s:g} s"
        return f"nothing more was taken {within}" if math.isinf(self._deadline_s) else f"not done {within}"


class Delivery:
    """Sends, again and again, what a store lacks.

    Args:
        send: sends everything that the store lacks; may be interrupted by an error and repeated.
        on_failure: called with each error, and with whether it is the first one since the store last took everything.
        wait: waits this many seconds.
    """

    def __init__(
        self,
        send: Callable[[], None],
        on_failure: Callable[[Exception, bool], None],
        wait: Callable[[float], object] = time.sleep,
    ) -> None:
        self._send, self._on_failure, self._wait = send, on_failure, wait
        self._failures = 0
        self._error: Exception | None = None

    def attempt(self) -> bool:
        """Sends once; returns whether the store has everything."""
        try:
            self._send()
        except (TrackingError, sqlite3.OperationalError) as err:
            self._error = err
            self._failures += 1
            self._on_failure(err, self._failures == 1)
            return False
        self._error, self._failures = None, 0
        return True

    @property
    def pause_s(self) -> float:
        """Seconds until the next attempt is due: they double with each failure."""
        return min(_FIRST_PAUSE_S * 2.0 ** min(self._failures - 1, 10), _LONGEST_PAUSE_S)

    def finish(self, deadline: Deadline) -> Exception | None:
        """Sends until the store has everything, refuses it, or has taken nothing for too long.

        Returns:
            The last error; None if the store has everything.
        """
        while not self.attempt():
            if isinstance(self._error, StoreRefusedError) or deadline.seconds_left < 0:
                break
            self._wait(max(0.0, min(self.pause_s, _LONGEST_WAITED_FOR_S, deadline.seconds_left)))
        return self._error
