"""Shows a running sweep on a terminal: a live table with a bar below it, and a spinner while a person waits."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol, Self

from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from runner.records import Clone, Failure, Report, Trial, Verdict
from runner.views.numbers import duration
from runner.views.progress import Progress
from runner.views.table import summary_line, table_lines

_OTHER_LINES = 4  # of a terminal: the bar, the summary, and what is printed above and below
_BAR = 40  # most characters of the bar
_REDRAWN_PER_S = 1.0  # so that the time left counts down during a long round
_SPINNER_PER_S = 8.0
_BETWEEN_LINES_S = 10.0
_SHOWN_S = 2.0  # a wait that is longer has its time said


class Screen(Protocol):
    """Shows one view, in place of the one before. `rich.live.Live` is such a screen."""

    def start(self) -> None:
        """Called before the first view."""

    def update(self, renderable: RenderableType, *, refresh: bool = False) -> None:
        """Shows a view."""

    def stop(self) -> None:
        """Called after the last."""


def can_redraw(console: Console) -> bool:
    """Whether the console is a terminal that can replace what it shows."""
    return console.is_terminal and not console.is_dumb_terminal


class LiveTable:
    """A table that fits the terminal, with a bar; redrawn at each barrier, when trials begin, and every second.

    Args:
        console: whose size it fits.
        progress: what it shows.
        screen: where it is shown; None for the console.
    """

    def __init__(self, console: Console, progress: Progress, screen: Screen | None = None) -> None:
        self._progress = progress
        self._live = screen or Live(
            console=console, auto_refresh=console.is_interactive, refresh_per_second=_REDRAWN_PER_S, transient=False
        )

    def __enter__(self) -> Self:
        self._live.start()
        self._draw()
        return self

    def __exit__(self, *exc: object) -> None:
        self._draw()
        self._live.stop()

    def begin(self, trial_ids: Sequence[str]) -> None:
        """As `Watcher.begin`."""
        if self._progress.begin(trial_ids):
            self._draw()

    def add(self, trials: Sequence[Trial]) -> None:
        """As `Watcher.add`."""
        self._progress.add(trials)

    def clone(self, trial: Trial, clone: Clone) -> None:
        """As `Watcher.clone`."""
        self._progress.clone(trial, clone)

    def show(self, reports: Mapping[str, Report | Failure], verdicts: Mapping[str, Verdict]) -> None:
        """As `Watcher.show`."""
        self._progress.update(reports, verdicts)
        self._draw()

    def _draw(self) -> None:
        self._live.update(_View(self._progress), refresh=True)


class _View:
    """The table and the bar, made for the size of the terminal at the moment when they are drawn."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        width, blocks = options.max_width, not options.ascii_only and not options.legacy_windows
        yield from table_lines(self._progress, width, max(3, console.size.height - _OTHER_LINES), curves=blocks)
        yield _bar(self._progress, width)
        yield Text(summary_line(self._progress, width), style="dim", no_wrap=True, overflow="ellipsis")


def _bar(progress: Progress, width: int) -> Table:
    share = progress.share_done()
    line = Table.grid(padding=(0, 1))
    bar = ProgressBar(total=1.0, completed=share, width=max(8, min(_BAR, width - 30)))
    line.add_row(bar, Text(f"{share:4.0%}"), Text(f"{duration(progress.elapsed_s)} of training", style="dim"))
    return line


class Waiting:
    """What is awaited and since when: beside a spinner on a terminal, a line when it changes elsewhere.

    Args:
        console: where a person reads.
        clock: monotonic seconds.
        say: prints a line where there is no terminal.
    """

    def __init__(
        self, console: Console, say: Callable[[str], None] | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._console, self._clock, self._say = console, clock, say or console.print
        self._live = Live(console=console, refresh_per_second=_SPINNER_PER_S, transient=True)
        self._text, self._since_s = "", clock()
        self._said_s = self._since_s

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self._live.stop()

    def show(self, text: str) -> None:
        """Shows the current status."""
        if can_redraw(self._console):
            if text != self._text:
                self._text, self._since_s = text, self._clock()
            if not self._live.is_started:
                self._live.start()
                self._live.update(_Awaited(self.line), refresh=True)
        elif self._clock() - self._said_s >= _BETWEEN_LINES_S:
            self._said_s = self._clock()
            self._say(text)

    def line(self) -> str:
        """What is awaited, with its time."""
        passed_s = self._clock() - self._since_s
        return self._text + (f" ({int(passed_s)} s)" if passed_s >= _SHOWN_S else "")


class _Awaited:
    """A spinner and a line whose time counts up."""

    def __init__(self, line: Callable[[], str]) -> None:
        self._line, self._spinner = line, Spinner("dots", style="dim")

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        line = Text(self._line(), style="dim", no_wrap=True)
        line.truncate(max(1, options.max_width - 2), overflow="ellipsis")
        if options.ascii_only:
            yield line
        else:
            self._spinner.update(text=line)
            yield self._spinner
