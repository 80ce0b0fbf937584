"""What sweeps reached, and how fast, side by side."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence, Set
from itertools import accumulate

from runner.errors import ConfigError
from runner.journal import JournalReader, epoch_key
from runner.review.catalog import Review
from runner.review.tables import Table, readable

_PARTS = (0.1, 0.25, 0.5, 0.75, 1.0)  # of the epochs that each of the sweeps has trained


def score_table(reviews: Sequence[Review]) -> Table:
    """One row for each figure, one column for each sweep.

    `best` is the mean of a setting that has repeats, `median` is of the scores of its trials; `seconds` are those that
    trials have held slots, `wall seconds` those from the sweep's creation to its end. A mixed sweep has a best score
    and a median for each member.
    """
    columns = [_figures(review) for review in reviews]
    header = ["", *(review.sweep.id for review in reviews)]
    return Table(header, [[name, *(one[name] for one in columns)] for name in columns[0]])


def curve_table(reviews: Sequence[Review]) -> Table:
    """One row for each part of the epochs that each sweep has trained, with the best value of its metric until then.

    Epochs of all trials are counted in the order in which the journal has them, so that a sweep that ends bad trials
    early reaches the same value in fewer epochs.

    Raises:
        ConfigError: the sweeps have different metrics, or one has several members.
    """
    check_same_metric(reviews)
    if mixed := [review.sweep.id for review in reviews if review.is_mixed]:
        raise ConfigError(f"{mixed[0]} is a mixed sweep, whose members' scores do not compare; it has no such curve")
    curves = [best_so_far(review) for review in reviews]
    shortest = min(map(len, curves))
    counts = sorted({max(1, round(part * shortest)) for part in _PARTS}) if shortest else []
    header = ["epochs", *(review.sweep.id for review in reviews)]
    return Table(header, [[count, *(curve[count - 1] for curve in curves)] for count in counts])


def shared_table(reviews: Sequence[Review]) -> Table:
    """One row for each setting that was trained in all of these sweeps, with its mean score in each, best first.

    Settings are the same if all parameters of data and model are, and what any of the sweeps searches of `train`; the
    rest of `train`, and seeds, may differ. Those of different members of a mixed sweep are different.

    Raises:
        ConfigError: the sweeps have different metrics.
    """
    check_same_metric(reviews)
    searched = {name for review in reviews for name in review.searched}
    means = [_means(review, searched) for review in reviews]
    told = {"member", *searched}
    settings = [setting for setting in means[0] if all(setting in one for one in means)]
    shown = [" ".join(f"{name}={_short(value)}" for name, value in one if name in told) for one in settings]
    if len({*shown}) < len(shown):  # some differ only in digits that are left out
        shown = [" ".join(f"{name}={value}" for name, value in one if name in told) for one in settings]
    rows = [[text, *(one[setting] for one in means)] for text, setting in zip(shown, settings, strict=True)]
    return Table(["setting", *(review.sweep.id for review in reviews)], rows)


def check_same_metric(reviews: Sequence[Review]) -> None:
    """Raises if the scores of these sweeps do not compare.

    Raises:
        ConfigError: the sweeps have different metrics.
    """
    metrics = {review.sweep.id: f"{review.sweep.metric} ({review.sweep.goal})" for review in reviews}
    if len({*metrics.values()}) > 1:
        found = ", ".join(f"{sweep} by {metric}" for sweep, metric in metrics.items())
        raise ConfigError(f"scores of different metrics do not compare: {found}")


def best_so_far(review: Review) -> list[float]:
    """The best value of the sweep's metric after each epoch that any of its trials has trained, as they were recorded.

    NaN until there is a finite value.
    """
    key, better = epoch_key(review.sweep.metric), max if review.sweep.goal == "maximize" else min
    with JournalReader(review.folder) as reader:
        values = [row.value for row in reader.metrics(key=key)]

    def best(so_far: float, value: float) -> float:
        known = [one for one in (so_far, value) if math.isfinite(one)]
        return better(known, default=math.nan)

    return list(accumulate(values, best, initial=math.nan))[1:]


def _figures(review: Review) -> dict[str, object]:
    sweep, trials, leaders = review.sweep, review.trials, review.leaders
    scores: dict[str, list[float]] = {}
    for trial in trials:
        if (score := trial.score(sweep.metric)) is not None:
            scores.setdefault(trial.member, []).append(score)
    return {
        "status": sweep.status,
        "metric": f"{sweep.metric} ({sweep.goal})",
        "best": _alone([review.setting_of(leader).mean for leader in leaders]),
        "best trial": _alone([leader.id for leader in leaders]),
        "median": _alone([statistics.median(found) for found in scores.values()]),
        "trials": len(trials),
        **{status: sum(trial.status == status for trial in trials) for status in ("complete", "stopped", "failed")},
        "epochs": sum(trial.epochs for trial in trials),
        "seconds": round(sum(trial.seconds for trial in trials), 1),
        "wall seconds": None if sweep.ended_ms is None else round((sweep.ended_ms - sweep.created_ms) / 1000, 1),
    }


def _alone(values: Sequence[object]) -> object:
    """A single value by itself; several together."""
    return values[0] if len(values) == 1 else tuple(values) or None


def _short(value: str) -> str:
    """A setting's value in four significant digits, if it is a fraction."""
    try:
        return readable(float(value)) if "." in value else value
    except ValueError:
        return value


def _means(review: Review, searched: Set[str]) -> dict[tuple[tuple[str, str], ...], float]:
    """The mean score of each setting, best first, by names and values as text."""
    found: dict[tuple[tuple[str, str], ...], float] = {}
    for _, one in review.by_setting:
        used = one.trials[0].used_settings.items()
        matters = sorted(
            (name, str(value))
            for name, value in used
            if name not in ("seed", "fold") and (name in searched or not name.startswith("train."))
        )
        member = [("member", one.trials[0].member)] if review.is_mixed else []
        if one.mean is not None:
            found[(*member, *matters)] = one.mean
    return found
