"""All that figures need of a sweep, read from its journal at once."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from pathlib import Path
from typing import Any

from runner.config.space import Dimension
from runner.config.written_space import dimensions_of
from runner.journal import PARAM_PREFIX, BarrierRow, JournalReader, TrialRecord, TurnRow, epoch_key
from runner.records.decision import FREEZING
from runner.review.catalog import Review, open_review
from runner.review.tables import readable
from runner.review.timeline import Overheads, summarize

LONGEST_LABEL = 20  # characters of a text on an axis
Curve = tuple[tuple[int, float], ...]
"""Values of the metric by epoch, finite ones only."""


@dataclass(frozen=True, kw_only=True, eq=False)
class SweepData:
    """A sweep as figures see it. Each is equal to itself alone, so that what is learnt from it can be kept.

    Args:
        review: the sweep and its trials, best first.
        curves: the metric by epoch, by trial.
        schedules: by name the values of parameters that have changed while trials were trained, by epoch and trial.
        turns: every turn, by its start.
        barriers: every barrier, in order.
        dimensions: of the recorded search space, by member and name; a member without its own has those at the top.
    """

    review: Review
    curves: Mapping[str, Curve]
    schedules: Mapping[str, Mapping[str, Curve]]
    turns: tuple[TurnRow, ...]
    barriers: tuple[BarrierRow, ...]
    dimensions: Mapping[str, Mapping[str, Dimension]]

    @property
    def metric(self) -> str:
        """What ranks the trials."""
        return self.review.sweep.metric

    @property
    def maximizes(self) -> bool:
        """Whether more is better."""
        return self.review.sweep.goal == "maximize"

    @cached_property
    def scored(self) -> tuple[TrialRecord, ...]:
        """The trials that have a score, best first."""
        return tuple(trial for trial in self.review.trials if self.score(trial) is not None)

    @cached_property
    def members(self) -> tuple[str, ...]:
        """The members, in order."""
        return tuple(dict.fromkeys(trial.member for trial in self.review.trials))

    @cached_property
    def best(self) -> TrialRecord | None:
        """The winner; of a mixed sweep the first member's."""
        return next(iter(self.review.leaders), None)

    @cached_property
    def overheads(self) -> Overheads | None:
        """What time was spent on; None if no trial has had a turn."""
        return summarize(self.review.sweep.created_ms / 1000, self.turns, self.barriers)

    @cached_property
    def rungs(self) -> tuple[int, ...]:
        """The epochs after which trials were stopped because others were better."""
        return tuple(sorted({one.epochs for one in self.review.trials if one.ended_by in ("halving", "hyperband")}))

    @cached_property
    def common_epoch(self) -> int | None:
        """The epoch that all trials with a score have reached, if some were ended before others; else None.

        Scores of trials that had different numbers of epochs say more about who was stopped than about their settings.
        """
        cut = [one for one in self.scored if one.status != "complete" and one.ended_by in FREEZING]
        return min((one.epochs for one in self.scored), default=None) if cut else None

    def score(self, trial: TrialRecord) -> float | None:
        """The trial's score."""
        return trial.score(self.metric)

    def fair_score(self, trial: TrialRecord) -> float | None:
        """What compares settings: the score, or the metric after `common_epoch` if rules have stopped trials."""
        if self.common_epoch is None:
            return self.score(trial)
        values = [value for epoch, value in self.curves[trial.id] if epoch <= self.common_epoch]
        return values[-1] if values else None

    def of_member(self, member: str) -> tuple[TrialRecord, ...]:
        """A member's trials with a score, best first."""
        return tuple(trial for trial in self.scored if trial.member == member)

    def varied(self, member: str | None = None) -> list[str]:
        """The searched settings, without the seed, that have more than one value."""
        trials = [one for one in self.review.trials if member is None or one.member == member]
        names = [name for name in self.review.searched if name not in ("seed", "fold")]
        return [name for name in names if len({str(value_of(one, name)) for one in trials}) > 1]

    def best_so_far(self, values: Iterable[float]) -> list[float]:
        """The best of the values up to each of them."""
        return list(accumulate(values, max if self.maximizes else min))

    def values_of(self, member: str) -> list[float]:
        """What ranks a member's settings, best first: with repeats their means, else their scores.

        Once any trial has ended well, of those that have; and of settings all of whose repeats have a score, if any.
        """
        settings = [one for _, one in self.review.by_setting if one.trials[0].member == member]
        if self.review.has_repeats and len(settings) > 1:
            whole = [one for one in settings if all(self.score(trial) is not None for trial in one.trials)]
            return [one.mean for one in whole or settings if one.mean is not None]
        trials = self.of_member(member)
        ended = [one for one in trials if one.ended_well]
        return [score for one in ended or trials if (score := self.score(one)) is not None]


def read_sweep(folder: Path) -> SweepData:
    """Reads a sweep's journal.

    Raises:
        SweepNotFoundError: the folder has no journal.
        JournalError: it cannot be read.
    """
    review = open_review(folder)
    with JournalReader(folder) as reader:
        curves = _curves(reader, epoch_key(review.sweep.metric))
        schedules = {name: _curves(reader, PARAM_PREFIX + name) for name in review.searched}
        turns, barriers = reader.turns(), reader.barriers()
    return SweepData(
        review=review,
        curves={trial.id: curves.get(trial.id, ()) for trial in review.trials},
        schedules={name: found for name, found in schedules.items() if found},
        turns=turns,
        barriers=barriers,
        dimensions=dimensions_of(review.sweep.config, {trial.member for trial in review.trials}),
    )


def _curves(reader: JournalReader, key: str) -> dict[str, Curve]:
    found: dict[str, list[tuple[int, float]]] = {}
    for row in reader.metrics(key=key):
        if math.isfinite(row.value):
            found.setdefault(row.trial, []).append((row.step, row.value))
    return {trial: tuple(sorted(points)) for trial, points in found.items()}


def value_of(trial: TrialRecord, name: str) -> object:
    """A trial's value of a setting; None if it does not matter for the trial."""
    return None if name in trial.trial.inactive else trial.settings.get(name)


def time_unit(seconds: float) -> tuple[str, float]:
    """What to show times in, if the longest is this one: the unit's name, and its length in seconds."""
    return ("hours", 3600.0) if seconds > 3 * 3600 else ("minutes", 60.0) if seconds > 180 else ("seconds", 1.0)


def label_of(trial: TrialRecord, names: Sequence[str]) -> str:
    """A trial's settings in one line."""
    return " ".join(f"{name}={readable(value_of(trial, name))}" for name in names if value_of(trial, name) is not None)


def short_texts(values: Sequence[Any]) -> dict[Any, Any]:
    """The values, long texts shortened and still different."""
    found: dict[Any, Any] = {}
    for value in values:
        text = value
        if isinstance(value, str) and len(value) > LONGEST_LABEL:
            start = f"{value[: LONGEST_LABEL - 1]}…"
            same = sum(str(other).startswith(start) for other in found.values())
            text = f"{start}{same + 1}" if same else start
        found[value] = text
    return found
