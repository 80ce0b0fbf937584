"""A sweep's ranked trials as a table for a person."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich.cells import cell_len
from rich.console import Console
from rich.table import Table

from runner.review.catalog import Review, table

_PADDING = 2
_READABLE = 24  # columns of a reason that are worth showing
_LAST = "reason"


def print_results(review: Review, console: Console) -> None:
    """Prints the ranked trials, a line each; what the terminal has no room for is named instead."""
    header, rows = table(review)
    cells = [[_cell(value) for value in row] for row in rows]
    shown = [index for index, name in enumerate(header) if name != _LAST or any(row[index] for row in rows)]
    widths = {index: _PADDING + max(map(cell_len, (header[index], *(row[index] for row in cells)))) for index in shown}
    left_out = _too_wide(header, widths, review, console.width)
    shown = [index for index in shown if index not in left_out]
    view = Table(box=None, header_style="bold", padding=(0, 1))
    for index in shown:
        rest = console.width - sum(widths[other] for other in shown if other != index) - _PADDING
        view.add_column(header[index], no_wrap=True, max_width=rest if header[index] == _LAST else None)
    for row in cells:
        view.add_row(*(row[index] for index in shown))
    console.print(f"sweep {review.sweep.id}", markup=False, highlight=False, style="italic")
    console.print(view)
    if left_out:
        names = ", ".join(header[index] for index in sorted(left_out))
        console.print(f"results --csv has {names} too", style="dim", markup=False, highlight=False, soft_wrap=True)


def _too_wide(header: Sequence[str], widths: Mapping[int, int], review: Review, width: int) -> set[int]:
    """What the other columns have no room for: metrics, then why trials ended, then settings, the last ones first.

    The sweep's own metric always stays, and a reason takes what the others leave, if that can be read.

    Args:
        header: of all columns.
        widths: of those that are to be shown, by their place in the header.
        review: what they show.
        width: of the terminal.
    """
    first = header.index("status") + 1
    searched = {name for trial in review.trials for name in trial.trial.searched}
    metrics_end = len(header) - 1 - len(searched)
    reasons = [index for index in widths if header[index] == _LAST]
    least = {index: min(size, _PADDING + _READABLE) if index in reasons else size for index, size in widths.items()}
    others = [index for index in widths if index > first and index not in reasons]
    of_metrics = [index for index in others if index < metrics_end]
    settings = [index for index in others if index not in of_metrics]
    left_out: set[int] = set()
    for index in (*reversed(of_metrics), *reasons, *reversed(settings)):
        if sum(size for index, size in least.items() if index not in left_out) <= width:
            break
        left_out.add(index)
    for index in of_metrics:  # a wide column that was left out may have made room for narrower ones
        if index in left_out and sum(least[other] for other in least if other not in left_out - {index}) <= width:
            left_out.remove(index)
    return left_out


def _cell(value: object) -> str:
    if value is None:
        return "–"
    return f"{value:.4g}" if isinstance(value, float) else str(value)
