"""Decides what `auto` means before the first step: how steps are compiled, and how many steps make a turn.

Both decisions follow from the seconds of a step. They are measured once for an experiment and a machine and kept in a
file, so that the same sweep is decided alike the next time.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from runner.autotune import stacking
from runner.autotune.cache import TimingsFile, timings_key
from runner.autotune.compilation import Compile, Timings, choose, is_worth_measuring
from runner.records import Allocation, Checked, Facts, Failure, FailureKind, StackTrial, TrainSettings, Trial

CACHE = Path("~/.cache/lockstep-runner/timings.json")
TURN_S = 1.0  # long enough to make control negligible, short enough to show progress
Check = Callable[[Sequence[Trial]], Mapping[str, Checked | Failure]]


class AutoSettings:
    """Decides from step times that this machine has measured before or measures now.

    Args:
        file: keeps the measurements.
        allocation: the slot's share of the machine, on which they depend.
        versions: of the packages on which they depend.
        check: tries trials in the fleet, `Fleet.check`.
    """

    def __init__(self, file: TimingsFile, allocation: Allocation, versions: Mapping[str, str], check: Check) -> None:
        self._file, self._allocation = file, allocation
        self._versions, self._check = dict(versions), check
        self._refused: dict[str, FailureKind] = {}  # why XLA failed in this sweep, by key

    def is_known(self, trials: Sequence[Trial]) -> bool:
        """Whether every member's first trial was timed on this machine before, so that the check need not time it."""
        known = self._known(trials)
        return all(of and (of.xla_s is not None or trial.train.compile != "auto") for trial, of in known)

    def has_checked(self, trials: Sequence[Trial]) -> bool:
        """Whether every member's first trial passed a check on this machine with the same code and settings."""
        return all(of is not None for _, of in self._known(trials))

    def check(self, trials: Sequence[Trial]) -> Mapping[str, Checked | Failure]:
        """As `Fleet.check`, but compiled as in the last sweep, because training reuses what the check has traced."""
        likely = [self._as_last_time(trial) for trial in trials]
        found = dict(self._check(likely))
        again = {}
        for trial, tried in zip(trials, likely, strict=True):
            answer = found.get(trial.id)
            if trial != tried and isinstance(answer, Failure) and answer.kind in ("build", "oom"):
                again[trial.id], self._refused[self._key(trial)] = trial, answer.kind
        return {**found, **(self._check(list(again.values())) if again else {})}

    def decide(self, trials: Sequence[Trial], checked: Mapping[str, Checked], slots: int) -> tuple[Trial, ...]:
        """The trials with every `auto` decided.

        Args:
            trials: of the whole sweep.
            checked: by member, what the check of one of its trials found.
            slots: trials that train side by side.
        """
        tried = {trial.member: trial for trial in trials if trial.id == checked[trial.member].trial_id}
        steps = _steps_in_a_slot(trials, checked, slots)
        most = {member: max(steps[t.likely_program] for t in trials if t.member == member) for member in tried}
        timings = {member: self._timings(tried[member], checked[member], most[member]) for member in tried}
        return tuple(
            _decided(trial, checked[trial.member].facts, timings[trial.member], steps[trial.likely_program])
            for trial in trials
        )

    def stacked(
        self,
        trials: Sequence[Trial],
        undecided: Sequence[Trial],
        checked: Mapping[str, Checked],
        slots: int,
        wanted: stacking.Wanted,
        common_epochs: Mapping[str, int],
    ) -> tuple[tuple[Trial, ...], list[str]]:
        """The trials that `decide` has returned, with the sizes of their stacks; and why some are not as large.

        Args:
            trials: as `decide` returned them.
            undecided: as `decide` got them.
            checked: as for `decide`.
            slots: as for `decide`.
            wanted: `resources.stack`.
            common_epochs: by member, for how many epochs a stack has all of its trials.
        """
        sizes = stacking.sizes(trials, slots, wanted)
        firsts = {trial.likely_program: trial for trial in reversed(trials) if trial.likely_program in sizes}
        totals = _steps_in_a_slot(trials, checked, slots, common_epochs)
        timings = {key: self._file.get(self._key(trial)) for key, trial in firsts.items()}
        step_s = {
            key: of.step_s("xla" if trial.train.compile == "xla" else "graph")
            if (of := timings[key]) is not None
            else checked[trial.member].step_s
            for key, trial in firsts.items()
        }
        if wanted == "auto":
            on_gpu = self._allocation.num_gpus > 0  # where no stack has been timed yet
            firsts = {
                key: trial
                for key, trial in firsts.items()
                if not on_gpu
                and trial.train.compile != "graph"
                and stacking.is_worth_trying(sizes[key], step_s[key], totals[key])
            }
        tried = self._tried_stacks({key: _in_stack(trial, sizes[key]) for key, trial in firsts.items()})
        used = {
            key: one
            for key, one in tried.items()
            if not one.reason and (wanted != "auto" or stacking.is_faster(one, step_s[key], totals[key]))
        }
        refused = {key: one.reason for key, one in tried.items() if one.reason and wanted != "auto"}
        found = tuple(
            _in_used_stack(before, used[trial.likely_program], checked[trial.member].facts)
            if trial.likely_program in used
            else _refused(trial, refused.get(trial.likely_program, ""))
            for trial, before in zip(trials, undecided, strict=True)
        )
        return found, [] if wanted == "auto" else stacking.refusals(found, wanted, sizes, tried)

    def _tried_stacks(self, trials: Mapping[tuple[str, str], Trial]) -> dict[tuple[str, str], StackTrial]:
        """What trying these trials' stacks has found, now or in an earlier sweep on this machine.

        One that takes a worker's life has no memory and is halved.
        """
        found: dict[tuple[str, str], StackTrial] = {}
        while trials:
            known = {key: self._file.stack(self._stack_key(trial), trial.train.stack) for key, trial in trials.items()}
            found |= {key: one for key, one in known.items() if one is not None}
            trials = {key: trial for key, trial in trials.items() if key not in found}
            answers, smaller = self._check(list(trials.values())) if trials else {}, dict[tuple[str, str], Trial]()
            for key, trial in trials.items():
                answer, size = answers[trial.id], trial.train.stack
                if isinstance(answer, Failure) and answer.lost_worker and size > 2:
                    smaller[key] = _in_stack(trial, math.ceil(size / 2))
                elif isinstance(answer, Failure):
                    found[key] = StackTrial(size=size, reason=answer.message)
                elif answer.stacked is not None:
                    found[key] = answer.stacked
                    self._file.put_stack(self._stack_key(trial), answer.stacked)
            trials = smaller
        return found

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

    def _stack_key(self, trial: Trial) -> str:
        """Whether a stack has room also depends on the limit of host memory, beyond which XLA crashes."""
        return f"{self._key(trial)} within {self._allocation.memory_mib} MiB"

    def _timings(self, trial: Trial, check: Checked, steps: float) -> Timings:
        if trial.train.compile == "xla":  # asked for by the config: the check timed it this way
            return Timings(graph_s=check.step_s)
        key = self._key(trial)
        known = self._file.get(key) or Timings(graph_s=check.step_s)
        open_ = known.xla_s is None and trial.train.compile == "auto" and check.facts.program != "plain"
        if open_ and is_worth_measuring(known.graph_s, steps, on_gpu=self._allocation.num_gpus > 0):
            known = self._with_xla(trial, known)
        known = replace(known, steps=steps)
        refused, without = self._refused.get(key), replace(known, xla_s=math.inf)
        self._file.put(
            key, without if refused == "build" else known
        )  # out of memory is not kept: there may be more memory next time
        return without if refused else known

    def _with_xla(self, trial: Trial, known: Timings) -> Timings:
        found = self._check([_compiled(trial, "xla")])[trial.id]
        if isinstance(found, Failure):  # XLA cannot compile every operation
            return replace(known, xla_s=math.inf)
        return replace(known, xla_s=found.step_s, xla_compile_s=found.trace_s)


def steps_per_epoch(trial: Trial, facts: Facts) -> int:
    """A trial's steps per epoch, from the facts of another trial on the same data."""
    if trial.train.steps_per_epoch is not None:
        return trial.train.steps_per_epoch
    return facts.steps_per_epoch if facts.rows is None else math.ceil(facts.rows / trial.train.batch_size)


def with_turns(trial: Trial, facts: Facts, step_s: float) -> TrainSettings:
    """The trial's settings with the length of its turns decided: equal turns of about `TURN_S` at most.

    Halves all epochs of the trial until a part is short enough, and then one epoch, so that measurements that differ a
    little decide alike. A turn has at most one epoch if a rule decides after each epoch, and for pipelines, because
    nothing predicts how long their validation takes.

    Args:
        trial: whose settings.
        facts: of another trial on the same data.
        step_s: seconds of a step.
    """
    train, length = trial.train, steps_per_epoch(trial, facts)
    if train.steps_per_round is not None or train.epochs_per_round > 1:
        return train
    epochs = math.ceil(train.epochs / _parts(step_s * (length + _validation_steps(trial, facts)), train.epochs))
    ruled = any(rule is not None for rule in (train.early_stopping, train.reduce_lr_on_plateau, train.max_seconds))
    if epochs > 1 and facts.rows is not None and not ruled:
        return replace(train, epochs_per_round=epochs)
    return replace(train, steps_per_round=math.ceil(length / _parts(step_s, length)))


def _parts(seconds: float, count: int) -> int:
    """Smallest power of two that keeps each part of `count` units of `seconds` under `TURN_S`; `count` at most."""
    parts = 1
    while parts < count and seconds * count > TURN_S * parts:
        parts *= 2
    return parts


def _validation_steps(trial: Trial, facts: Facts) -> float:
    """Upper bound of an epoch's validation time, in training steps."""
    return (facts.validation_rows or 0) / trial.train.batch_size / trial.train.validate_every


def _decided(trial: Trial, facts: Facts, timings: Timings, steps: float) -> Trial:
    how = choose(timings, steps) if trial.train.compile == "auto" else trial.train.compile
    compiled = _compiled(trial, how)
    return replace(compiled, train=with_turns(compiled, facts, timings.step_s(how)))


def _steps_in_a_slot(
    trials: Sequence[Trial], checked: Mapping[str, Checked], slots: int, most_epochs: Mapping[str, int] | None = None
) -> dict[tuple[str, str], float]:
    """Steps of one slot in each group of alike trials, for all of which a worker compiles once; by members' epochs."""
    totals: dict[tuple[str, str], list[int]] = defaultdict(list)
    for trial in trials:
        length = steps_per_epoch(trial, checked[trial.member].facts)
        epochs = trial.train.epochs if most_epochs is None else most_epochs[trial.member]
        totals[trial.likely_program].append(length * epochs)
    return {key: sum(steps) / min(slots, len(steps)) for key, steps in totals.items()}


def _in_used_stack(undecided: Trial, tried: StackTrial, facts: Facts) -> Trial:
    """The trial in a stack, with turns that are as long for all of its models together as others are for one."""
    trial = _in_stack(undecided, tried.size)
    return replace(trial, train=with_turns(trial, facts, tried.step_s))


def _refused(trial: Trial, reason: str) -> Trial:
    return replace(trial, train=replace(trial.train, stack_refused=reason)) if reason else trial


def _in_stack(trial: Trial, size: int) -> Trial:
    return replace(trial, train=replace(trial.train, compile="xla", stack=size))


def _compiled(trial: Trial, how: Compile) -> Trial:
    return replace(trial, train=replace(trial.train, compile=how))
