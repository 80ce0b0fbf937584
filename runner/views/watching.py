"""Follows a sweep that another process runs, by reading its journal."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from rich.console import Console
from rich.live import Live
from rich.text import Text

from runner.journal import is_locked
from runner.review.catalog import open_review
from runner.views.results import print_results

_EVERY_S = 1.0


def watch(folder: Path, console: Console, sleep: Callable[[float], None] = time.sleep) -> None:
    """Shows the ranked trials, again and again, until no process runs the sweep.

    Args:
        folder: the sweep's.
        console: a terminal, in which the table is redrawn; elsewhere it is printed once, at the end.
        sleep: waits some seconds.
    """
    with Live(console=console, auto_refresh=False, transient=True) as live:
        while is_locked(folder):
            if console.is_terminal:
                live.update(_table(folder, console), refresh=True)
            sleep(_EVERY_S)
    print_results(open_review(folder), console)


def _table(folder: Path, console: Console) -> Text:
    with console.capture() as captured:
        print_results(open_review(folder), console)
    return Text.from_ansi("\n".join(captured.get().splitlines()[: max(1, console.height - 1)]))
