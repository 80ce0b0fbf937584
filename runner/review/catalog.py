"""The sweeps of a folder, read from their journals without MLflow: found by name, with their trials ranked."""

from __future__ import annotations

import contextlib
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from runner.errors import JournalError, SweepNotFoundError
from runner.journal import (
    FILE,
    JournalReader,
    SettingRecord,
    SweepRecord,
    TrialRecord,
    best_of,
    epoch_key,
    ranked,
    ranked_settings,
)

SWEEPS = Path("sweeps")
_NUMBERED = re.compile(r"-\d{8}-\d{6}-[0-9a-f]{4}$")  # what a sweep's id adds to its name
_MOST_NAMED = 10  # trials or sweeps in a message


@dataclass(frozen=True, kw_only=True, slots=True)
class Review:
    """A sweep with its trials, best first. A mixed sweep's trials are grouped by member.

    Args:
        trials: for each member, those with a score, best first, then the others in order.
        paused: ids of trials that wait until a user lets them go on.
    """

    folder: Path
    sweep: SweepRecord
    trials: tuple[TrialRecord, ...]
    paused: frozenset[str] = frozenset()

    @property
    def ranks(self) -> list[int | None]:
        """Each trial's rank within its member, from 1; None for a trial without a score."""
        counts: Counter[str] = Counter()
        ranks: list[int | None] = []
        for trial in self.trials:
            counts[trial.member] += 1
            ranks.append(counts[trial.member] if trial.score(self.sweep.metric) is not None else None)
        return ranks

    @property
    def by_setting(self) -> list[tuple[int | None, SettingRecord]]:
        """Each setting with its rank within its member, best first; None for one without a score."""
        found: list[tuple[int | None, SettingRecord]] = []
        for member in dict.fromkeys(trial.member for trial in self.trials):
            settings = ranked_settings((trial for trial in self.trials if trial.member == member), self.sweep)
            found += [(None if one.mean is None else rank, one) for rank, one in enumerate(settings, start=1)]
        return found

    @property
    def is_mixed(self) -> bool:
        """Whether it has several members, whose scores do not compare."""
        return len({trial.member for trial in self.trials}) > 1

    def setting_of(self, trial: TrialRecord) -> SettingRecord:
        """The trial's setting with its repeats."""
        return next(one for _, one in self.by_setting if trial in one.trials)

    @property
    def has_repeats(self) -> bool:
        """Whether a setting was trained with several seeds."""
        return any(len({trial.trial.seed for trial in setting.trials}) > 1 for _, setting in self.by_setting)

    @property
    def metric_names(self) -> list[str]:
        """The epoch metrics of all trials, the sweep's metric first."""
        names = dict.fromkeys(name for trial in self.trials for name in sorted(trial.metrics))
        return list({epoch_key(self.sweep.metric): None} | names)

    @property
    def searched(self) -> list[str]:
        """The settings that any trial's member varies."""
        return list(dict.fromkeys(name for trial in self.trials for name in trial.trial.searched))

    @property
    def leaders(self) -> tuple[TrialRecord, ...]:
        """As `best`; for a member without such a trial, its best trial that has not ended well."""
        others = {one.member: one for one in self._best_of_members(self.trials)}
        return tuple({**others, **{one.member: one for one in self.best}}.values())

    @property
    def best(self) -> tuple[TrialRecord, ...]:
        """Each member's best trial that has ended well; with repeats, the best one of the setting that ranks first.

        Scores of members do not compare, because their data differ.
        """
        return self._best_of_members(trial for trial in self.trials if trial.ended_well)

    def _best_of_members(self, trials: Iterable[TrialRecord]) -> tuple[TrialRecord, ...]:
        members: dict[str, list[TrialRecord]] = {}
        for trial in trials:
            members.setdefault(trial.member, []).append(trial)
        found = (best_of(group, self.sweep) for group in members.values())
        return tuple(trial for trial in found if trial is not None)

    def chosen(self, trial_id: str | None) -> tuple[TrialRecord, ...]:
        """The trial with this id; for None, the best.

        Raises:
            SweepNotFoundError: there is no such trial.
        """
        trials = self.best if trial_id is None else tuple(trial for trial in self.trials if trial.id == trial_id)
        if not trials and trial_id is not None:
            known = ", ".join(trial.id for trial in self.trials[:_MOST_NAMED])
            raise SweepNotFoundError(f"{self.sweep.id} has no trial {trial_id!r}; its trials are, best first, {known}")
        if not trials:
            raise SweepNotFoundError(
                f"{self.sweep.id}: no trial has ended with a value of {self.sweep.metric}; "
                f"`python -m runner results {self.sweep.id}` lists its trials"
            )
        return trials


def open_review(folder: Path) -> Review:
    """Reads a sweep's journal and ranks its trials.

    Raises:
        SweepNotFoundError: the folder has no journal.
    """
    with JournalReader(folder) as reader:
        sweep, trials, paused = reader.sweep(), reader.trials(), reader.paused()
    members = list(dict.fromkeys(trial.member for trial in trials))
    by_member = sorted(ranked(trials, sweep), key=lambda trial: members.index(trial.member))
    return Review(folder=folder, sweep=sweep, trials=tuple(by_member), paused=paused)


def find_sweep(name: str, root: Path = SWEEPS) -> Path:
    """The folder of a sweep.

    Args:
        name: the sweep's id, an unambiguous beginning of it, or "latest".
        root: the folder of all sweeps.

    Raises:
        SweepNotFoundError: no sweep or several sweeps match; the message names those that exist.
    """
    folders = sweep_folders(root)
    if not folders:
        raise SweepNotFoundError(f"{root}/: there is no sweep here yet; `python -m runner sweep` makes one")
    matching = folders[:1] if name == "latest" else [folder for folder in folders if folder.name.startswith(name)]
    exact = [folder for folder in matching if folder.name == name or _NUMBERED.sub("", folder.name) == name]
    if len(exact or matching) == 1:
        return (exact or matching)[0]
    known = ", ".join(folder.name for folder in (matching or folders)[:_MOST_NAMED])
    problem = "is ambiguous" if matching else "not found"
    raise SweepNotFoundError(f"sweep {name!r} {problem} in {root}/; there: {known}")


def sweep_folders(root: Path = SWEEPS) -> list[Path]:
    """The folders of all sweeps, newest first."""
    if not root.is_dir():
        return []
    folders = [path for path in root.iterdir() if (path / FILE).is_file()]
    return sorted(folders, key=lambda path: (path / FILE).stat().st_ctime, reverse=True)


def list_sweeps(root: Path = SWEEPS) -> list[Review]:
    """All sweeps, newest first."""
    reviews = []
    for folder in sweep_folders(root):
        # Its creation is in progress or was interrupted, or another version made it: `results` reports that.
        with contextlib.suppress(SweepNotFoundError, JournalError):
            reviews.append(open_review(folder))
    return sorted(reviews, key=lambda review: review.sweep.created_ms, reverse=True)
