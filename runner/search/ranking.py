"""How a member's trials are trained and ranked: its own settings over those of the sweep, with metrics checked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from pydantic import BaseModel

from runner.config.origins import Key
from runner.config.schema import Config, MemberConfig, Train
from runner.records import EarlyStopping, Goal, ReduceLROnPlateau, TrainSettings
from runner.search.metric_names import closest_produced, infer_goal, resolved_mode


def ranking(
    config: Config, scope: Key, member: MemberConfig, texts: Sequence[str], problems: list[str]
) -> tuple[str | None, Goal]:
    """The metric that ranks a member's trials, and which way it is better."""
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
    """A member's training settings; the monitors' modes are decided here."""
    merged = Train.model_validate(_overlaid(config.train, member.train))
    own = member.train.model_fields_set
    stopping = EarlyStopping(**merged.early_stopping.model_dump()) if merged.early_stopping else None
    plateau = ReduceLROnPlateau(**merged.reduce_lr_on_plateau.model_dump()) if merged.reduce_lr_on_plateau else None

    def monitored(name: str, rule: EarlyStopping | ReduceLROnPlateau) -> EarlyStopping | ReduceLROnPlateau:
        key = (*(scope if name in own else ()), "train", name)
        mode = resolved_mode(rule.mode, rule.monitor)
        meant = closest_produced(rule.monitor, texts)
        if meant is not None:
            where = config.origins.place(*key, "monitor")
            problems.append(f"{where}: {rule.monitor} is never produced; did you mean {meant}?")
        elif mode == "auto":
            where = config.origins.place(*key, "mode")
            problems.append(
                f"{where}: {rule.monitor} is not one of Keras' own metrics; if the model has it, set mode to min or max"
            )
        return replace(rule, mode=mode)

    stopping = monitored("early_stopping", stopping) if stopping else None  # type: ignore[assignment]
    plateau = monitored("reduce_lr_on_plateau", plateau) if plateau else None  # type: ignore[assignment]
    return TrainSettings(
        epochs=merged.epochs,
        batch_size=merged.batch_size,
        steps_per_epoch=merged.steps_per_epoch,
        steps_per_round=None if merged.steps_per_round == "auto" else merged.steps_per_round,
        shuffle=merged.shuffle,
        validate_every=merged.validate_every,
        compile=merged.compile,
        deterministic=merged.deterministic,
        early_stopping=stopping,
        reduce_lr_on_plateau=plateau,
    )


def _overlaid(base: BaseModel, own: BaseModel) -> dict[str, object]:
    """The values of `base`, replaced by those that `own` was given."""
    values = base.model_dump()
    for name in own.model_fields_set:
        value, under = getattr(own, name), getattr(base, name)
        if isinstance(value, BaseModel) and isinstance(under, BaseModel):
            values[name] = _overlaid(under, value)
        else:
            values[name] = value.model_dump() if isinstance(value, BaseModel) else value
    return values
