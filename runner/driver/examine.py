"""Tries an experiment in this process, without Ray and MLflow, and records nothing."""

from __future__ import annotations

import math
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

from runner.autotune.auto import steps_per_epoch
from runner.autotune.cache import TimingsFile, timings_key
from runner.autotune.compilation import Timings
from runner.config import Config
from runner.driver.check import unrecorded, unused_settings
from runner.driver.context import Context
from runner.driver.fleets import open_fleet
from runner.driver.metric import choose_metric
from runner.driver.places import located, place_of_definition
from runner.driver.prepare import Prepared, auto_settings, prepare
from runner.driver.record import versions
from runner.errors import ExperimentError
from runner.loop.interfaces import Fleet
from runner.loop.logged import LoggedFleet
from runner.records import Checked, Examined, Export, Failure, SettingCheck, Source, Trial, Work

A = TypeVar("A")


def examine(config: Config, context: Context, folder: Path, sources: Mapping[str, Source]) -> Examined:
    """Builds the first setting of each experiment, and the last, trains a step of it, validates and exports it.

    Args:
        config: of the sweep that is thought of. Its fleet is not used.
        context: the environment, whose secrets are masked.
        folder: gets everything that is written, exported models and step times among it.
        sources: the code of members that was made of functions, by name.

    Raises:
        ConfigError: the signatures and the config do not fit together, or a metric is never produced.
        ExperimentError: a setting cannot be trained; the message has the place in the code.
    """
    began = time.monotonic()
    local = config.fleet.model_copy(update={"kind": "local", "address": None})
    prepared = prepare(config.model_copy(update={"fleet": local}), known={}, sources=sources)
    said: list[str] = []
    printed: dict[str, list[str]] = defaultdict(list)

    def keep(trial_id: str, output: str) -> str:
        printed[trial_id].append(output)
        return ""

    with LoggedFleet(open_fleet(prepared, prepared.slots[:1]), keep, said.append, context.masked) as fleet:
        tried = _try(prepared, fleet, folder)
    metric, goal = choose_metric(prepared, tried.firsts)
    return Examined(
        name=config.name,
        trials=prepared.most_trials,
        metric=metric,
        goal=goal,
        checked=tuple(replace(found, output="".join(printed[trial_id])) for trial_id, found in tried.settings.items()),
        warnings=(*said, *unrecorded(tried.firsts), *unused_settings(prepared, tried.firsts)),
        seconds=time.monotonic() - began,
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class _Tried:
    """Settings that passed, by trial, and the check of each member's first trial, by member."""

    settings: Mapping[str, SettingCheck]
    firsts: Mapping[str, Checked]


def _try(prepared: Prepared, fleet: Fleet, folder: Path) -> _Tried:
    """Tries the extremes of every member, and decides what is left to `auto` as a sweep would.

    Args:
        prepared: the sweep.
        fleet: one worker.
        folder: gets everything that is written.
    """
    file = folder / "timings.json"
    auto = auto_settings(prepared, fleet.check, file)
    trials = _extremes(prepared.trials)
    checked = _passed(trials, auto.check(trials))
    _refuse_infinite(trials, checked)
    firsts = {trial.member: checked[trial.id] for trial in reversed(trials)}
    decided = {trial.id: trial for trial in auto.decide(prepared.trials, firsts, len(prepared.slots))}
    settings = {}
    for trial in trials:
        key = timings_key(trial, prepared.slots[0].allocation, versions())
        setting = _setting(decided[trial.id], checked[trial.id], _export(decided[trial.id], fleet, folder))
        speeds = _steps_per_s(trial, checked[trial.id], TimingsFile(file).get(key))
        settings[trial.id] = replace(setting, steps_per_s=speeds)
    return _Tried(settings=settings, firsts=firsts)


def _extremes(trials: Sequence[Trial]) -> list[Trial]:
    """The first trial of each member, and its last one if that has another setting."""
    of_member: dict[str, list[Trial]] = defaultdict(list)
    for trial in trials:
        of_member[trial.member].append(trial)
    ends = [(found[0], found[-1]) for found in of_member.values()]
    return [trial for first, last in ends for trial in (first, *((last,) if last.setting != first.setting else ()))]


def _passed(trials: Sequence[Trial], answers: Mapping[str, A | Failure]) -> dict[str, A]:
    """The answers without failures.

    Raises:
        ExperimentError: there are failures; the message has each with its place.
    """
    failures = [(trial, answer) for trial in trials if isinstance(answer := answers[trial.id], Failure)]
    if failures:
        raise ExperimentError(
            "\n".join(dict.fromkeys(_described(trial, failure) for trial, failure in failures)),
            "\n".join(failure.traceback for _, failure in failures),
        )
    return {trial_id: answer for trial_id, answer in answers.items() if not isinstance(answer, Failure)}


def _described(trial: Trial, failure: Failure) -> str:
    settings = ", ".join(f"{name}={trial.settings[name]!r}" for name in trial.searched if name in trial.settings)
    return located(trial.source, failure) + (f"\n    with {settings}" if settings and failure.kind != "data" else "")


def _refuse_infinite(trials: Sequence[Trial], checked: Mapping[str, Checked]) -> None:
    """Raises if the loss of a first step is no number: it is computed before any weight has changed."""
    failures: dict[str, Checked | Failure] = dict(checked)
    for trial in trials:
        details = checked[trial.id].details
        loss = 0.0 if details is None else details.values.get("loss", 0.0)
        if not math.isfinite(loss):
            failures[trial.id] = Failure(
                trial_id=trial.id,
                kind="build",
                message=f"the loss of the first step is {loss}, before any weight has changed; look for NaN or "
                "infinite values in the data, and for a logarithm of zero or a division by it in the model or its loss",
            )
    _passed(trials, failures)


def _export(trial: Trial, fleet: Fleet, folder: Path) -> Export:
    """Trains one step and exports the model, as at the end of a trial."""
    train = replace(trial.train, epochs=1, steps_per_epoch=1, epochs_per_round=1, steps_per_round=None)
    # The check has validated already.
    short = replace(trial, train=replace(train, validate_every=2))
    _passed([trial], fleet.advance({0: (Work(trial=short, round=0),)}))
    return _passed([trial], fleet.export({0: ((short, False),)}, folder))[trial.id]


def _setting(trial: Trial, checked: Checked, export: Export) -> SettingCheck:
    facts, details = checked.facts, checked.details
    assert details is not None
    own = {name: place_of_definition(trial.source, name) for name in details.own_parts}
    return SettingCheck(
        member=trial.member,
        settings=dict(trial.params),
        searched={name: trial.settings[name] for name in trial.searched if name in trial.settings},
        seed=trial.seed,
        details=details,
        parameters=facts.parameters,
        steps_per_epoch=steps_per_epoch(trial, facts),
        program=facts.program,
        program_reason=facts.program_reason,
        inexact=facts.inexact,
        steps_per_s={},
        compile=facts.compile or trial.train.compile,
        memory_mib=checked.memory_mib,
        model_bytes=_size(export.model),
        weights_bytes=_size(export.weights) or 0,
        own_parts=own,
        test_metrics=dict(export.test_metrics),
    )


def _size(file: bytes | Path) -> int | None:
    """Bytes of an exported file; None if there is none."""
    return (file.stat().st_size if isinstance(file, Path) else len(file)) or None


def _steps_per_s(trial: Trial, checked: Checked, timings: Timings | None) -> dict[str, float]:
    how = checked.facts.compile or ("xla" if trial.train.compile == "xla" else "graph")
    found: dict[str, float] = {how: 1 / checked.step_s}
    if timings is not None and timings.xla_s is not None and math.isfinite(timings.xla_s):
        found["xla"] = 1 / timings.xla_s
    return found
