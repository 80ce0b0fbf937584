"""A watcher for tests that act between the barriers of a real sweep."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from runner.loop.interfaces import Watcher
from runner.views.progress import Progress
from runner.views.watchers import Silent


class AtBarriers(Silent):
    """Shows nothing, and calls a function with the number of each barrier, from 1, once the journal has it."""

    def __init__(self, act: Callable[[int], object]) -> None:
        super().__init__()
        self._act, self._barriers = act, 0

    @contextmanager
    def rounds(self, progress: Progress) -> Iterator[Watcher]:
        """As `SweepWatcher.rounds`."""
        with super().rounds(progress) as seen:
            really = seen.show

            def show(reports: Any, verdicts: Any) -> None:
                really(reports, verdicts)
                self._barriers += 1
                self._act(self._barriers)

            seen.show = show  # type: ignore[method-assign]
            yield seen
