"""Ranks a sweep's trials: one order for results, for the models that are kept, and for MLflow."""

from __future__ import annotations

import statistics
from collections.abc import Iterable
from dataclasses import dataclass

from runner.journal.tables import SweepRecord, TrialRecord


def ranked(trials: Iterable[TrialRecord], sweep: SweepRecord) -> list[TrialRecord]:
    """Best first; ties in the order in which they were proposed, trials without a score last."""
    sign = -1.0 if sweep.goal == "maximize" else 1.0

    def place(trial: TrialRecord) -> tuple[bool, float, int]:
        value = trial.score(sweep.metric)
        return value is None, sign * (value or 0.0), trial.position

    return sorted(trials, key=place)


@dataclass(frozen=True, kw_only=True, slots=True)
class SettingRecord:
    """One setting with its repeats.

    Args:
        trials: of the setting, best first; they differ in their seeds.
        mean: of their scores; None if none has one.
        spread: standard deviation of their scores; None for fewer than two.
        scores: how many have one.
    """

    trials: tuple[TrialRecord, ...]
    mean: float | None
    spread: float | None
    scores: int


def ranked_settings(trials: Iterable[TrialRecord], sweep: SweepRecord) -> list[SettingRecord]:
    """Settings by the mean of their trials' scores, best first; those without a score last.

    A setting with a repeat that has no score, because it failed, comes after those whose repeats all have one.
    """
    groups: dict[str, list[TrialRecord]] = {}
    for trial in trials:
        groups.setdefault(trial.trial.setting, []).append(trial)
    found = [_setting(ranked(group, sweep), sweep) for group in groups.values()]
    sign = -1.0 if sweep.goal == "maximize" else 1.0
    missing = {id(one): sum(trial.score(sweep.metric) is None for trial in one.trials) for one in found}
    return sorted(found, key=lambda one: (one.mean is None, missing[id(one)] > 0, sign * (one.mean or 0.0)))


def best_of(trials: Iterable[TrialRecord], sweep: SweepRecord) -> TrialRecord | None:
    """The best trial of the best setting, which is the one with the best mean if settings have repeats.

    Args:
        trials: of one member.
        sweep: what ranks them.

    Returns:
        None if none has a score.
    """
    first = next(iter(ranked_settings(sorted(trials, key=lambda trial: trial.position), sweep)), None)
    return None if first is None or first.mean is None else first.trials[0]


def winner_of(trials: Iterable[TrialRecord], sweep: SweepRecord) -> TrialRecord | None:
    """The best trial of a sweep that has ended well; of a mixed sweep the first member's, as members do not compare.

    Returns:
        None if none has ended well with a score.
    """
    members: dict[str, list[TrialRecord]] = {}
    for trial in sorted(trials, key=lambda one: one.position):
        members.setdefault(trial.member, []).append(trial)
    found = (best_of((one for one in group if one.ended_well), sweep) for group in members.values())
    return next((trial for trial in found if trial is not None), None)


def _setting(trials: list[TrialRecord], sweep: SweepRecord) -> SettingRecord:
    scores = [score for trial in trials if (score := trial.score(sweep.metric)) is not None]
    return SettingRecord(
        trials=tuple(trials),
        mean=statistics.fmean(scores) if scores else None,
        spread=statistics.stdev(scores) if len(scores) > 1 else None,
        scores=len(scores),
    )


def beyond(most: int, trials: Iterable[TrialRecord], sweep: SweepRecord) -> list[TrialRecord]:
    """The trials beyond the best `most` of each member; scores of different members do not compare."""
    of_member: dict[str, list[TrialRecord]] = {}
    for trial in trials:
        of_member.setdefault(trial.member, []).append(trial)
    return [trial for group in of_member.values() for trial in ranked(group, sweep)[most:]]
