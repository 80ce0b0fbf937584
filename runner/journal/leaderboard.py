"""Ranks a sweep's trials: one order for results, for the models that are kept, and for MLflow."""

from __future__ import annotations

from collections.abc import Iterable

from runner.journal.tables import SweepRecord, TrialRecord


def ranked(trials: Iterable[TrialRecord], sweep: SweepRecord) -> list[TrialRecord]:
    """Best first; ties in the order in which they were proposed, trials without a score last."""
    sign = -1.0 if sweep.goal == "maximize" else 1.0

    def place(trial: TrialRecord) -> tuple[bool, float, int]:
        value = trial.score(sweep.metric)
        return value is None, sign * (value or 0.0), trial.position

    return sorted(trials, key=place)


def beyond(most: int, trials: Iterable[TrialRecord], sweep: SweepRecord) -> list[TrialRecord]:
    """The trials beyond the best `most` of each member; scores of different members do not compare."""
    of_member: dict[str, list[TrialRecord]] = {}
    for trial in trials:
        of_member.setdefault(trial.member, []).append(trial)
    return [trial for group in of_member.values() for trial in ranked(group, sweep)[most:]]
