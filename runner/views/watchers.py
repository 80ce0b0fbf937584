"""Watchers of a sweep, which the use cases speak to instead of printing: a terminal, Python's `logging`, or none."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Literal

from rich.console import Console

from runner.views.lines import Lines
from runner.views.live import LiveTable, Waiting, can_redraw
from runner.views.notebook import Notebook, in_notebook
from runner.views.progress import Progress

ProgressKind = Literal["auto", "terminal", "notebook", "none"]


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
        has_path = "/" in text  # it stays whole, to be copied; other lines are wrapped between words
        wrap = has_path or not self._console.is_terminal
        self._console.print(text, style=style, markup=False, highlight=False, soft_wrap=wrap)

    def warn(self, text: str) -> None:
        """As `SweepWatcher.warn`."""
        self.say(text)

    def rounds(self, progress: Progress) -> AbstractContextManager[LiveTable | Lines]:
        """As `SweepWatcher.rounds`."""
        return LiveTable(self._console, progress) if can_redraw(self._console) else Lines(self._console, progress)

    @contextmanager
    def waiting(self) -> Iterator[Callable[[str], None]]:
        """As `SweepWatcher.waiting`."""
        with Waiting(self._console, self.say) as waiting:
            yield waiting.show


def watcher_for(progress: ProgressKind, *, in_background: bool = False) -> Terminal | Notebook | Log:
    """What shows a sweep: a terminal, a notebook's cell, or Python's `logging`, which gets what would be said."""
    if progress == "notebook" or (progress == "auto" and in_notebook()):
        return Notebook(in_background=in_background)
    return Terminal(Console()) if progress == "terminal" or (progress == "auto" and sys.stdout.isatty()) else Log()


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

    def warn(self, text: str) -> None:
        """As `SweepWatcher.warn`."""
        self.said.append(text)

    @contextmanager
    def rounds(self, progress: Progress) -> Iterator[Lines]:
        """As `SweepWatcher.rounds`."""
        yield Lines(Console(quiet=True), progress)

    @contextmanager
    def waiting(self) -> Iterator[Callable[[str], None]]:
        """As `SweepWatcher.waiting`."""
        yield lambda _: None


class Log(Silent):
    """Passes on what is said to the logger `runner`: warnings as WARNING, news as INFO, what happens now as DEBUG.

    Python prints warnings to standard error if a program configures no logging.
    """

    def __init__(self) -> None:
        super().__init__()
        self._logger = logging.getLogger("runner")

    def say(self, text: str, *, dim: bool = False) -> None:
        """As `SweepWatcher.say`."""
        self._logger.log(logging.DEBUG if dim else logging.INFO, "%s", text)

    def warn(self, text: str) -> None:
        """As `SweepWatcher.warn`."""
        self._logger.warning("%s", text.removeprefix("warning: "))
