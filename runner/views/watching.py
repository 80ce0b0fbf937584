"""Follows a sweep that another process runs, by reading its journal."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from rich.console import Console
from rich.live import Live
from rich.text import Text

from runner.journal import is_locked
from runner.review.catalog import Review, open_review
from runner.review.tables import status_of
from runner.views.live import can_redraw
from runner.views.numbers import count, number
from runner.views.results import print_results

_EVERY_S = 1.0
_WELL = ("complete", "stopped")


def watch(
    folder: Path,
    console: Console,
    sleep: Callable[[float], None] = time.sleep,
    stamp: Callable[[], str] = lambda: time.strftime("%Y-%m-%d %H:%M:%S"),
) -> None:
    """Shows the ranked trials, again and again, until no process runs the sweep.

    Args:
        folder: the sweep's.
        console: a terminal, in which the table is redrawn. Elsewhere a line is printed whenever a trial's status
            changes, and the table at the end.
        sleep: waits some seconds.
        stamp: the time that each line begins with.
    """
    said: dict[str, str] = {}
    with Live(console=console, auto_refresh=False, transient=True) as live:
        while is_locked(folder):
            if can_redraw(console):
                live.update(_table(folder, console), refresh=True)
            else:
                for text in _news(open_review(folder), said):
                    console.print(f"{stamp()} {text}", markup=False, highlight=False, soft_wrap=True)
            sleep(_EVERY_S)
    print_results(open_review(folder), console)


def _news(review: Review, said: dict[str, str]) -> list[str]:
    """A line for each trial whose status has changed, and one for all if any has; updates what was said."""
    metric, now = review.sweep.metric, {trial.id: status_of(review, trial) for trial in review.trials}
    changed = [trial for trial in review.trials if said.get(trial.id, "queued") != now[trial.id]]
    lines = []
    for trial in sorted(changed, key=lambda trial: trial.position):
        score = f" · {metric} {number(trial.score(metric))}" if now[trial.id] in _WELL else ""
        reason = f" · {trial.reason.partition(chr(10))[0]}" if trial.reason else ""
        lines.append(f"trial {trial.id} {now[trial.id]}{score}{reason}")
    if changed or not said:
        states = ", ".join(f"{many} {state}" for state, many in Counter(now.values()).items())
        lines.append(f"sweep {review.sweep.id} · {count(len(now), 'trial')}: {states}")
    said.update(now)
    return lines


def _table(folder: Path, console: Console) -> Text:
    with console.capture() as captured:
        print_results(open_review(folder), console)
    return Text.from_ansi("\n".join(captured.get().splitlines()[: max(1, console.height - 1)]))
