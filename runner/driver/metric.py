"""Chooses the metric that ranks the trials, and checks that the metrics of the config are produced."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from runner.config import hints
from runner.driver.prepare import Prepared
from runner.errors import ConfigError
from runner.records import Checked, Goal
from runner.search.members import Member
from runner.search.metric_names import infer_goal


def choose_metric(prepared: Prepared, checked: Mapping[str, Checked]) -> tuple[str, Goal]:
    """The metric that ranks the trials and its goal, by what the check found that they produce.

    Raises:
        ConfigError: a metric or monitor of the config is never produced.
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
    """Problems of trials that may end, or keep weights, after an epoch without validation, and so without a score."""
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
