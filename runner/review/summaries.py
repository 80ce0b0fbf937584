"""Sweeps and trials as plain data for other programs: JSON and CSV."""

from __future__ import annotations

import math

from runner.journal import SweepRecord, TrialRecord
from runner.review.catalog import Review


def sweep_summary(review: Review) -> dict[str, object]:
    """The sweep with all its trials, best first."""
    sweep = review.sweep
    trials = [trial_summary(sweep, trial) for trial in review.trials]
    facts = {"id": sweep.id, "name": sweep.name, "status": sweep.status, "metric": sweep.metric, "goal": sweep.goal}
    times = {"created_ms": sweep.created_ms, "ended_ms": sweep.ended_ms}
    return {**facts, **times, "trials": trials, **({"by_setting": _settings(review)} if review.has_repeats else {})}


def _settings(review: Review) -> list[dict[str, object]]:
    """The settings of a sweep with repeats, best first, with the mean and the spread of their scores."""
    return [
        {"rank": rank, "trials": [trial.id for trial in one.trials], "mean": one.mean, "spread": one.spread}
        for rank, one in review.by_setting
    ]


def trial_summary(sweep: SweepRecord, trial: TrialRecord) -> dict[str, object]:
    """One trial. Metrics that are not finite are text, because JSON has no such numbers."""
    return {
        "sweep": sweep.id,
        "trial": trial.id,
        "member": trial.member,
        "status": trial.status,
        "reason": trial.reason,
        "lineage": [{"trial": one.parent, "epoch": one.epoch, "values": dict(one.values)} for one in trial.clones],
        "metric": sweep.metric,
        "score": trial.score(sweep.metric),
        "metrics": {name: value if math.isfinite(value) else str(value) for name, value in trial.metrics.items()},
        "settings": trial.used_settings,
        "best_epoch": trial.kept_epoch,
        "epochs": trial.epochs,
        "seed": trial.trial.seed,
        "mlflow_run_id": trial.run_id,
    }


def setting_table(review: Review) -> tuple[list[str], list[list[object]]]:
    """Header and rows with everything that is known of each setting; no two columns have the same name."""
    folded = any(trial.trial.folds is not None for trial in review.trials)
    left_out = {"seed", "fold"} if folded else {"seed"}
    settings = list(dict.fromkeys(name for trial in review.trials for name in trial.used_settings))
    settings = [name for name in settings if name not in left_out]
    own = ["rank", "member", "trials", "repeats", "ended", "mean", "spread"]
    rows: list[list[object]] = []
    for rank, one in review.by_setting:
        trials = sorted(one.trials, key=lambda trial: trial.position)
        used, ended = trials[0].used_settings, sum(trial.ended_well for trial in trials)
        identity = [rank, trials[0].member, tuple(trial.id for trial in trials), len(trials), ended]
        rows.append([*identity, one.mean, one.spread, *(used.get(name) for name in settings)])
    return [*own, *(f"params.{name}" if name in own else name for name in settings)], rows


def full_table(review: Review) -> tuple[list[str], list[list[object]]]:
    """Header and rows with everything that is known of each trial; no two columns have the same name."""
    names = review.metric_names
    settings = list(dict.fromkeys(name for trial in review.trials for name in trial.used_settings if name != "seed"))
    own = ["rank", "trial", "member", "status", "score", "best_epoch", "epochs", "seed"]
    taken = {*own, *names, "reason", "lineage"}
    header = [*own, *names, *(f"params.{name}" if name in taken else name for name in settings), "reason", "lineage"]
    rows: list[list[object]] = []
    for rank, trial in zip(review.ranks, review.trials, strict=True):
        identity = [rank, trial.id, trial.member, trial.status, trial.score(review.sweep.metric)]
        trained = [trial.kept_epoch, trial.epochs, trial.trial.seed]
        values = [trial.metrics.get(name) for name in names]
        used = trial.used_settings
        rows.append([*identity, *trained, *values, *(used.get(name) for name in settings), trial.reason, trial.lineage])
    return header, rows
