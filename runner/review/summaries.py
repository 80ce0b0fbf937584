"""Sweeps and trials as plain data for other programs, for JSON."""

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
        "ended_by": trial.cause,
        "reason": trial.reason,
        "lineage": [{"trial": one.parent, "epoch": one.epoch, "values": dict(one.values)} for one in trial.clones],
        "metric": sweep.metric,
        "score": trial.score(sweep.metric),
        "metrics": {name: value if math.isfinite(value) else str(value) for name, value in trial.metrics.items()},
        "settings": trial.used_settings,
        "best_epoch": trial.kept_epoch,
        "epochs": trial.epochs,
        "seconds": round(trial.seconds, 3),
        "seed": trial.trial.seed,
        "mlflow_run_id": trial.run_id,
    }
