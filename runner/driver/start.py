"""What a sweep awaits before it trains, and what may end it there."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from runner.driver.preflight import ray_runs
from runner.host.signals import StopRequest
from runner.views.numbers import count

_CHECKED = "checking the experiment: its model, one step"


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
        self._show: Callable[[str], None] = lambda _: None
        self._workers = 0
        self._is_loading: Callable[[], bool] | None = None
        self._tried = _CHECKED
        self.is_over = False

    @contextmanager
    def shown_by(self, show: Callable[[str], None]) -> Iterator[None]:
        """Inside, a person is shown what is awaited."""
        self._show = show
        yield
        self._show, self._workers, self._is_loading, self._tried = lambda _: None, 0, None, _CHECKED

    def awaits_workers(self, kind: str, workers: int) -> None:
        """Shows that workers start from here on."""
        self._workers = workers
        self._show("starting Ray" if kind == "ray" else "importing TensorFlow")

    def awaits_check(self, is_loading: Callable[[], bool]) -> None:
        """Shows that the workers have started and try the experiment, which begins with its data."""
        self._workers, self._is_loading = 0, is_loading
        self._show("loading the experiment's data and trying its model")

    def awaits_stacks(self) -> None:
        """Shows that the experiment is checked, and stacks of its models are tried."""
        self._tried = "compiling stacks of models and comparing them with models alone"

    def check(self) -> None:
        """Raises if the start shall end.

        Raises:
            KeyboardInterrupt: the user asked to stop.
            Exception: raised by `others`.
        """
        self._others()
        if self._workers and ray_runs():
            self._show(f"starting {count(self._workers, 'worker')}, each of which imports TensorFlow")
        if self._is_loading is not None:
            self._show("loading the data" if self._is_loading() else self._tried)
        if self._stop.requested and not self.is_over:
            raise KeyboardInterrupt
