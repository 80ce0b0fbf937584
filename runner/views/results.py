"""Ended or running sweeps as a person reads them: a table of trials, a table of sweeps, a trial in one line."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Literal

from rich.cells import cell_len
from rich.console import Console
from rich.table import Table as View
from rich.text import Text

from runner.journal import TrialRecord
from runner.review.catalog import Review
from runner.review.selection import Selection
from runner.review.tables import Table, readable, setting_table, trial_table

_PADDING = 2
_FAILURES = 5  # messages of failed trials that are printed below the table


def print_results(
    review: Review,
    console: Console,
    by_setting: bool | None = None,
    *,
    filters: Sequence[str] = (),
    sort: str | None = None,
    columns: Sequence[str] = (),
) -> None:
    """Prints the ranked trials or settings, one line each, and names columns that the terminal is too narrow for.

    Args:
        review: of the sweep.
        console: to print to.
        by_setting: one line for each setting; None for settings if any has several seeds.
        filters: conditions, as of a `Selection`.
        sort: as of a `Selection`.
        columns: if any are named, these are printed however wide they are.

    Raises:
        ConfigError: there is no such column.
    """
    by_setting = review.has_repeats if by_setting is None else by_setting
    table = setting_table(review) if by_setting else trial_table(review)
    chosen = Selection(filters=tuple(filters), sort=sort).of(table)
    names = columns or _usual_columns(review, chosen, by_setting)
    shown = Selection(columns=tuple(names)).of(chosen)
    left_out = set() if columns else _too_wide(shown, review, console.width)
    console.print(f"sweep {review.sweep.id}", markup=False, highlight=False, style="italic")
    console.print(_view(shown, left_out, review))
    if filters and not shown.rows:
        console.print("nothing fits the filter" + "s" * (len(filters) > 1), style="dim")
    if left_out:
        text = ", ".join(name for name in shown.header if name in left_out)
        console.print(f"results --csv has {text} too", style="dim", markup=False, highlight=False, soft_wrap=True)
    if not by_setting and not columns:
        _print_failures(review, chosen, console)


def print_table(header: Sequence[str], rows: Sequence[Sequence[object]], console: Console) -> None:
    """Prints a table as it is."""
    view = View(box=None, header_style="bold", padding=(0, 1))
    for index, name in enumerate(header):
        view.add_column(Text(name), no_wrap=True, justify=_justified(row[index] for row in rows))
    for row in rows:
        view.add_row(*(Text(readable(value)) for value in row))
    console.print(view)


def print_sweeps(reviews: Sequence[Review], console: Console) -> None:
    """Prints one line for each sweep."""
    table = View(box=None, header_style="bold", padding=(0, 1))
    for name in ("sweep", "status", "trials", "metric", "best"):
        table.add_column(name, no_wrap=True)
    for review in reviews:
        sweep = review.sweep
        best = ", ".join(_best(review, trial) for trial in review.leaders) or "–"
        table.add_row(sweep.id, sweep.status, str(len(review.trials)), sweep.metric, best)
    console.print(table)


def _best(review: Review, leader: TrialRecord) -> str:
    """What ranks a leader first: the mean of its setting if that has repeats, else its score."""
    setting = review.setting_of(leader)
    if len(setting.trials) > 1 and setting.mean is not None:
        return f"{setting.mean:.4g} (mean of {setting.scores}, trial {leader.id})"
    return f"{leader.score(review.sweep.metric):.4g} (trial {leader.id})"


def trial_in_one_line(review: Review, trial: TrialRecord) -> str:
    """A trial with its score and its searched settings."""
    score = trial.score(review.sweep.metric)
    searched = [name for name in trial.trial.searched if name not in trial.trial.inactive]
    settings = " ".join(f"{name}={trial.settings[name]}" for name in searched)
    shown = f"{review.sweep.metric} {score:.6g}" if score is not None else trial.status
    return f"{review.sweep.id} trial {trial.id}: {shown} {settings}".rstrip()


def _usual_columns(review: Review, table: Table, by_setting: bool) -> list[str]:
    """What a person looks for, in this order: who, how good, at what cost, with which settings, other metrics, why."""
    folded = any(trial.trial.folds is not None for trial in review.trials)
    hidden = {"seed", *(["fold"] if folded else [])} if by_setting else set()
    searched = [f"params.{name}" if f"params.{name}" in table.header else name for name in review.searched]
    searched = [name for name in searched if name not in hidden]
    own = ["trials", "ended", "mean", "spread", "seeds"] if by_setting else ["trial", "status", "score"]
    costs = [] if by_setting else ["epochs", "best_epoch", "seconds"]
    others = [] if by_setting else review.metric_names[1:]
    members = ["member"] if len({trial.member for trial in review.trials}) > 1 else []
    last = [
        name for name in ("ended_by", "lineage")
        if name in table.header and any(row[table.header.index(name)] for row in table.rows)
    ]  # fmt: skip
    names = ["rank", *members, *own, *costs, *searched, *others, *last]
    return [name for name in dict.fromkeys(names) if name in table.header]


def _view(table: Table, left_out: set[str], review: Review) -> View:
    headings = _headings(review)
    shown = [index for index, name in enumerate(table.header) if name not in left_out]
    view = View(box=None, header_style="bold", padding=(0, 1))
    for index in shown:
        heading = headings.get(table.header[index], table.header[index])
        view.add_column(Text(heading), no_wrap=True, justify=_justified(row[index] for row in table.rows))
    for row in table.rows:
        view.add_row(*(Text(_text(table.header[index], row[index])) for index in shown))
    return view


def _justified(values: Iterable[object]) -> Literal["left", "right"]:
    known = [value for value in values if value is not None]
    return "right" if known and all(isinstance(value, int | float) for value in known) else "left"


def _headings(review: Review) -> Mapping[str, str]:
    metric = review.sweep.metric
    return {"score": metric, "mean": f"mean {metric}", "spread": "±", "best_epoch": "best epoch", "ended_by": "why"}


def _text(name: str, value: object) -> str:
    if name == "trials" and isinstance(value, tuple):
        return str(value[0]) if len(value) == 1 else f"{value[0]}–{value[-1]}"
    if name == "seconds" and isinstance(value, float):
        return f"{value:.1f}"
    return readable("" if name in ("ended_by", "lineage") and not value else value)


def _too_wide(table: Table, review: Review, width: int) -> set[str]:
    """The columns that do not fit.

    Metrics are left out first, then the costs, then the reasons, then settings, each from the right. Who it is and its
    score always stay, and of the settings the learning rate goes last.
    """
    headings = _headings(review)
    widths: dict[str, int] = {}
    for index, name in enumerate(table.header):
        texts = [headings.get(name, name), *(_text(name, row[index]) for row in table.rows)]
        widths[name] = _PADDING + max(map(cell_len, texts))
    left_out: set[str] = set()

    def fits(also: str = "") -> bool:
        return sum(size for name, size in widths.items() if name not in left_out or name == also) <= width

    order = _least_wanted_first(table.header, review)
    for name in order:
        if fits():
            break
        left_out.add(name)
    for name in reversed(order):  # leaving out a wide column may have made room for narrower ones
        if name in left_out and fits(name):
            left_out.remove(name)
    return left_out


def _least_wanted_first(header: Sequence[str], review: Review) -> list[str]:
    named = {*review.searched, *(f"params.{name}" for name in review.searched)}
    settings = [name for name in reversed(header) if name in named]
    settings.sort(key=lambda name: "learning_rate" in name or name.split(".")[-1] == "lr")
    metrics = [name for name in reversed(header) if name in review.metric_names[1:]]
    costs = [name for name in ("best_epoch", "seconds", "epochs", "seeds", "lineage", "ended_by") if name in header]
    return [*metrics, *costs, *settings]


def _print_failures(review: Review, table: Table, console: Console) -> None:
    """Prints the messages of the trials that have failed, as far as they are in the table."""
    shown = {row[table.header.index("trial")] for row in table.rows}
    messages: dict[str, list[str]] = {}
    for trial in review.trials:
        if trial.status == "failed" and trial.id in shown:
            messages.setdefault(trial.reason.partition("\n")[0], []).append(trial.id)
    for message, trials in list(messages.items())[:_FAILURES]:
        named = trials[0] if len(trials) == 1 else f"{trials[0]} and {len(trials) - 1} more"
        line = Text(f"{named} failed: {message}")
        line.truncate(console.width, overflow="ellipsis")
        console.print(line, soft_wrap=True)
    if len(messages) > _FAILURES:
        console.print("all messages: results --filter status=failed --columns trial,reason", style="dim")
