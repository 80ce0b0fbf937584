"""Trials, settings and epochs of a sweep as tables with everything that is known of them."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import NamedTuple

from runner.journal import JournalReader, TrialRecord
from runner.review.catalog import Review


class Table(NamedTuple):
    """Rows with as many values as the header has names; no two columns have the same name."""

    header: list[str]
    rows: list[list[object]]


def trial_table(review: Review) -> Table:
    """One row for each trial, in the review's order.

    `seconds` are those that it has held a slot; `ended_by` is the rule that stopped it, or where it failed, and
    `reason` the whole sentence.
    """
    names = review.metric_names
    settings = list(dict.fromkeys(name for trial in review.trials for name in trial.used_settings if name != "seed"))
    own = ["rank", "trial", "member", "status", "score", "epochs", "best_epoch", "seconds", "seed"]
    last = ["ended_by", "reason", "lineage"]
    header = [*own, *names, *_distinct(settings, {*own, *names, *last}), *last]
    rows: list[list[object]] = []
    for rank, trial in zip(review.ranks, review.trials, strict=True):
        identity = [rank, trial.id, trial.member, status_of(review, trial), trial.score(review.sweep.metric)]
        trained = [trial.epochs, trial.kept_epoch, round(trial.seconds, 3), trial.trial.seed]
        values = [trial.metrics.get(name) for name in names]
        used = trial.used_settings
        why = [trial.cause, trial.reason, trial.lineage]
        rows.append([*identity, *trained, *values, *(used.get(name) for name in settings), *why])
    return Table(header, rows)


def status_of(review: Review, trial: TrialRecord) -> str:
    """The trial's status; `paused` if it waits until a user lets it go on."""
    return "paused" if trial.id in review.paused else trial.status


def setting_table(review: Review) -> Table:
    """One row for each setting, best first by the mean of its repeats.

    `ended` counts the repeats that have ended well, `spread` is the standard deviation of their scores, and
    `ended_by` and `reason` are those of the first repeat that was ended early.
    """
    folded = any(trial.trial.folds is not None for trial in review.trials)
    left_out = {"seed", "fold"} if folded else {"seed"}
    settings = list(dict.fromkeys(name for trial in review.trials for name in trial.used_settings))
    settings = [name for name in settings if name not in left_out]
    own = ["rank", "member", "trials", "repeats", "ended", "mean", "spread", "seeds"]
    last = ["ended_by", "reason"]
    rows: list[list[object]] = []
    for rank, one in review.by_setting:
        trials = sorted(one.trials, key=lambda trial: trial.position)
        used, ended = trials[0].used_settings, sum(trial.ended_well for trial in trials)
        seeds = tuple(trial.trial.seed for trial in trials)
        identity = [rank, trials[0].member, tuple(trial.id for trial in trials), len(trials), ended]
        early = next((trial for trial in trials if trial.cause), trials[0])
        values = (used.get(name) for name in settings)
        rows.append([*identity, one.mean, one.spread, seeds, *values, early.cause, early.reason])
    return Table([*own, *_distinct(settings, {*own, *last}), *last], rows)


def history_table(folder: Path, trials: Collection[str]) -> Table:
    """One row for each epoch of these trials, in their order, with what Keras' `History` has for it.

    Args:
        folder: the sweep's.
        trials: their ids.
    """
    with JournalReader(folder) as reader:
        epochs = [(trial, epoch) for trial in trials for report in reader.reports(trial) for epoch in report.epochs]
    names = list(dict.fromkeys(name for _, epoch in epochs for name in epoch.metrics))
    rows: list[list[object]] = [
        [trial, epoch.number, *(epoch.metrics.get(name) for name in names)] for trial, epoch in epochs
    ]
    return Table(["trial", "epoch", *_distinct(names, {"trial", "epoch"}, "metrics")], rows)


def readable(value: object, digits: int = 4) -> str:
    """A value in a table: floats shortened, without a zero too much; a dash for None."""
    if value is None:
        return "–"
    if isinstance(value, tuple):
        return " ".join(map(str, value))
    return f"{value:.{digits}g}" if isinstance(value, float) else str(value)


def _distinct(names: list[str], taken: Collection[str], kind: str = "params") -> list[str]:
    """Names of columns; one that another column has already is marked with what it is."""
    return [f"{kind}.{name}" if name in taken else name for name in names]
