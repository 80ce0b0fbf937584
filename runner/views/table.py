"""The table of a running sweep: one line a trial, within the terminal, the best first if some are left out.

Pure: `live` draws it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from rich.cells import cell_len, set_cell_size
from rich.text import Text

from runner.views.numbers import count, number, roughly, setting, settings, sparkline
from runner.views.progress import Progress, Row

STYLES = {"queued": "dim", "running": "cyan", "paused": "magenta", "complete": "green", "stopped": "yellow",
          "failed": "bold red"}  # fmt: skip
_GAP = 2
_NUMBER = 7  # characters of most metrics in four significant digits
_CURVES = (16, 8)  # characters of the score's curve, as there is room
_HEADING = 5  # characters to which the heading of a setting may be cut
_BETWEEN = " · "
_UNLISTED = 6  # of the lines, one is for a failed trial and a third for running ones, however bad


class _Column(NamedTuple):
    heading: str
    width: int
    text: Callable[[Row], str]
    right: bool = True


def table_lines(progress: Progress, width: int, height: int, *, curves: bool = True) -> list[Text]:
    """The lines of the table, none longer than `width` and at most `height`.

    Args:
        progress: of the sweep.
        width: of the terminal, in cells.
        height: lines that there are for it.
        curves: the terminal can show block characters.
    """
    rows = list(progress.rows.values())
    varying, fixed = split_settings(rows)
    columns, left_out = _columns(progress, rows, varying, width, curves=curves)
    notes = _notes(fixed, left_out)
    shown = chosen_rows(progress, rows, max(1, height - 1 - len(notes)))
    leaders = progress.best_so_far()
    lines = [_line(note, width, "dim") for note in notes]
    lines.append(_line((" " * _GAP).join(_fit(one.heading, one) for one in columns), width, "bold"))
    lines += [_row_line(row, columns, width, is_leader=any(row is leader for leader in leaders)) for row in shown]
    if len(shown) < len(rows):
        lines.append(_line(_hidden(rows, shown), width, "dim"))
    return lines


def split_settings(rows: Sequence[Row]) -> tuple[list[str], dict[str, object]]:
    """The searched settings that differ between trials, and those that are the same in all, with their value."""
    names = list(dict.fromkeys(name for row in rows for name in row.trial.searched))
    texts = {name: set(_texts(rows, name).values()) for name in names}
    if len(rows) == 1:
        return names, {}
    varying = [name for name in names if len(texts[name]) > 1]
    return varying, {name: texts[name].copy().pop() for name in names if name not in varying}


def settings_text(row: Row) -> str:
    """The trial's searched settings, `units=64 learning_rate=3e-03`."""
    names = [name for name in row.trial.searched if name not in row.trial.inactive]
    return " ".join(f"{name}={setting(row.trial.settings.get(name))}" for name in names)


def chosen_rows(progress: Progress, rows: Sequence[Row], room: int) -> list[Row]:
    """All rows in their order if they fit; else the best first, with some running ones and a failed one at the end."""
    if len(rows) <= room:
        return list(rows)
    room = max(1, room - 1)  # for the line that says how many are left out
    scored = ranked(progress, rows)
    running = [row for row in rows if row.state == "running"]
    failed = [row for row in rows if row.state == "failed"]
    extra = failed[-1:] if room >= _UNLISTED else []
    top = scored[: room - len(extra)]
    missing = [row for row in running if not any(row is one for one in top)][: max(1, room // 3)]
    best = scored[: max(1, room - len(extra) - len(missing))] if room > 1 or not missing else []
    listed = [*best, *(row for row in missing if not any(row is one for one in best)), *extra]
    ids = {row.trial.id for row in listed}
    waiting = [row for row in rows if row.trial.id not in ids and not row.has_ended]
    return [*listed, *waiting[: room - len(listed)]]


def ranked(progress: Progress, rows: Sequence[Row]) -> list[Row]:
    """The rows with a score, best first."""
    sign = -1 if progress.goal == "maximize" else 1
    return sorted((row for row in rows if row.score is not None), key=lambda row: sign * (row.score or 0.0))


def _columns(
    progress: Progress, rows: Sequence[Row], varying: Sequence[str], width: int, *, curves: bool
) -> tuple[list[_Column], list[str]]:
    """The columns that fit, and the varying settings for which there is no room.

    What a trial is, how far and how good it is, and its learning rate always stay. Then come the other settings, from
    the left, with headings cut if need be; then the loss, the speed, the round, and the curve.
    """
    first, score = (
        _identity(rows),
        _metric(progress.metric, rows, lambda row: row.score if row.has_ended else row.value),
    )
    used = sum(one.width + _GAP for one in first) + score.width
    order = sorted(varying, key=lambda name: not _is_rate(name))
    texts = {name: _texts(rows, name) for name in varying}
    widths: dict[str, int] = {}
    for name in order:
        wide = max(map(cell_len, texts[name].values()), default=1)
        least = max(wide, min(cell_len(name), _HEADING))
        if used + least + _GAP <= width or _is_rate(name):
            widths[name] = least
            used += least + _GAP
    for name in list(widths):  # headings get what is left
        more = min(cell_len(name) - widths[name], width - used)
        if more > 0:
            widths[name] += more
            used += more
    settings = [_setting(name, widths[name], texts[name]) for name in varying if name in widths]
    others: list[_Column] = []
    for column in _optional(progress, rows, curves=curves):
        is_new = all(column.heading != one.heading for one in others)  # the wider of two curves
        if is_new and used + column.width + _GAP <= width:
            others.append(column)
            used += column.width + _GAP
    return [*first, score, *settings, *others], [name for name in varying if name not in widths]


def _identity(rows: Sequence[Row]) -> list[_Column]:
    ids = max([len("trial"), *(cell_len(row.trial.id) for row in rows)])
    epochs = max([len("epoch"), *(2 * len(str(row.trial.train.epochs)) + 1 for row in rows)])
    return [
        _Column("trial", ids, lambda row: row.trial.id, right=False),
        _Column("state", max(map(len, STYLES)), lambda row: row.state, right=False),
        _Column("epoch", epochs, lambda row: f"{row.epoch}/{row.trial.train.epochs}"),
    ]


def _optional(progress: Progress, rows: Sequence[Row], *, curves: bool) -> list[_Column]:
    found = []
    if any(row.restores_best for row in rows):  # a trial's score may differ from its last value
        found.append(_metric("score", rows, lambda row: row.score))
    longest = max((len(row.values) for row in rows), default=0)
    if curves and longest > 1:
        found += [_curve(min(width, max(longest, len("curve")))) for width in _CURVES]
    if progress.metric != "loss":
        found.append(_metric("loss", rows, lambda row: row.loss))
    found.append(_metric("steps/s", rows, lambda row: row.steps_per_s))
    return found


def _metric(heading: str, rows: Sequence[Row], value: Callable[[Row], float | None]) -> _Column:
    width = max(cell_len(heading), _NUMBER, *(cell_len(number(value(row))) for row in rows))
    return _Column(heading, width, lambda row: number(value(row)))


def _curve(width: int) -> _Column:
    return _Column("curve", width, lambda row: sparkline(row.values, width), right=False)


def _setting(name: str, width: int, texts: Mapping[str, str]) -> _Column:
    return _Column(name, width, lambda row: texts[row.trial.id])


def _texts(rows: Sequence[Row], name: str) -> dict[str, str]:
    """A setting's value in each trial, by trial; a dash where it has none."""
    having = [row.trial for row in rows if name in row.trial.searched and name not in row.trial.inactive]
    texts = dict(
        zip((trial.id for trial in having), settings(trial.settings.get(name) for trial in having), strict=True)
    )
    return {row.trial.id: texts.get(row.trial.id, "–") for row in rows}


def _is_rate(name: str) -> bool:
    return "learning_rate" in name or name.rpartition(".")[2] == "lr"


def _notes(fixed: Mapping[str, object], left_out: Sequence[str]) -> list[str]:
    notes = []
    if fixed:
        notes.append("all trials: " + " ".join(f"{name}={value}" for name, value in fixed.items()))
    if left_out:
        notes.append(f"no room for {', '.join(left_out)}")
    return notes


def _hidden(rows: Sequence[Row], shown: Sequence[Row]) -> str:
    ids = {row.trial.id for row in shown}
    left = [row.state for row in rows if row.trial.id not in ids]
    states = [f"{left.count(state)} {state}" for state in STYLES if state in left]
    if len(states) == 1:
        return f"… {states[0]} {'trial' if len(left) == 1 else 'trials'} not shown"
    return f"… {count(len(left), 'trial')} not shown: {', '.join(states)}"


def _row_line(row: Row, columns: Sequence[_Column], width: int, *, is_leader: bool) -> Text:
    if row.state == "failed" and row.message:
        cells = [_fit(one.text(row), one) for one in columns[:3]]
        line = Text((" " * _GAP).join([*cells, " ".join(row.message.split())]))
    else:
        line = Text((" " * _GAP).join(_fit(one.text(row), one) for one in columns))
    start = columns[0].width + _GAP
    line.stylize(STYLES[row.state], start, start + len(row.state))
    if is_leader:
        line.stylize("bold")
    return _cut(line, width)


def _fit(text: str, column: _Column) -> str:
    size = cell_len(text)
    if size > column.width:
        return set_cell_size(text, column.width - 1) + "…"
    return " " * (column.width - size) + text if column.right else text + " " * (column.width - size)


def _line(text: str, width: int, style: str) -> Text:
    return _cut(Text(text, style=style), width)


def _cut(line: Text, width: int) -> Text:
    line.no_wrap = True
    line.rstrip()
    line.truncate(width, overflow="ellipsis")
    return line


def summary_line(progress: Progress, width: int | None = None) -> str:
    """How far the sweep is: `3 of 8 trials ended · about 2 min left · best val_accuracy 0.9717 (trial 006)`.

    Args:
        progress: of the sweep.
        width: of the terminal, in cells: what has no room is left out, from the end. None for all of it.
    """
    counts = progress.counts()
    ended = sum(counts[state] for state in ("complete", "stopped", "failed"))
    parts = [f"{ended} of {count(progress.expected, 'trial')} ended"]
    if counts["failed"]:
        parts.append(f"{counts['failed']} failed")
    if counts["paused"]:
        parts.append(f"{counts['paused']} paused")
    if (left := time_left(progress)) is not None:
        parts.append(left)
    if len(leaders := progress.best_so_far()) == 1:
        parts.append(f"best {progress.metric} {number(leaders[0].score)} (trial {leaders[0].trial.id})")
    if (speed := progress.steps_per_s()) is not None and math.isfinite(speed):
        parts.append(f"{number(speed)} steps/s")
    line = _BETWEEN.join(parts)
    while width is not None and len(parts) > 1 and cell_len(line) > width:
        line = _BETWEEN.join(parts := parts[:-1])
    return line


def time_left(progress: Progress) -> str | None:
    """`about 4 min left`, or `at most 4 min left` if a rule may end trials early; None if nothing is left or known."""
    seconds = progress.eta_s()
    if seconds is None or not any(progress.counts()[state] for state in ("running", "queued")):
        return None
    return f"{'at most' if progress.is_upper_bound else 'about'} {roughly(max(1.0, seconds))} left"
