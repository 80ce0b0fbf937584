"""Settles what `auto` leaves open, before the first step: how steps are compiled, and how many make a turn.

Both are decided from the seconds of a step, measured once for an experiment and a machine and kept in a file, so that
the same sweep is settled alike the next time.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from runner.autotune.compilation import Compile, Timings, choose, is_worth_measuring
from runner.autotune.timings import TimingsFile, timings_key
from runner.records import Allocation, Checked, Facts, Failure, FailureKind, TrainSettings, Trial

CACHE = Path("~/.cache/lockstep-runner/timings.json")
TURN_S = 1.0  # long enough that control is noise, short enough to be watched
Check = Callable[[Sequence[Trial]], Mapping[str, Checked | Failure]]


class Settling:
    """Decides from what this machine has measured before or measures now.

    Args:
        file: where measurements are kept.
        allocation: the share of the machine that they are for.
        versions: of the packages that change measurements.
        check: tries trials in the fleet, `Fleet.check`.
    """

    def __init__(self, file: TimingsFile, allocation: Allocation, versions: Mapping[str, str], check: Check) -> None:
        self._file, self._allocation = file, allocation
        self._versions, self._check = dict(versions), check
        self._refused: dict[str, FailureKind] = {}  # XLA, by the key of what it has failed for since

    def is_known(self, trials: Sequence[Trial]) -> bool:
        """Whether this machine has timed every member's first trial before, so that their checks need not."""
        known = self._known(trials)
        return all(of and (of.xla_s is not None or trial.train.compile != "auto") for trial, of in known)

    def has_checked(self, trials: Sequence[Trial]) -> bool:
        """Whether every member's first trial has passed a check on this machine, with the same code and settings."""
        return all(of is not None for _, of in self._known(trials))

    def check(self, trials: Sequence[Trial]) -> Mapping[str, Checked | Failure]:
        """As `Fleet.check`, compiled as the last sweep's trials were: what a check traces is not traced again."""
        likely = [self._as_last_time(trial) for trial in trials]
        found = dict(self._check(likely))
        again = {}
        for trial, tried in zip(trials, likely, strict=True):
            answer = found.get(trial.id)
            if trial != tried and isinstance(answer, Failure) and answer.kind in ("build", "oom"):
                again[trial.id], self._refused[self._key(trial)] = trial, answer.kind
        return {**found, **(self._check(list(again.values())) if again else {})}

    def settle(self, trials: Sequence[Trial], checked: Mapping[str, Checked], slots: int) -> tuple[Trial, ...]:
        """The trials with nothing left to `auto`.

        Args:
            trials: of the whole sweep.
            checked: by member, what the check of one of its trials found.
            slots: trials that train side by side.
        """
        tried = {trial.member: trial for trial in trials if trial.id == checked[trial.member].trial_id}
        steps = _steps_in_a_slot(trials, checked, slots)
        most = {member: max(steps[_alike(t)] for t in trials if t.member == member) for member in tried}
        timings = {member: self._timings(tried[member], checked[member], most[member]) for member in tried}
        return tuple(
            _settled(trial, checked[trial.member].facts, timings[trial.member], steps[_alike(trial)])
            for trial in trials
        )

    def _as_last_time(self, trial: Trial) -> Trial:
        known = self._file.get(self._key(trial)) if trial.train.compile == "auto" else None
        by_xla = known is not None and choose(known, known.steps) == "xla"
        return _compiled(trial, "xla") if by_xla else trial

    def _known(self, trials: Sequence[Trial]) -> list[tuple[Trial, Timings | None]]:
        """Each member's first trial, with what this machine has measured of it."""
        firsts = {trial.member: trial for trial in reversed(trials)}
        return [(trial, self._file.get(self._key(trial))) for trial in firsts.values()]

    def _key(self, trial: Trial) -> str:
        return timings_key(trial, self._allocation, self._versions)

    def _timings(self, trial: Trial, check: Checked, steps: float) -> Timings:
        if trial.train.compile == "xla":  # asked for: its check has timed it so
            return Timings(graph_s=check.step_s)
        key = self._key(trial)
        known = self._file.get(key) or Timings(graph_s=check.step_s)
        open_ = known.xla_s is None and trial.train.compile == "auto" and check.facts.program != "plain"
        if open_ and is_worth_measuring(known.graph_s, steps, on_gpu=self._allocation.num_gpus > 0):
            known = self._with_xla(trial, known)
        known = replace(known, steps=steps)
        refused, without = self._refused.get(key), replace(known, xla_s=math.inf)
        self._file.put(key, without if refused == "build" else known)  # memory may be free another time
        return without if refused else known

    def _with_xla(self, trial: Trial, known: Timings) -> Timings:
        found = self._check([_compiled(trial, "xla")])[trial.id]
        if isinstance(found, Failure):  # not every operation can be compiled
            return replace(known, xla_s=math.inf)
        return replace(known, xla_s=found.step_s, xla_compile_s=found.trace_s)


def steps_per_epoch(trial: Trial, facts: Facts) -> int:
    """A trial's steps an epoch, from the facts of another trial on the same data."""
    if trial.train.steps_per_epoch is not None:
        return trial.train.steps_per_epoch
    return facts.steps_per_epoch if facts.rows is None else math.ceil(facts.rows / trial.train.batch_size)


def with_turns(trial: Trial, facts: Facts, step_s: float) -> TrainSettings:
    """The trial's settings with its turns decided: equal ones of about `TURN_S` at most.

    All of its epochs are halved until they are short enough, and then one epoch is: measurements that differ a little
    decide alike. A turn has one epoch at most where a rule decides after each, and of pipelines, of which nothing
    foretells how long they validate.

    Args:
        trial: whose settings.
        facts: of another trial on the same data.
        step_s: seconds of a step.
    """
    train, length = trial.train, steps_per_epoch(trial, facts)
    if train.steps_per_round is not None or train.epochs_per_round > 1:
        return train
    epochs = math.ceil(train.epochs / _parts(step_s * (length + _validation_steps(trial, facts)), train.epochs))
    ruled = train.early_stopping is not None or train.reduce_lr_on_plateau is not None
    if epochs > 1 and facts.rows is not None and not ruled:
        return replace(train, epochs_per_round=epochs)
    return replace(train, steps_per_round=math.ceil(length / _parts(step_s, length)))


def _parts(seconds: float, count: int) -> int:
    """Into how many parts so many things are halved that take so many seconds each, so that a part is short enough."""
    parts = 1
    while parts < count and seconds * count > TURN_S * parts:
        parts *= 2
    return parts


def _validation_steps(trial: Trial, facts: Facts) -> float:
    """Most that validation takes of an epoch's time, as training steps."""
    return (facts.validation_rows or 0) / trial.train.batch_size / trial.train.validate_every


def _settled(trial: Trial, facts: Facts, timings: Timings, steps: float) -> Trial:
    how = choose(timings, steps) if trial.train.compile == "auto" else trial.train.compile
    settled = _compiled(trial, how)
    return replace(settled, train=with_turns(settled, facts, timings.step_s(how)))


def _steps_in_a_slot(trials: Sequence[Trial], checked: Mapping[str, Checked], slots: int) -> dict[object, float]:
    """Steps that one slot takes of each group of like trials: a worker compiles once for all of them."""
    totals: dict[object, list[int]] = defaultdict(list)
    for trial in trials:
        length = steps_per_epoch(trial, checked[trial.member].facts)
        totals[_alike(trial)].append(length * trial.train.epochs)
    return {key: sum(steps) / min(slots, len(steps)) for key, steps in totals.items()}


def _alike(trial: Trial) -> object:
    """Equal for trials that probably share one compiled program: only rates, which are floats, and seeds differ."""
    settings = trial.settings
    shape = [(name, settings[name]) for name in trial.searched if name != "seed" and name in settings]
    return trial.member, repr([(name, value) for name, value in shape if not isinstance(value, float)])


def _compiled(trial: Trial, how: Compile) -> Trial:
    return replace(trial, train=replace(trial.train, compile=how))
