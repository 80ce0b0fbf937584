"""Watchers of a sweep, which the use cases speak to instead of printing: a terminal, or none."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol

from rich.console import Console

from runner.records import Failure, Report, Trial, Verdict
from runner.views.live import Lines, LiveTable, Waiting
from runner.views.progress import Progress


class Rounds(Protocol):
    """Shows rounds; `loop.interfaces.Watcher`."""

    def add(self, trials: Sequence[Trial]) -> None:
        """Called after a barrier at which trials joined the sweep."""

    def begin(self, trial_ids: Sequence[str]) -> None:
        """Called as these trials are given their turns of a round."""

    def show(self, reports: Mapping[str, Report | Failure], verdicts: Mapping[str, Verdict]) -> None:
        """Called after each barrier."""


class SweepWatcher(Protocol):
    """Follows a sweep from its first moment to its last."""

    def say(self, text: str, *, dim: bool = False) -> None:
        """A line of news; `dim` if it only says what happens now."""

    def rounds(self, progress: Progress) -> AbstractContextManager[Rounds]:
        """Entered before the first round and left after the last; `progress` is updated by what is shown."""

    def waiting(self) -> AbstractContextManager[Callable[[str], None]]:
        """Entered while the sweep waits; what is entered shows what for, as that changes."""


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

    def rounds(self, progress: Progress) -> AbstractContextManager[Rounds]:
        """As `SweepWatcher.rounds`."""
        return LiveTable(self._console, progress) if self._console.is_terminal else Lines(self._console, progress)

    @contextmanager
    def waiting(self) -> Iterator[Callable[[str], None]]:
        """As `SweepWatcher.waiting`."""
        with Waiting(self._console) as waiting:
            yield waiting.show


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
    def rounds(self, progress: Progress) -> Iterator[Rounds]:
        """As `SweepWatcher.rounds`."""
        yield _Unseen(progress)

    @contextmanager
    def waiting(self) -> Iterator[Callable[[str], None]]:
        """As `SweepWatcher.waiting`."""
        yield lambda _: None


class _Unseen:
    """Updates the progress without showing it."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress

    def add(self, trials: Sequence[Trial]) -> None:
        self._progress.add(trials)

    def begin(self, trial_ids: Sequence[str]) -> None:
        self._progress.begin(trial_ids)

    def show(self, reports: Mapping[str, Report | Failure], verdicts: Mapping[str, Verdict]) -> None:
        self._progress.update(reports, verdicts)
