"""A sweep's ranked trials as a table for a person."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from runner.review import Review, table


def print_results(review: Review, console: Console) -> None:
    """Prints the ranked trials; metrics that the terminal has no room for are named instead."""
    header, rows = table(review)
    cells = [[_cell(value) for value in row] for row in rows]
    shown = [index for index, name in enumerate(header) if name != "reason" or any(row[index] for row in rows)]
    left_out = _too_wide(header, cells, shown, review, console.width)
    view = Table(box=None, header_style="bold", padding=(0, 1))
    shown = [index for index in shown if index not in left_out]
    for index in shown:
        view.add_column(header[index], overflow="fold")
    for row in cells:
        view.add_row(*(row[index] for index in shown))
    console.print(f"sweep {review.sweep.id}", markup=False, highlight=False, style="italic")
    console.print(view)
    if left_out:
        console.print(f"--csv has {', '.join(header[index] for index in sorted(left_out))} too", style="dim")


def _too_wide(
    header: Sequence[str], cells: Sequence[Sequence[str]], shown: Sequence[int], review: Review, width: int
) -> set[int]:
    """The metrics, last ones first, that the others have no room for; never the sweep's own."""
    widths = {index: 2 + max(len(text) for text in (header[index], *(row[index] for row in cells))) for index in shown}
    others = {name for trial in review.trials for name in trial.metrics} - {review.sweep.metric}
    left_out: set[int] = set()
    for index in reversed([index for index in shown if header[index] in others]):
        if sum(widths[index] for index in shown if index not in left_out and header[index] != "reason") > width:
            left_out.add(index)
    return left_out


def _cell(value: object) -> str:
    if value is None:
        return "–"
    return f"{value:.4g}" if isinstance(value, float) else str(value)
