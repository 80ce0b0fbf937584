"""Ended or running sweeps as a person reads them: a table of trials, a table of sweeps, a trial in one line."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich.cells import cell_len
from rich.console import Console
from rich.table import Table

from runner.journal import TrialRecord
from runner.review.catalog import Review

_PADDING = 2
_READABLE = 24  # characters of a reason that are worth showing
_LAST = "reason"


def print_results(review: Review, console: Console, by_setting: bool | None = None) -> None:
    """Prints the ranked trials or settings, one line each, and names columns that the terminal is too narrow for.

    Args:
        review: of the sweep.
        console: to print to.
        by_setting: one line for each setting; None for settings if any has several seeds.
    """
    by_setting = review.has_repeats if by_setting is None else by_setting
    header, rows = settings_table(review) if by_setting else results_table(review)
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


def print_sweeps(reviews: Sequence[Review], console: Console) -> None:
    """Prints one line for each sweep."""
    table = Table(box=None, header_style="bold", padding=(0, 1))
    for name in ("sweep", "status", "trials", "metric", "best"):
        table.add_column(name, no_wrap=True)
    for review in reviews:
        sweep = review.sweep
        best = ", ".join(f"{trial.score(sweep.metric):.4g} (trial {trial.id})" for trial in review.leaders) or "–"
        table.add_row(sweep.id, sweep.status, str(len(review.trials)), sweep.metric, best)
    console.print(table)


def results_table(review: Review) -> tuple[list[str], list[list[object]]]:
    """Header and rows: rank, trial, status, the sweep's metric, other epoch metrics, searched settings, reason."""
    names, searched = review.metric_names, review.searched
    members = len({trial.member for trial in review.trials}) > 1
    header = ["rank", "trial", *(["member"] if members else []), "status", *names, *searched, _LAST]
    rows: list[list[object]] = []
    for rank, trial in zip(review.ranks, review.trials, strict=True):
        identity = [rank, trial.id, *([trial.member] if members else []), trial.status]
        values = [trial.metrics.get(name) for name in names]
        rows.append([*identity, *values, *_shown(trial, searched), _reason(trial)])
    return header, rows


def settings_table(review: Review) -> tuple[list[str], list[list[object]]]:
    """Header and rows: rank, trials, how many ended well, mean and spread of the scores, searched settings."""
    folded = any(trial.trial.folds is not None for trial in review.trials)
    searched = [name for name in review.searched if name != "seed" and not (folded and name == "fold")]
    members = len({trial.member for trial in review.trials}) > 1
    header = ["rank", "trials", *(["member"] if members else []), "status"]
    header += [f"mean {review.sweep.metric}", "±", "seeds", *searched, _LAST]
    rows: list[list[object]] = []
    for rank, setting in review.by_setting:
        trials = sorted(setting.trials, key=lambda trial: trial.position)
        first, well = trials[0], sum(trial.ended_well for trial in trials)
        named = trials[0].id if len(trials) == 1 else f"{trials[0].id}–{trials[-1].id}"
        status = f"{well} of {len(trials)} ended"
        seeds = " ".join(str(trial.trial.seed) for trial in trials)
        reason = next((_reason(trial) for trial in trials if _reason(trial)), "")
        identity = [rank, named, *([first.member] if members else []), status]
        rows.append([*identity, setting.mean, setting.spread, seeds, *_shown(first, searched), reason])
    return header, rows


def _reason(trial: TrialRecord) -> str:
    """Why it ended early, and whose states it went on from."""
    return "; ".join(filter(None, (trial.reason, trial.lineage)))


def _shown(trial: TrialRecord, names: Sequence[str]) -> list[object]:
    """The values of these settings; None for one that does not matter for the trial."""
    return [None if name in trial.trial.inactive else trial.settings.get(name) for name in names]


def trial_in_one_line(review: Review, trial: TrialRecord) -> str:
    """A trial with its score and its searched settings."""
    score = trial.score(review.sweep.metric)
    searched = [name for name in trial.trial.searched if name not in trial.trial.inactive]
    settings = " ".join(f"{name}={trial.settings[name]}" for name in searched)
    shown = f"{review.sweep.metric} {score:.6g}" if score is not None else trial.status
    return f"{review.sweep.id} trial {trial.id}: {shown} {settings}".rstrip()


def _too_wide(header: Sequence[str], widths: Mapping[int, int], review: Review, width: int) -> set[int]:
    """The columns that do not fit: metrics are left out first, then the reasons, then settings, each from the right.

    The sweep's own metric always stays. The reasons take the width that the others leave, if it is enough to read.

    Args:
        header: of all columns.
        widths: of the columns to show, by their index in the header.
        review: what they show.
        width: of the terminal.
    """
    first = header.index("status") + 1
    metrics_end = len(header) - 1 - len(review.searched)
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
    for index in of_metrics:  # leaving out a wide column may have made room for narrower ones
        if index in left_out and sum(least[other] for other in least if other not in left_out - {index}) <= width:
            left_out.remove(index)
    return left_out


def _cell(value: object) -> str:
    if value is None:
        return "–"
    return f"{value:.4g}" if isinstance(value, float) else str(value)
