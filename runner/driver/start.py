"""What may end a sweep while it waits for workers."""

from __future__ import annotations

from collections.abc import Callable

from runner.host.signals import StopRequest


class Start:
    """The time until training begins: a request to stop ends it at once, because there is nothing to snapshot yet.

    Args:
        stop: the request to stop.
        others: raises for other reasons to end, during training too.

    Attributes:
        is_over: training begins; from here on a request to stop ends the round, with snapshots.
    """

    def __init__(self, stop: StopRequest, others: Callable[[], None] = lambda: None) -> None:
        self._stop, self._others = stop, others
        self.is_over = False

    def check(self) -> None:
        """Raises if the start shall end.

        Raises:
            KeyboardInterrupt: the user asked to stop.
            Exception: raised by `others`.
        """
        self._others()
        if self._stop.requested and not self.is_over:
            raise KeyboardInterrupt
