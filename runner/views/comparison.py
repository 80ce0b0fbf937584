"""Sweeps side by side, as a person reads them."""

from __future__ import annotations

from collections.abc import Mapping

from rich.console import Console

from runner.review.tables import Table
from runner.views.results import print_table

_MOST = 10  # settings of all sweeps that are worth a look
_TITLES = {
    "config": "What differs in the configs",
    "scores": "What they reached, and what it cost",
    "curves": "The best value of the metric after a number of epochs, all trials counted",
    "shared": "Mean scores of the settings that all of them trained",
}
_NOTHING = {
    "config": "Their configs and their code are the same.",
    "shared": "There is no setting that all of them trained.",
}


def print_comparison(tables: Mapping[str, Table], console: Console) -> None:
    """Prints each table below its title.

    Args:
        tables: of a `Comparison`.
        console: to print to.
    """
    for name, (header, rows) in tables.items():
        if not rows:
            console.print(_NOTHING.get(name, ""), style="bold")
            continue
        console.print(_TITLES[name], style="bold")
        print_table(header, rows[:_MOST] if name == "shared" else rows, console)
        if name == "shared" and len(rows) > _MOST:
            console.print(f"… and {len(rows) - _MOST} more: compare --json", style="dim")
        console.print()
    if "curves" not in tables:
        console.print("They have different metrics, so that their scores do not compare.")
