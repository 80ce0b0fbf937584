"""One sweep from config to end: wires the layers together and decides how it ended."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console

from runner import lockstep
from runner.config import Config, Member, infer_goal, resolve_members
from runner.console import watch
from runner.errors import ConfigError, ExperimentError, FleetError
from runner.journal import SqliteJournal, SweepStatus, locked
from runner.machine import this_machine
from runner.measurements import MeasurementsFile
from runner.placement import Machine, Request, needs_a_probe, plan_slots
from runner.probe import CACHE as NEEDS
from runner.probe import Need, Needs, is_complete, largest
from runner.progress import Progress
from runner.recording import check_writable, new_folder, refuse_secrets, sweep_record, versions, write_config
from runner.records import Checked, Failure, Goal, Report, Slot, Trial, Verdict
from runner.redaction import redact
from runner.schedule import Schedule, live_within
from runner.seams import Fleet, Watcher
from runner.search.propose import propose_trials
from runner.settle import CACHE, Settling
from runner.timings import TimingsFile
from runner.tracking import Projection, preload

_STATES_SHARE = 0.25  # of the host's memory, for the states of rotating trials


@dataclass(frozen=True, kw_only=True, slots=True)
class Prepared:
    """Everything that is known before a worker exists.

    Args:
        needs: each distinct model, with what it takes where that was measured before.
        to_probe: the slots follow from what the models take, and not all of them were measured.
    """

    config: Config
    members: tuple[Member, ...]
    trials: tuple[Trial, ...]
    slots: tuple[Slot, ...]
    machine: Machine
    needs: tuple[Need, ...] = ()
    to_probe: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """How a sweep ended.

    Args:
        problem: what MLflow lacks and the journal keeps; empty for nothing.
    """

    folder: Path
    exit_code: int
    problem: str = ""


def prepare(config: Config) -> Prepared:
    """Members, trials and slots; no TensorFlow, no Ray.

    Raises:
        ConfigError: experiment files, parameters or search do not fit together.
        PlacementError: the slots do not fit the machine.
    """
    members = resolve_members(config)
    trials, request = propose_trials(members, config), _request(config)
    machine, known = _measured_machine(request)
    needs = known.of(trials)
    to_probe = needs_a_probe(request, machine) and not is_complete(needs)
    slots = plan_slots(request, machine, len(trials), None if to_probe else largest(needs))
    return Prepared(
        config=config, members=members, trials=trials, slots=slots, machine=machine, needs=needs, to_probe=to_probe
    )


def probe(prepared: Prepared) -> Prepared:
    """The same sweep once all its models are measured: each is built and trained for some steps.

    On GPUs one worker has a whole one; without, as many workers as there are slots.
    """
    request = _request(prepared.config)
    _, known = _measured_machine(request)
    unknown = [need.trial for need in prepared.needs if need.memory_mib is None]
    if not unknown:
        return prepared
    slots = prepared.slots
    if any(slot.allocation.gpus for slot in slots):
        slots = plan_slots(Request(max_concurrent=1), prepared.machine, 1)
    with open_fleet(prepared, slots) as fleet:
        for trial, found in zip(unknown, fleet.probe(unknown).values(), strict=True):
            known.keep(trial, found)
        if slots[0].allocation.gpus:
            known.keep_overhead(prepared.machine, this_machine(), slots[0])
    return replace(prepare(prepared.config), to_probe=False)


def _request(config: Config) -> Request:
    return Request(**config.resources.model_dump())


def _measured_machine(request: Request) -> tuple[Machine, Needs]:
    """The machine with what is known of it, and what is known of models on it."""
    machine = this_machine()
    device = machine.gpus[0].name if machine.gpus and request.num_gpus != 0 else "cpu"
    known = Needs(MeasurementsFile(NEEDS.expanduser()), device, versions())
    return replace(machine, gpu_overhead_mib=known.overhead_mib or machine.gpu_overhead_mib), known


def within_memory(prepared: Prepared, checked: Mapping[str, Checked], fleet: Fleet) -> Prepared:
    """The sweep on no more workers than the host's memory holds, by what the check has just measured.

    Only where there is no GPU and `max_concurrent` is left open. Workers that are too many are ended.
    """
    request, slots = _request(prepared.config), prepared.slots
    if slots[0].allocation.gpus or request.max_concurrent != "auto":
        return prepared
    need = max(check.memory_mib for check in checked.values())
    holds = len(plan_slots(request, prepared.machine, len(prepared.trials), need or None))
    for slot in slots[holds:]:
        fleet.retire(slot.index)
    return replace(prepared, slots=slots[:holds])


def open_fleet(prepared: Prepared, slots: Sequence[Slot]) -> Fleet:
    """The configured fleet for these slots, not yet started."""
    fleet = prepared.config.fleet
    if fleet.kind == "local":
        from runner.fleet.local import LocalFleet

        return LocalFleet(slots)
    from runner.fleet.ray import RayFleet

    return RayFleet(slots, address=fleet.address, cpus=prepared.machine.cpus)


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


def run_sweep(config: Config, *, console: Console, command: str, root: Path, secrets: Mapping[str, str]) -> Outcome:
    """Trains every trial and records it; returns when MLflow has everything too.

    Args:
        config: what to run.
        console: where a person reads.
        command: the command line that repeats the sweep.
        root: folder of all sweeps.
        secrets: the environment's, by name; they are never recorded.

    Raises:
        RunnerError: nothing was started, or the infrastructure failed.
        KeyboardInterrupt: a signal ended the sweep; all that had happened is recorded.
    """
    began_s = time.time()
    prepared = prepare(config)
    refuse_secrets(config, secrets)
    check_writable(root)
    if prepared.to_probe:
        console.print(f"measuring the memory of {len(prepared.needs)} models …", style="dim", highlight=False)
        prepared = probe(prepared)
    console.print(_headline(prepared), highlight=False)
    if config.fleet.kind == "ray":
        preload(config.tracking.uri)  # Ray's start is mostly waiting; later this would take a worker's CPU
    with ExitStack() as records:
        with open_fleet(prepared, prepared.slots) as fleet:
            checked = check_members(prepared, fleet)
            prepared = within_memory(prepared, checked, fleet)
            prepared = replace(prepared, trials=_settled(prepared, checked, fleet))
            metric, goal = choose_metric(prepared, checked)
            folder = new_folder(root, config.name)
            allocations = {slot.index: slot.allocation for slot in prepared.slots}
            records.enter_context(locked(folder))
            masked = partial(redact, secrets=secrets.values())
            journal = records.enter_context(SqliteJournal(folder, allocations, masked))
            journal.create(sweep_record(config, folder.name, metric, goal, command, began_s), prepared.trials)
            write_config(folder, config)
            projection = records.enter_context(_followed_by_mlflow(folder, config.tracking.uri, console))
            progress = Progress(trials=prepared.trials, metric=metric, goal=goal, clock=time.monotonic)
            try:
                schedule = _schedule(prepared, checked)
                _train(schedule, fleet, journal, projection, watch(console, progress), masked)
            finally:
                console.print(f"sweep {folder.name}: sending the rest to MLflow …", style="dim", highlight=False)
    failed = sum(row.state == "failed" for row in progress.rows.values())
    return Outcome(folder=folder, exit_code=3 if failed else 0, problem=projection.problem or "")


@contextmanager
def _followed_by_mlflow(folder: Path, uri: str, console: Console) -> Iterator[Projection]:
    """MLflow follows the journal; what it lacks when an error or a signal ends the sweep is told in a line."""

    def tell(text: str) -> None:
        console.print(text, markup=False, highlight=False, soft_wrap=True)

    projection = Projection(folder, uri, on_warning=tell)
    try:
        with projection:
            yield projection
    except BaseException:
        if projection.problem is not None:
            tell(projection.problem)
        raise


def _settled(prepared: Prepared, checked: Mapping[str, Checked], fleet: Fleet) -> tuple[Trial, ...]:
    file, allocation = TimingsFile(CACHE.expanduser()), prepared.slots[0].allocation
    settling = Settling(file, allocation, len(prepared.slots), versions(), fleet.check)
    return settling.settle(prepared.trials, checked)


def _schedule(prepared: Prepared, checked: Mapping[str, Checked]) -> Schedule:
    if prepared.config.schedule == "queue":
        return Schedule(prepared.trials, prepared.slots)
    largest = max(check.facts.parameters for check in checked.values())
    live = live_within(prepared.machine.memory_mib * _STATES_SHARE, largest, len(prepared.trials))
    return Schedule(prepared.trials, prepared.slots, live)


def _train(
    schedule: Schedule,
    fleet: Fleet,
    journal: SqliteJournal,
    projection: Projection,
    view: Any,
    masked: Callable[[str], str],
) -> None:
    status: SweepStatus = "failed"
    try:
        with view:
            lockstep.run(schedule, fleet, journal, _Watchers(projection.notify, view, masked))
        status = "complete"
    except KeyboardInterrupt:
        status = "killed"
        raise
    finally:
        journal.end(status)
        projection.notify()


@dataclass(frozen=True, slots=True)
class _Watchers:
    """Tells MLflow's thread that there is news, then the person, whose terminal may be a file: no secrets."""

    notify: Callable[[], None]
    view: Watcher
    masked: Callable[[str], str]

    def show(self, reports: Mapping[str, Report | Failure], verdicts: Mapping[str, Verdict]) -> None:
        self.notify()
        self.view.show({key: self._shown(report) for key, report in reports.items()}, verdicts)

    def _shown(self, report: Report | Failure) -> Report | Failure:
        return replace(report, message=self.masked(report.message)) if isinstance(report, Failure) else report


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
