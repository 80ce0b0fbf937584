"""Which of a sweep's trials is better: one order for results, models that are kept, and MLflow."""

from __future__ import annotations

from collections.abc import Iterable

from runner.journal.tables import SweepRecord, TrialRecord


def ranked(trials: Iterable[TrialRecord], sweep: SweepRecord) -> list[TrialRecord]:
    """Best first; of equals the one proposed first, those without a score last."""
    sign = -1.0 if sweep.goal == "maximize" else 1.0

    def place(trial: TrialRecord) -> tuple[bool, float, int]:
        value = trial.score(sweep.metric)
        return value is None, sign * (value or 0.0), trial.position

    return sorted(trials, key=place)


def beyond(most: int, trials: Iterable[TrialRecord], sweep: SweepRecord) -> list[TrialRecord]:
    """The trials outside the best `most` of each member; values of different members do not compare."""
    of_member: dict[str, list[TrialRecord]] = {}
    for trial in trials:
        of_member.setdefault(trial.member, []).append(trial)
    return [trial for group in of_member.values() for trial in ranked(group, sweep)[most:]]
