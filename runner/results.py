"""A sweep's ranked trials as a table for a person."""

from __future__ import annotations

from collections.abc import Sequence

from rich.cells import cell_len
from rich.console import Console
from rich.table import Table

from runner.review import Review, table

_PADDING = 2
_READABLE = 24  # columns of a reason that are worth showing
_LAST = "reason"


def print_results(review: Review, console: Console) -> None:
    """Prints the ranked trials, a line each; what the terminal has no room for is named instead."""
    header, rows = table(review)
    cells = [[_cell(value) for value in row] for row in rows]
    shown = [index for index, name in enumerate(header) if name != _LAST or any(row[index] for row in rows)]
    left_out = _too_wide(header, cells, shown, review, console.width)
    view = Table(box=None, header_style="bold", padding=(0, 1), expand=_LAST in (header[i] for i in shown))
    shown = [index for index in shown if index not in left_out]
    for index in shown:
        view.add_column(header[index], no_wrap=True, overflow="ellipsis", ratio=1 if header[index] == _LAST else None)
    for row in cells:
        view.add_row(*(row[index] for index in shown))
    console.print(f"sweep {review.sweep.id}", markup=False, highlight=False, style="italic")
    console.print(view)
    if left_out:
        names = ", ".join(header[index] for index in sorted(left_out))
        console.print(f"results --csv has {names} too", style="dim", markup=False, highlight=False, soft_wrap=True)


def _too_wide(
    header: Sequence[str], cells: Sequence[Sequence[str]], shown: Sequence[int], review: Review, width: int
) -> set[int]:
    """What the other columns have no room for: metrics, then why trials ended, then settings, the last ones first.

    The sweep's own metric always stays, and a reason takes what the others leave, if that can be read.
    """
    texts = {index: (header[index], *(row[index] for row in cells)) for index in shown}
    widths = {index: _PADDING + max(map(cell_len, text)) for index, text in texts.items()}
    first = header.index("status") + 1
    searched = {name for trial in review.trials for name in trial.record["searched"]}
    metrics_end = len(header) - 1 - len(searched)
    reasons = [index for index in shown if header[index] == _LAST]
    for index in reasons:
        widths[index] = min(widths[index], _PADDING + _READABLE)
    others = [index for index in shown if index > first and index not in reasons]
    of_metrics = [index for index in others if index < metrics_end]
    settings = [index for index in others if index not in of_metrics]
    left_out: set[int] = set()
    for index in (*reversed(of_metrics), *reasons, *reversed(settings)):
        if sum(widths[index] for index in shown if index not in left_out) <= width:
            break
        left_out.add(index)
    return left_out


def _cell(value: object) -> str:
    if value is None:
        return "–"
    return f"{value:.4g}" if isinstance(value, float) else str(value)
