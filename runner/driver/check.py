"""Checks before the first round that real models of all members can be trained."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TypeVar

from runner.autotune import stacking
from runner.autotune.auto import AutoSettings, Check
from runner.config import Config
from runner.config.schema import Train
from runner.driver.context import SweepWatcher
from runner.driver.metric import choose_metric
from runner.driver.preflight import Preflight
from runner.driver.prepare import Prepared, auto_settings, request_of
from runner.errors import ExperimentError, FleetError, StorageError
from runner.loop.interfaces import Fleet
from runner.loop.logged import with_last_lines
from runner.placement import plan_on_nodes
from runner.records import Checked, Facts, Failure, Goal, Trial
from runner.search.cohorts import Scoring
from runner.search.stopping import first_comparison
from runner.tracking import preload

A = TypeVar("A")


@dataclass(frozen=True, kw_only=True, slots=True)
class CheckedSweep:
    """A sweep whose members have passed the check.

    Args:
        prepared: the sweep with every `auto` decided, on as many workers as fit into memory.
        metric: the metric that ranks the trials.
        goal: whether higher or lower values are better.
        facts: of the first trial of each member, by member.
    """

    prepared: Prepared
    metric: str
    goal: Goal
    facts: Mapping[str, Facts]

    @property
    def scoring(self) -> Scoring:
        """What ranks the trials."""
        return Scoring(self.metric, self.goal)


def check(
    prepared: Prepared, fleet: Fleet, watcher: SweepWatcher, preflight: Preflight, awaits_stacks: Callable[[], None]
) -> CheckedSweep:
    """Tries each member in the fleet, and decides what the config leaves to `auto`.

    Args:
        prepared: the sweep.
        fleet: open.
        watcher: shows a person what is found.
        preflight: looks for mistakes meanwhile.
        awaits_stacks: called before stacks are tried, which takes a while.

    Raises:
        ExperimentError: a member cannot be trained.
        ConfigError: a metric or monitor that is asked for is never produced.
    """
    auto = auto_settings(prepared, fleet.check)
    with _importing_mlflow(prepared.config, at_once=auto.is_known(prepared.trials)):
        checked = check_members(prepared, auto.check)
        preflight.end()  # the check has found everything, and steps are timed from here on
        fitting = within_memory(prepared, checked, fleet)
        if len(fitting.slots) < len(prepared.slots):
            watcher.say(f"the free memory holds {len(fitting.slots)} of these at a time")
        decided = auto.decide(fitting.trials, checked, len(fitting.slots))
        if prepared.config.resources.stack != "off":
            awaits_stacks()
            decided = _in_stacks(auto, fitting, decided, checked, watcher)
        prepared = replace(fitting, trials=decided)
    for text in (*unrecorded(checked), *unused_settings(prepared, checked)):
        watcher.warn(text)
    metric, goal = choose_metric(prepared, checked)
    facts = {member: found.facts for member, found in checked.items()}
    return CheckedSweep(prepared=prepared, metric=metric, goal=goal, facts=facts)


def _in_stacks(
    auto: AutoSettings,
    prepared: Prepared,
    decided: tuple[Trial, ...],
    checked: Mapping[str, Checked],
    watcher: SweepWatcher,
) -> tuple[Trial, ...]:
    """The trials of `auto.decide`, in stacks as the config wants them."""
    wanted = prepared.config.resources.stack
    epochs = {trial.member: first_comparison(prepared.config.search, trial.train) for trial in prepared.trials}
    trials, refusals = auto.stacked(decided, prepared.trials, checked, len(prepared.slots), wanted, epochs)
    for text in (*refusals, *waves_too_small(prepared, trials)):
        watcher.warn(f"warning: {text}")
    if told := stacking.in_words(trials):
        watcher.say(told)
    return trials


def waves_too_small(prepared: Prepared, trials: Sequence[Trial]) -> Iterator[str]:
    """Says that a sampler which learns proposes fewer trials at a time than a stack may have."""
    wanted, size = prepared.config.resources.stack, max(trial.train.stack for trial in trials)
    if prepared.proposer is not None and isinstance(wanted, int) and 1 < size < wanted < prepared.most_trials:
        yield (
            f"resources.stack={wanted}: the sampler begins with a wave of {len(trials)} trials, so that stacks have at "
            f"most {size}; search.sampler=random begins with all"
        )


@contextmanager
def _importing_mlflow(config: Config, at_once: bool) -> Iterator[None]:
    """Imports MLflow in a thread: at once, while a core is idle during data loading, or after a check that times steps.

    Not while Ray starts, because it would delay Ray by more than it takes itself.
    """
    in_workers = config.fleet.kind == "ray"
    if in_workers and at_once:
        preload(config.tracking.uri)
    yield
    if in_workers and not at_once:
        preload(config.tracking.uri)


def check_members(prepared: Prepared, check: Check) -> dict[str, Checked]:
    """Tries the first trial of each member, and its last if the first fails: if both fail, the member is wrong.

    Args:
        prepared: the sweep.
        check: tries trials, as `Fleet.check` does.

    Returns:
        The results of the check, by member.

    Raises:
        ExperimentError: a member cannot be trained.
        StorageError: a disk is full.
        FleetError: all workers were lost.
    """
    checked, failures = _try_members(prepared.trials, check)
    if full := [_describe(trial, failure) for trial, failure in failures if failure.kind == "disk"]:
        raise StorageError("\n".join(full))
    if failures and all(failure.kind == "worker" for _, failure in failures):
        raise FleetError("\n".join(_describe(trial, failure) for trial, failure in failures))
    if failures:
        raise _error(failures)
    return checked


def refuse_mistakes(
    trials: Sequence[Trial], failures_of: Callable[[Sequence[Trial]], Mapping[str, Failure | None]]
) -> None:
    """Raises the errors of `check_members` that can be found without workers.

    Args:
        trials: of the whole sweep.
        failures_of: tries trials; a trial without a failure may still fail in a worker.

    Raises:
        ExperimentError: the code of a member fails in any case.
    """
    _, failures = _try_members(trials, failures_of)
    if failures:
        raise _error([(trial, with_last_lines(failure, "")) for trial, failure in failures])


def _try_members(
    trials: Sequence[Trial], check: Callable[[Sequence[Trial]], Mapping[str, A | Failure]]
) -> tuple[dict[str, A], list[tuple[Trial, Failure]]]:
    """Results of each member's first trial, or of its last, and the failures of members whose trials both fail."""
    of_member: dict[str, list[Trial]] = {}
    for trial in trials:
        of_member.setdefault(trial.member, []).append(trial)
    results = dict(check([trials[0] for trials in of_member.values()]))
    again = [trials[-1] for trials in of_member.values() if _may_pass_with_another(trials, results[trials[0].id])]
    results |= check(again) if again else {}
    passed: dict[str, A] = {}
    failures: list[tuple[Trial, Failure]] = []
    for member, trials in of_member.items():
        outcomes = [results[trial.id] for trial in (trials[0], trials[-1]) if trial.id in results]
        failed = [outcome for outcome in outcomes if isinstance(outcome, Failure)]
        well = [outcome for outcome in outcomes if not isinstance(outcome, Failure)]
        if well:
            passed[member] = well[0]
        else:
            failures.append((trials[0], failed[0]))
    return passed, failures


def _error(failures: Sequence[tuple[Trial, Failure]]) -> ExperimentError:
    return ExperimentError(
        "\n".join(_describe(trial, failure) for trial, failure in failures),
        "\n".join(failure.traceback for _, failure in failures),
    )


def _may_pass_with_another(trials: Sequence[Trial], answer: object) -> bool:
    """Whether the last trial may pass although the first failed: not if the data failed and both use the same data."""
    if not isinstance(answer, Failure) or len(trials) == 1:
        return False
    return answer.kind != "data" or trials[0].data_key != trials[-1].data_key


def within_memory(prepared: Prepared, checked: Mapping[str, Checked], fleet: Fleet) -> Prepared:
    """Reduces the workers to those that host memory holds, by the peak that the check measured; ends the others.

    Only if there is no GPU and `max_concurrent` is left open.
    """
    request, slots = request_of(prepared.config), prepared.slots
    if slots[0].allocation.gpus or request.max_concurrent != "auto":
        return prepared
    need = max(check.memory_mib for check in checked.values())
    room = Counter(
        slot.allocation.node for slot in plan_on_nodes(request, prepared.machines, len(prepared.trials), need or None)
    )
    kept = []
    for slot in slots:
        if room[slot.allocation.node]:
            room[slot.allocation.node] -= 1
            kept.append(slot)
        else:
            fleet.retire(slot.index)
    return replace(prepared, slots=tuple(kept))


def unrecorded(checked: Mapping[str, Checked]) -> Iterator[str]:
    """Warnings about code that the sweep uses but does not record."""
    for member, check in checked.items():
        if outside := check.facts.outside:
            yield (
                f"{member}: imports {', '.join(outside)} from outside the experiment's folder: neither is it recorded "
                "nor exported; put it beside the experiment's file to keep it with the sweep"
            )


def unused_settings(prepared: Prepared, checked: Mapping[str, Checked]) -> Iterator[str]:
    """Warnings about settings that have no effect on the data that `load_data` returns."""
    for member in prepared.members:
        written = ("train", "batch_size") in prepared.config.origins.settings
        given = written or member.train.batch_size != Train().batch_size
        searched = any("train.batch_size" in names for names in (member.space.dimensions, *member.points))
        if (given or searched) and checked[member.name].facts.rows is None:
            yield (
                f"{member.name}: train.batch_size does nothing, since load_data returns a pipeline or a PyDataset, "
                "which makes its batches itself; let load_data take batch_size as a parameter, and set "
                "params.batch_size"
            )


def _describe(trial: Trial, failure: Failure) -> str:
    what = {"data": "load_data", "build": "build_model or its first step", "worker": "the worker"}
    what["disk"] = "what it writes to a disk"
    what["oom"] = "its first step, or what comes before it,"
    settings = ", ".join(f"{name}={trial.settings[name]!r}" for name in trial.searched)
    where = f"{failure.place or trial.source.path}: {what.get(failure.kind, failure.kind)} failed"
    return f"{where}{f' with {settings}' if settings else ''}: {failure.message}"
