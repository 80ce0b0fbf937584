"""What a person sees while a sweep runs: a live table on a terminal, plain lines elsewhere."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Self

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from runner.progress import Progress, Row
from runner.records import Failure, Report, Verdict

_STYLES = {"queued": "dim", "running": "cyan", "complete": "green", "stopped": "yellow", "failed": "bold red"}
_ORDER = ("failed", "running", "stopped", "complete", "queued")


class LiveTable:
    """A table that is redrawn after each barrier, as tall as the terminal allows."""

    def __init__(self, console: Console, progress: Progress) -> None:
        self._console, self._progress = console, progress
        self._live = Live(console=console, auto_refresh=False, transient=False)

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._live.stop()

    def show(self, reports: Mapping[str, Report | Failure], verdicts: Mapping[str, Verdict]) -> None:
        """As `Watcher.show`."""
        self._progress.update(reports, verdicts)
        room = max(3, self._console.size.height - 7)
        self._live.update(Group(_table(self._progress, room), _pace(self._progress)), refresh=True)


class Lines:
    """One line for each turn, for logs and pipes."""

    def __init__(self, console: Console, progress: Progress) -> None:
        self._console, self._progress = console, progress

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        pass

    def show(self, reports: Mapping[str, Report | Failure], verdicts: Mapping[str, Verdict]) -> None:
        """As `Watcher.show`."""
        self._progress.update(reports, verdicts)
        for trial_id in reports:
            self._console.print(_line(self._progress, self._progress.rows[trial_id]), markup=False, soft_wrap=True)


def watch(console: Console, progress: Progress) -> LiveTable | Lines:
    """The fitting view for where the output goes."""
    return LiveTable(console, progress) if console.is_terminal else Lines(console, progress)


def number(value: float | None) -> str:
    """A metric in four significant digits; a dash for none."""
    return "–" if value is None else f"{value:.4g}"


def duration(seconds: float | None) -> str:
    """`75` as `1:15`."""
    if seconds is None:
        return "–"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def settings_text(row: Row) -> str:
    """The trial's searched settings, `units=64 learning_rate=0.001`."""
    settings = row.trial.settings
    return " ".join(f"{name}={_short(settings.get(name))}" for name in row.trial.searched)


def _short(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _table(progress: Progress, room: int) -> Table:
    table = Table(box=None, padding=(0, 1), header_style="bold")
    for name in ("trial", "state"):
        table.add_column(name, no_wrap=True)
    for name in ("round", "epoch", "loss", progress.metric, "best so far", "steps/s"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("settings", overflow="ellipsis", no_wrap=True, ratio=1)
    rows = _visible(list(progress.rows.values()), room)
    leader = progress.best()
    for row in rows:
        table.add_row(*_cells(row), style="bold" if row is leader else None)
    if len(rows) < len(progress.rows):
        table.add_row(f"… {len(progress.rows) - len(rows)} more", style="dim")
    return table


def _visible(rows: list[Row], room: int) -> list[Row]:
    """All rows in order where they fit; otherwise those that matter most now."""
    if len(rows) <= room:
        return rows
    chosen = sorted(rows, key=lambda row: _ORDER.index(row.state))[: room - 1]
    return [row for row in rows if row in chosen]


def _cells(row: Row) -> Sequence[str | Text]:
    state = Text(row.state, style=_STYLES[row.state])
    epochs = f"{row.epoch}/{row.trial.train.epochs}"
    values = (number(row.loss), number(row.value), number(row.best), number(row.steps_per_s))
    begun = row.state != "queued"
    settings = row.message if row.state == "failed" else settings_text(row)
    return row.trial.id, state, str(row.round + 1) if begun else "–", epochs, *values, settings


def _pace(progress: Progress) -> Text:
    ended = sum(row.state not in ("queued", "running") for row in progress.rows.values())
    leader = progress.best()
    best = f"best {progress.metric} {number(leader.best)} (trial {leader.trial.id}) · " if leader else ""
    pace = f"{number(progress.steps_per_s())} model-steps/s · ETA {duration(progress.eta_s())}"
    return Text(f"{ended} of {len(progress.rows)} trials ended · {best}{pace}", style="dim")


def _line(progress: Progress, row: Row) -> str:
    head = f"{row.trial.id} round {row.round + 1} epoch {row.epoch}/{row.trial.train.epochs} step {row.step}"
    if row.state == "failed":
        return f"{row.trial.id} FAILED {row.message}"
    parts = [head, f"loss {number(row.loss)}"]
    if row.value is not None and progress.metric != "loss":
        parts.append(f"{progress.metric} {number(row.value)} best {number(row.best)}")
    parts.append(f"{number(progress.steps_per_s())} model-steps/s ETA {duration(progress.eta_s())}")
    if row.state != "running":
        parts.append(row.state + (f" ({row.message})" if row.message else ""))
    return " · ".join(parts)
