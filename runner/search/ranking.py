"""Resolves how a member's trials are trained and ranked: its own settings override the sweep's, metrics are checked."""

from __future__ import annotations

from collections.abc import Sequence

from runner.config.origins import Key, merged
from runner.config.schema import Config, MemberConfig
from runner.records import Goal, TrainSettings
from runner.search.metric_names import closest_produced, infer_goal, resolved_mode


def ranking(
    config: Config, scope: Key, member: MemberConfig, texts: Sequence[str], problems: list[str]
) -> tuple[str | None, Goal]:
    """The metric that ranks a member's trials, and whether to maximize or minimize it."""
    own = member.search
    place = scope if own.metric is not None else ()
    metric = own.metric if own.metric is not None else config.search.metric
    goal = own.goal if own.goal is not None or own.metric is not None else config.search.goal
    if metric is None:
        if goal == "maximize":
            where = config.origins.place(*(scope if own.goal else ()), "search", "goal")
            problems.append(f"{where}: says nothing without search.metric; give both")
        return None, "minimize"
    where = config.origins.place(*place, "search", "metric")
    meant = closest_produced(metric, texts)
    if meant is not None:
        problems.append(f"{where}: {metric} is never produced; did you mean {meant}?")
    elif goal is None and infer_goal(metric) is None:
        problems.append(
            f"{where}: {metric} is not one of Keras' own metrics; if the model has it, set search.goal to maximize or "
            "minimize"
        )
    return metric, goal or infer_goal(metric) or "minimize"


def training(
    config: Config, scope: Key, member: MemberConfig, texts: Sequence[str], problems: list[str]
) -> TrainSettings:
    """A member's training settings, with the monitors' modes resolved."""
    values = merged(config.train.model_dump(), member.train.model_dump(exclude_unset=True))
    for name in ("early_stopping", "reduce_lr_on_plateau"):
        own = getattr(member.train, name)
        if own is not None and getattr(config.train, name) is None:  # nothing to merge with but the defaults
            values[name] = own.model_dump()
    if values["steps_per_round"] == "auto":
        values["steps_per_round"] = None
    for name in ("early_stopping", "reduce_lr_on_plateau"):
        rule = values[name]
        if not isinstance(rule, dict):
            continue
        key = (*(scope if name in member.train.model_fields_set else ()), "train", name)
        monitor = rule["monitor"]
        rule["mode"] = resolved_mode(rule["mode"], monitor)
        meant = closest_produced(monitor, texts)
        if meant is not None:
            where = config.origins.place(*key, "monitor")
            problems.append(f"{where}: {monitor} is never produced; did you mean {meant}?")
        elif rule["mode"] == "auto":
            where = config.origins.place(*key, "mode")
            problems.append(
                f"{where}: {monitor} is not one of Keras' own metrics; if the model has it, set mode to min or max"
            )
    return TrainSettings.of(values)
