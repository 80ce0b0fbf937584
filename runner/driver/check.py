"""Whether members can be trained, and what ranks their trials: asked of real models before the first round."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TypeVar

from runner.autotune.auto import Check
from runner.config import hints
from runner.config.schema import Train
from runner.driver.prepare import Prepared
from runner.errors import ConfigError, ExperimentError, FleetError, StorageError
from runner.loop.logged import with_last_lines
from runner.records import Checked, Failure, Goal, Trial
from runner.search.members import Member
from runner.search.metric_names import infer_goal

A = TypeVar("A")


def check_members(prepared: Prepared, check: Check) -> dict[str, Checked]:
    """Tries each member's first trial, and where that fails its last: a mistake in both is the member's own.

    Args:
        prepared: the sweep.
        check: tries trials, as `Fleet.check` does.

    Returns:
        What the check found, by member.

    Raises:
        ExperimentError: a member cannot be trained.
        StorageError: a disk took no more.
        FleetError: every worker was lost.
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
    """Raises what `check_members` would, as far as that can be told without workers.

    Args:
        trials: of the whole sweep.
        failures_of: tries trials; those without a failure may have one in a worker.

    Raises:
        ExperimentError: a member's code fails for certain.
    """
    _, failures = _try_members(trials, failures_of)
    if failures:
        raise _error([(trial, with_last_lines(failure, "")) for trial, failure in failures])


def _try_members(
    trials: Sequence[Trial], check: Callable[[Sequence[Trial]], Mapping[str, A | Failure]]
) -> tuple[dict[str, A], list[tuple[Trial, Failure]]]:
    """What the check of each member's first trial found, or else of its last; and members of which both fail."""
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
    """Whether the last trial may pass where the first has not: not with the same data if those are to blame."""
    if not isinstance(answer, Failure) or len(trials) == 1:
        return False
    return answer.kind != "data" or trials[0].data_key != trials[-1].data_key


def unrecorded(checked: Mapping[str, Checked]) -> Iterator[str]:
    """What a person should know of code that a sweep uses and does not record."""
    for member, check in checked.items():
        if outside := check.facts.outside:
            yield (
                f"{member}: imports {', '.join(outside)} from outside the experiment's folder: neither is it recorded "
                "nor exported; put it beside the experiment's file to keep it with the sweep"
            )


def unused_settings(prepared: Prepared, checked: Mapping[str, Checked]) -> Iterator[str]:
    """Settings that were given and do nothing with the data that `load_data` returns."""
    for member in prepared.members:
        written = ("train", "batch_size") in prepared.config.origins.settings
        given = written or member.train.batch_size != Train().batch_size
        searched = any("train.batch_size" in names for names in (member.space, *member.points))
        if (given or searched) and checked[member.name].facts.rows is None:
            yield (
                f"{member.name}: train.batch_size does nothing, since load_data returns a pipeline or a PyDataset, "
                "which makes its batches itself; let load_data take batch_size as a parameter, and set "
                "params.batch_size"
            )


def choose_metric(prepared: Prepared, checked: Mapping[str, Checked]) -> tuple[str, Goal]:
    """The metric that ranks the trials, once it is known what they produce.

    Raises:
        ConfigError: a metric or monitor that is asked for is never produced.
    """
    problems = []
    for member in prepared.members:
        produced = checked[member.name].metrics
        for key, name in _metrics_asked_for(member):
            if name.startswith("val_") and member.train.epochs % member.train.validate_every:
                problems.append(
                    f"{key}: {name!r} is not known of the last epoch, whose weights the model has; "
                    f"train.validate_every={member.train.validate_every} must divide train.epochs={member.train.epochs}"
                )
            if name not in produced:
                meant = hints.for_metric(name, produced)
                hint = f"; did you mean {meant}?" if meant else ""
                problems.append(
                    f"{key}: {name!r} is never produced by {member.source.path}; it has {', '.join(produced)}{hint}"
                )
    first = prepared.members[0]
    metric, goal = first.metric, first.goal
    if metric is None:
        everywhere = all("val_loss" in check.metrics for check in checked.values())
        metric = "val_loss" if everywhere else "loss"
        goal = infer_goal(metric) or "minimize"
    problems += [problem for member in prepared.members for problem in _unknown_scores(member, metric)]
    if problems:
        raise ConfigError(problems)
    return metric, goal


def _unknown_scores(member: Member, metric: str) -> Iterator[str]:
    """A trial may end, or keep its weights, after an epoch without validation: its model would have no score."""
    rule, every = member.train.early_stopping, member.train.validate_every
    if rule is not None and every > 1 and metric.startswith("val_") and not rule.monitor.startswith("val_"):
        yield (
            f"train.early_stopping.monitor: {rule.monitor!r} may end a trial after an epoch of which {metric!r}, which "
            f"ranks the trials, is not known, as train.validate_every={every}; monitor a val_ metric, or set "
            "train.validate_every=1"
        )


def _metrics_asked_for(member: Member) -> list[tuple[str, str]]:
    train = member.train
    rules = {"early_stopping": train.early_stopping, "reduce_lr_on_plateau": train.reduce_lr_on_plateau}
    asked = [(f"train.{key}.monitor", rule.monitor) for key, rule in rules.items() if rule is not None]
    return asked + ([("search.metric", member.metric)] if member.metric is not None else [])


def _describe(trial: Trial, failure: Failure) -> str:
    what = {"data": "load_data", "build": "build_model or its first step", "worker": "the worker"}
    what["disk"] = "what it writes to a disk"
    what["oom"] = "its first step, or what comes before it,"
    settings = ", ".join(f"{name}={trial.settings[name]!r}" for name in trial.searched)
    where = f"{failure.place or trial.source.path}: {what.get(failure.kind, failure.kind)} failed"
    return f"{where}{f' with {settings}' if settings else ''}: {failure.message}"
