"""Settles `train.compile: auto` before the first step, once for each experiment and machine."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

from runner.compilation import Timings, choose
from runner.records import Allocation, Checked, Facts, Trial
from runner.timings import TimingsFile, timings_key

CACHE = Path("~/.cache/lockstep-runner/timings.json")


class Settling:
    """Decides how trials are compiled, from what this machine has measured before or measures now.

    Args:
        file: where measurements are kept.
        allocation: the share of the machine that they are for.
        versions: of the packages that change them.
    """

    def __init__(self, file: TimingsFile, allocation: Allocation, versions: Mapping[str, str]) -> None:
        self._file, self._allocation, self._versions = file, allocation, dict(versions)

    def before_check(self, trial: Trial) -> Trial:
        """The trial as it is to be checked: without timing where that was done before."""
        known = self._file.get(self._key(trial))
        if trial.train.compile == "auto" and known is not None and known.xla_s is not None:
            return _compiled(trial, "graph")
        return trial

    def after_check(self, trials: Sequence[Trial], checked: Mapping[str, Checked]) -> tuple[Trial, ...]:
        """The trials with their compilation decided; new measurements are kept.

        Args:
            trials: of the whole sweep.
            checked: by member, what the check of its first trial found.
        """
        timings = {member: self._timings(trials, member, check) for member, check in checked.items()}
        return tuple(self._settled(trial, checked[trial.member].facts, timings[trial.member]) for trial in trials)

    def _timings(self, trials: Sequence[Trial], member: str, check: Checked) -> Timings | None:
        key = self._key(next(trial for trial in trials if trial.member == member))
        if check.timings is None:
            return self._file.get(key)
        if check.timings.xla_s is not None:
            self._file.put(key, check.timings)
        return check.timings

    def _settled(self, trial: Trial, facts: Facts, timings: Timings | None) -> Trial:
        if trial.train.compile != "auto":
            return trial
        if timings is None:
            return _compiled(trial, "graph")
        return _compiled(trial, choose(timings, trial.train.epochs * steps_per_epoch(trial, facts)))

    def _key(self, trial: Trial) -> str:
        return timings_key(trial, self._allocation, self._versions)


def steps_per_epoch(trial: Trial, facts: Facts) -> int:
    """A trial's steps an epoch, from the facts of another trial on the same data."""
    if trial.train.steps_per_epoch is not None:
        return trial.train.steps_per_epoch
    return facts.steps_per_epoch if facts.rows is None else math.ceil(facts.rows / trial.train.batch_size)


def _compiled(trial: Trial, how: Literal["graph", "xla"]) -> Trial:
    return replace(trial, train=replace(trial.train, compile=how))
