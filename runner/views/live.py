"""Shows a running sweep: a live table on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol, Self

from rich.cells import cell_len
from rich.console import Console, ConsoleDimensions, Group, JustifyMethod, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from runner.records import Clone, Failure, Report, Trial, Verdict
from runner.views.progress import Progress, Row

_STYLES = {"queued": "dim", "running": "cyan", "complete": "green", "stopped": "yellow", "failed": "bold red"}
_ORDER = ("failed", "running", "stopped", "complete", "queued")
_OTHER_LINES = 7  # of a terminal: the header, the footer, and what is printed above and below
_PADDING = 2
_BETWEEN_LINES_S = 10.0
_NUMBER = 7  # characters of most metrics in four significant digits
_READABLE = 40  # characters of settings that matter more than the optional columns


class Screen(Protocol):
    """Shows one view, in place of the one before. `rich.live.Live` is such a screen."""

    def start(self) -> None:
        """Called before the first view."""

    def update(self, renderable: RenderableType, *, refresh: bool = False) -> None:
        """Shows a view."""

    def stop(self) -> None:
        """Called after the last."""


class LiveTable:
    """A table that fits the terminal; redrawn at each barrier and when trials begin.

    Args:
        console: whose size it fits.
        progress: what it shows.
        screen: where it is shown; None for the console.
    """

    def __init__(self, console: Console, progress: Progress, screen: Screen | None = None) -> None:
        self._console, self._progress = console, progress
        self._live = screen or Live(console=console, auto_refresh=False, transient=False)

    def __enter__(self) -> Self:
        self._live.start()
        self._draw()
        return self

    def __exit__(self, *exc: object) -> None:
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
        view = Group(_table(self._progress, self._console.size), _pace(self._progress))
        self._live.update(view, refresh=True)


class Lines:
    """One line for each turn, for logs and pipes."""

    def __init__(self, console: Console, progress: Progress) -> None:
        self._console, self._progress = console, progress

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        pass

    def begin(self, trial_ids: Sequence[str]) -> None:
        """As `Watcher.begin`."""
        self._progress.begin(trial_ids)

    def add(self, trials: Sequence[Trial]) -> None:
        """As `Watcher.add`."""
        self._progress.add(trials)

    def clone(self, trial: Trial, clone: Clone) -> None:
        """As `Watcher.clone`."""
        self._progress.clone(trial, clone)
        text = f"{trial.id} goes on from {clone.parent} after epoch {clone.epoch}: "
        text += settings_text(self._progress.rows[trial.id])
        self._console.print(text, markup=False, highlight=False, soft_wrap=True)

    def show(self, reports: Mapping[str, Report | Failure], verdicts: Mapping[str, Verdict]) -> None:
        """As `Watcher.show`."""
        self._progress.update(reports, verdicts)
        for trial_id in verdicts:
            self._console.print(_line(self._progress, self._progress.rows[trial_id]), markup=False, soft_wrap=True)


class Waiting:
    """A status line while a person waits: updated in place on a terminal, printed every ten seconds elsewhere."""

    def __init__(self, console: Console, clock: Callable[[], float] = time.monotonic) -> None:
        self._console, self._clock = console, clock
        self._live = Live(console=console, auto_refresh=False, transient=True)
        self._said_s = clock()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self._live.stop()

    def show(self, text: str) -> None:
        """Shows the current status."""
        if self._console.is_terminal:
            self._live.start()
            self._live.update(Text(text, style="dim", no_wrap=True, overflow="ellipsis"), refresh=True)
        elif self._clock() - self._said_s >= _BETWEEN_LINES_S:
            self._said_s = self._clock()
            self._console.print(text, markup=False, highlight=False, soft_wrap=True)


def number(value: float | None) -> str:
    """A metric in four significant digits; a dash for None."""
    return "–" if value is None else f"{value:.4g}"


def duration(seconds: float | None) -> str:
    """Seconds as `1:15` or `2:03:04`; a dash for None."""
    if seconds is None:
        return "–"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def settings_text(row: Row) -> str:
    """The trial's searched settings, `units=64 learning_rate=0.001`."""
    settings, inactive = row.trial.settings, row.trial.inactive
    return " ".join(f"{name}={_short(settings.get(name))}" for name in row.trial.searched if name not in inactive)


def _short(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _table(progress: Progress, size: ConsoleDimensions) -> Table:
    rows, leaders = list(progress.rows.values()), progress.best_so_far()
    shown = _visible(rows, max(3, size.height - _OTHER_LINES))
    names = _fitting_columns(progress, size.width)
    table = Table(box=None, padding=(0, 1), header_style="bold", expand=True)
    for name in names:
        number_column = name not in ("trial", "state")
        justify: JustifyMethod = "right" if number_column else "left"
        table.add_column(name, no_wrap=True, justify=justify, min_width=_width(progress, name))
    table.add_column("settings", ratio=1)  # the only column that shrinks; each of its cells is one line
    for row in shown:
        cells, tail = _cells(row, progress.metric), row.message if row.state == "failed" else settings_text(row)
        settings = Text(tail, no_wrap=True, overflow="ellipsis")
        table.add_row(
            *(cells[name] for name in names),
            settings,
            style="bold" if any(row is leader for leader in leaders) else None,
        )
    if len(shown) < len(rows):
        table.add_row(f"… {len(rows) - len(shown)} more", style="dim")
    return table


def _fitting_columns(progress: Progress, width: int) -> list[str]:
    """The columns before the settings; the optional ones only if the settings stay readable."""
    wanted = min(_READABLE, max((cell_len(settings_text(row)) for row in progress.rows.values()), default=0))
    score = ("score",) if _has_scores_apart(progress) else ()
    names = list(dict.fromkeys(("trial", "state", "round", "epoch", "loss", progress.metric, *score, "steps/s")))
    for optional in ("steps/s", "round", *score):
        if sum(_width(progress, name) + _PADDING for name in names) + wanted + _PADDING > width:
            names.remove(optional)
    return names


def _has_scores_apart(progress: Progress) -> bool:
    """Whether a trial's score may differ from its last value, because it keeps its best weights."""
    return any(row.restores_best for row in progress.rows.values())


def _width(progress: Progress, name: str) -> int:
    """The largest width that the column will need, so that nothing moves while numbers change."""
    if name == "trial":
        return max(len(name), *(cell_len(trial_id) for trial_id in progress.rows))
    if name == "state":
        return max(map(len, _ORDER))
    if name == "epoch":
        return max(len(name), *(2 * len(str(row.trial.train.epochs)) + 1 for row in progress.rows.values()))
    return max(cell_len(name), len(name) if name == "round" else _NUMBER)


def _visible(rows: list[Row], room: int) -> list[Row]:
    """All rows if they fit; else the most important ones. In order in both cases."""
    if len(rows) <= room:
        return rows
    chosen = sorted(rows, key=lambda row: _ORDER.index(row.state))[: room - 1]
    return [row for row in rows if row in chosen]


def _cells(row: Row, metric: str) -> Mapping[str, str | Text]:
    return {
        "trial": row.trial.id,
        "state": Text(row.state, style=_STYLES[row.state]),
        "round": "–" if row.state == "queued" else str(row.round + 1),
        "epoch": f"{row.epoch}/{row.trial.train.epochs}",
        "score": number(row.score),
        metric: number(row.value),
        "loss": number(row.loss),
        "steps/s": number(row.steps_per_s),
    }


def _pace(progress: Progress) -> Text:
    ended = sum(row.state not in ("queued", "running") for row in progress.rows.values())
    head = f"{ended} of {len(progress.rows)} ended · ETA {duration(progress.eta_s())}"
    if len(leaders := progress.best_so_far()) == 1:
        head += f" · best {progress.metric} {number(leaders[0].score)} (trial {leaders[0].trial.id})"
    pace = f"{number(progress.steps_per_s())} steps/s"
    return Text(f"{head} · {pace}", style="dim", no_wrap=True, overflow="ellipsis")


def _line(progress: Progress, row: Row) -> str:
    head = f"{row.trial.id} round {row.round + 1} epoch {row.epoch}/{row.trial.train.epochs} step {row.step}"
    if row.state == "failed":
        return f"{row.trial.id} FAILED {row.message}"
    parts = [head, f"loss {number(row.loss)}"]
    if row.value is not None and progress.metric != "loss":
        parts.append(f"{progress.metric} {number(row.value)}")
    if row.restores_best:
        parts.append(f"score {number(row.score)}")
    parts.append(f"{number(progress.steps_per_s())} model-steps/s ETA {duration(progress.eta_s())}")
    if row.state != "running":
        parts.append(row.state + (f" ({row.message})" if row.message else ""))
    return " · ".join(parts)
