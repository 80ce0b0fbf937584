"""One sweep from config to end: wires the layers together and decides how it ended."""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

from rich.console import Console

from runner.config import Config, Member, config_to_yaml, infer_goal, resolve_members
from runner.errors import ConfigError, ExperimentError, FleetError
from runner.journal import SqliteJournal, SweepRecord
from runner.machine import this_machine
from runner.placement import Machine, Request, plan_slots
from runner.progress import Progress
from runner.records import Checked, Failure, Goal, Slot, Trial, Work
from runner.schedule import Schedule, live_within
from runner.seams import Fleet
from runner.search.propose import propose_trials
from runner.settle import CACHE, Settling
from runner.signals import StopSignals
from runner.timings import TimingsFile
from runner.tracking import preload
from runner.training import Outcome, Training, followed_by_mlflow, outcome, versions

_STATES_SHARE = 0.25  # of the host's memory, for the states of rotating trials


@dataclass(frozen=True, kw_only=True, slots=True)
class Prepared:
    """Everything that is known before a worker exists."""

    config: Config
    members: tuple[Member, ...]
    trials: tuple[Trial, ...]
    slots: tuple[Slot, ...]
    machine: Machine


def prepare(config: Config) -> Prepared:
    """Members, trials and slots; no TensorFlow, no Ray.

    Raises:
        ConfigError: experiment files, parameters or search do not fit together.
        PlacementError: the slots do not fit the machine.
    """
    members = resolve_members(config)
    trials, machine = propose_trials(members, config), this_machine()
    request = Request(**config.resources.model_dump())
    slots = plan_slots(request, machine, len(trials))
    return Prepared(config=config, members=members, trials=trials, slots=slots, machine=machine)


def open_fleet(prepared: Prepared, slots: Sequence[Slot]) -> Fleet:
    """The configured fleet for these slots, not yet started."""
    fleet = prepared.config.fleet
    if fleet.kind == "local":
        from runner.fleet.local import LocalFleet

        return LocalFleet(slots)
    from runner.fleet.patience import Patience
    from runner.fleet.ray import RayFleet

    machine = prepared.machine
    patience = Patience(first_s=fleet.first_turn_timeout_s, later_s=fleet.turn_timeout_s)
    return RayFleet(slots, address=fleet.address, cpus=machine.cpus, gpus=len(machine.gpus), patience=patience)


def check_members(prepared: Prepared, fleet: Fleet) -> dict[str, Checked]:
    """Tries each member's first trial, and where that fails its last: a mistake in both is the member's own.

    Args:
        prepared: the sweep.
        fleet: open.

    Returns:
        What the check found, by member.

    Raises:
        ExperimentError: a member cannot be trained.
    """
    of_member: dict[str, list[Trial]] = {}
    for trial in prepared.trials:
        of_member.setdefault(trial.member, []).append(trial)
    results = fleet.check([trials[0] for trials in of_member.values()])
    again = [trials[-1] for trials in of_member.values() if isinstance(results[trials[0].id], Failure) and trials[1:]]
    results = {**results, **(fleet.check(again) if again else {})}
    checked: dict[str, Checked] = {}
    failures: list[tuple[Trial, Failure]] = []
    for member, trials in of_member.items():
        outcomes = [results[trial.id] for trial in (trials[0], trials[-1]) if trial.id in results]
        passed = [outcome for outcome in outcomes if isinstance(outcome, Checked)]
        if passed:
            checked[member] = passed[0]
        else:
            failures.append((trials[0], next(o for o in outcomes if isinstance(o, Failure))))
    if failures and all(failure.kind == "worker" for _, failure in failures):
        raise FleetError("\n".join(_describe(trial, failure) for trial, failure in failures))
    if failures:
        raise ExperimentError(
            "\n".join(_describe(trial, failure) for trial, failure in failures),
            "\n".join(failure.traceback for _, failure in failures),
        )
    return checked


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
                problems.append(
                    f"{key}: {name!r} is never produced by {member.source.path}; it has {', '.join(produced)}"
                )
    if problems:
        raise ConfigError(problems)
    first = prepared.members[0]
    if first.metric is not None:
        return first.metric, first.goal
    everywhere = all("val_loss" in check.metrics for check in checked.values())
    metric = "val_loss" if everywhere else "loss"
    return metric, infer_goal(metric) or "minimize"


def run_sweep(config: Config, *, console: Console, command: str, root: Path, signals: StopSignals) -> Outcome:
    """Trains every trial and records it; returns when MLflow has everything too.

    Args:
        config: what to run.
        console: where a person reads.
        command: the command line that repeats the sweep.
        root: folder of all sweeps.
        signals: those that stop the program.

    Raises:
        RunnerError: nothing was started, or the infrastructure failed.
        KeyboardInterrupt: a signal ended the sweep; all that had happened is recorded.
    """
    began_s = time.time()
    prepared = prepare(config)
    console.print(_headline(prepared), highlight=False)
    if config.fleet.kind == "ray":
        preload()  # Ray's start is mostly waiting; later this would take a worker's CPU
    with ExitStack() as records:
        with open_fleet(prepared, prepared.slots) as fleet:
            checked = check_members(prepared, fleet)
            prepared = replace(prepared, trials=_settled(prepared, checked, fleet))
            metric, goal = choose_metric(prepared, checked)
            folder = _new_folder(root, config.name)
            allocations = {slot.index: slot.allocation for slot in prepared.slots}
            journal = records.enter_context(SqliteJournal(folder, allocations))
            journal.create(_sweep_record(prepared, folder.name, metric, goal, command, began_s), prepared.trials)
            (folder / "config.yaml").write_text(config_to_yaml(config), encoding="utf-8")
            projection = records.enter_context(followed_by_mlflow(folder, console))
            progress = Progress(trials=prepared.trials, metric=metric, goal=goal, clock=time.monotonic)
            training = Training(
                config=config, folder=folder, journal=journal, projection=projection, console=console, signals=signals
            )
            largest = max(check.facts.parameters for check in checked.values())
            training.run(make_schedule(prepared, largest), fleet, progress)
    return outcome(folder, progress, projection)


def _settled(prepared: Prepared, checked: Mapping[str, Checked], fleet: Fleet) -> tuple[Trial, ...]:
    file, allocation = TimingsFile(CACHE.expanduser()), prepared.slots[0].allocation
    settling = Settling(file, allocation, len(prepared.slots), versions(), fleet.check)
    return settling.settle(prepared.trials, checked)


def make_schedule(prepared: Prepared, parameters: int, begun: Mapping[str, Work] | None = None) -> Schedule:
    """Trials queue or rotate, as the config says.

    Args:
        prepared: the sweep.
        parameters: weights of its largest model.
        begun: the next turns of trials that an earlier driver has trained.
    """
    live = None
    if prepared.config.schedule == "rotate":
        live = live_within(prepared.machine.memory_mib * _STATES_SHARE, parameters, len(prepared.trials))
    return Schedule(prepared.trials, prepared.slots, live, begun)


def _metrics_asked_for(member: Member) -> list[tuple[str, str]]:
    train = member.train
    rules = {"early_stopping": train.early_stopping, "reduce_lr_on_plateau": train.reduce_lr_on_plateau}
    asked = [(f"train.{key}.monitor", rule.monitor) for key, rule in rules.items() if rule is not None]
    return asked + ([("search.metric", member.metric)] if member.metric is not None else [])


def _describe(trial: Trial, failure: Failure) -> str:
    what = {"data": "load_data", "build": "build_model or its first step", "worker": "the worker"}
    settings = ", ".join(f"{name}={trial.settings[name]!r}" for name in trial.searched)
    where = f"{trial.source.path}: {what.get(failure.kind, failure.kind)} failed"
    return f"{where}{f' with {settings}' if settings else ''}: {failure.message}"


def _headline(prepared: Prepared) -> str:
    slot = prepared.slots[0].allocation
    gpu = f", {slot.num_gpus:g} GPU ({slot.gpu_memory_mib} MiB)" if slot.num_gpus else ""
    trials, slots = len(prepared.trials), len(prepared.slots)
    return (
        f"{prepared.config.name}: {trials} trial{'s' * (trials > 1)}, {slots} at a time on {slot.num_cpus:g} CPU{gpu} "
        "each; starting workers …"
    )


def _sweep_record(
    prepared: Prepared, sweep_id: str, metric: str, goal: Goal, command: str, began_s: float
) -> SweepRecord:
    tracking = prepared.config.tracking
    return SweepRecord(
        id=sweep_id,
        name=prepared.config.name,
        created_ms=int(began_s * 1000),
        metric=metric,
        goal=goal,
        config=config_to_yaml(prepared.config),
        command=command,
        tracking_uri=tracking.uri,
        mlflow_experiment=tracking.mlflow_experiment,
        versions=versions(),
    )


def _new_folder(root: Path, name: str) -> Path:
    """A new folder for a sweep, private to the user; its name sorts by time and is unique."""
    stamp = time.strftime("%Y%m%d-%H%M%S")
    folder = root / f"{name}-{stamp}-{secrets.token_hex(2)}"
    root.mkdir(parents=True, exist_ok=True)
    os.mkdir(folder, mode=0o700)
    return folder
