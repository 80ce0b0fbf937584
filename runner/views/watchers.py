"""Watchers of a sweep, which the use cases speak to instead of printing: a terminal, or none."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

from rich.console import Console

from runner.views.live import Lines, LiveTable, Waiting
from runner.views.progress import Progress


class Terminal:
    """Shows a sweep on a console: a live table if it is a terminal, plain lines otherwise.

    Args:
        console: where a person reads.
    """

    def __init__(self, console: Console) -> None:
        self._console = console

    def say(self, text: str, *, dim: bool = False) -> None:
        """As `SweepWatcher.say`."""
        style = "dim" if dim else None
        self._console.print(text, style=style, markup=False, highlight=False, soft_wrap=True)

    def rounds(self, progress: Progress) -> AbstractContextManager[LiveTable | Lines]:
        """As `SweepWatcher.rounds`."""
        return LiveTable(self._console, progress) if self._console.is_terminal else Lines(self._console, progress)

    @contextmanager
    def waiting(self) -> Iterator[Callable[[str], None]]:
        """As `SweepWatcher.waiting`."""
        with Waiting(self._console) as waiting:
            yield waiting.show


def watcher_for(shows: bool) -> Terminal | Silent:
    """What shows a sweep on standard output, or nothing."""
    return Terminal(Console()) if shows else Silent()


class Silent:
    """Shows nothing, and keeps what was said.

    Attributes:
        said: every line of news.
    """

    def __init__(self) -> None:
        self.said: list[str] = []

    def say(self, text: str, *, dim: bool = False) -> None:
        """As `SweepWatcher.say`."""
        self.said.append(text)

    @contextmanager
    def rounds(self, progress: Progress) -> Iterator[Lines]:
        """As `SweepWatcher.rounds`."""
        yield Lines(Console(quiet=True), progress)

    @contextmanager
    def waiting(self) -> Iterator[Callable[[str], None]]:
        """As `SweepWatcher.waiting`."""
        yield lambda _: None
