"""One sweep from config to end: wires the layers together."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import MappingProxyType

from rich.console import Console

from runner.config import Config
from runner.driver.check import check_members, choose_metric, refuse_mistakes, unrecorded, unused_settings
from runner.driver.disk import check_room, plan_disk
from runner.driver.preflight import Preflight
from runner.driver.prepare import (
    Prepared,
    advice,
    has_passed_before,
    make_schedule,
    make_settling,
    make_shares,
    open_fleet,
    prepare,
    probe,
    unmeasured,
    within_memory,
)
from runner.driver.record import check_writable, new_folder, refuse_secrets, sweep_record, write_config
from runner.driver.train import Outcome, Training, followed_by_mlflow, is_reached, outcome, told_by
from runner.host.signals import StopSignals
from runner.journal import SqliteJournal, SweepRecord, TrialLogs, locked, staging_folder
from runner.loop.interfaces import Fleet
from runner.loop.logged import LoggedFleet
from runner.records import Checked
from runner.texts.redaction import redact
from runner.tracking import StoreCheck, preload
from runner.views.progress import Progress


def run_sweep(
    config: Config,
    *,
    console: Console,
    command: str,
    root: Path,
    secrets: Mapping[str, str],
    signals: StopSignals,
    preflight: Preflight | None = None,
    environment: Mapping[str, str] = MappingProxyType({}),
) -> Outcome:
    """Trains every trial and records it; returns when MLflow has everything too.

    Args:
        config: what to run.
        console: where a person reads.
        command: the command line that repeats the sweep.
        root: folder of all sweeps.
        secrets: the environment's, by name; they are never recorded.
        signals: those that stop the program.
        preflight: looks for mistakes in the experiments' code while workers start; None where nobody does.
        environment: the program's, with MLflow's credentials.

    Raises:
        RunnerError: nothing was started, or the infrastructure failed.
        KeyboardInterrupt: a signal ended the sweep; all that had happened is recorded.
    """
    began_s = time.time()
    store = StoreCheck(config.tracking.uri, environment)
    prepared = prepare(config)
    refuse_secrets(config, secrets)
    check_writable(root)
    reached = is_reached(store, config.tracking.required, console)
    masked = partial(redact, secrets=secrets.values())
    logs = TrialLogs(masked)
    preflight = preflight or Preflight()  # one that has not been entered finds nothing
    _look(preflight, prepared)
    prepared = _with_slots(prepared, console, preflight.check)
    with ExitStack() as records:
        workers = open_fleet(prepared, prepared.slots, preflight.check, told_by(console, masked))
        with LoggedFleet(workers, logs.write, told_by(console, masked)) as fleet:
            prepared, checked = _check(prepared, fleet, console, preflight)
            metric, goal = choose_metric(prepared, checked)
            check_room(plan_disk(prepared, {name: check.facts for name, check in checked.items()}), prepared, root)
            folder = new_folder(root, config.name)
            record = sweep_record(config, folder.name, metric, goal, command, began_s)
            journal = records.enter_context(_recorded(prepared, folder, logs, masked, record))
            projection = records.enter_context(followed_by_mlflow(folder, config.tracking.uri, console, reached))
            progress = Progress(trials=prepared.trials, metric=metric, goal=goal, clock=time.monotonic)
            training = Training(
                config=config, folder=folder, journal=journal, projection=projection, console=console,
                signals=signals, masked=masked, shares=make_shares(prepared),
            )  # fmt: skip
            parameters = max(check.facts.parameters for check in checked.values())
            training.run(make_schedule(prepared, parameters), fleet, progress)
    return outcome(folder, progress, projection, config.tracking.required)


@contextmanager
def _recorded(
    prepared: Prepared, folder: Path, logs: TrialLogs, masked: Callable[[str], str], record: SweepRecord
) -> Iterator[SqliteJournal]:
    """The journal of a new sweep, in a folder that is this driver's until the end."""
    config = prepared.config
    allocations = {slot.index: slot.allocation for slot in prepared.slots}
    with locked(folder):
        write_config(folder, config)  # first: what the journal knows can be resumed
        logs.open(folder)
        staging_folder(folder)  # emptied before MLflow's thread uses it
        with SqliteJournal(folder, allocations, masked, models_stay=config.keep.models == "all") as journal:
            journal.create(record, prepared.trials)
            yield journal


def _look(preflight: Preflight, prepared: Prepared) -> None:
    """Begins to look for mistakes in new code where the workers will be processes of this machine."""
    fleet = prepared.config.fleet
    if fleet.kind == "ray" and fleet.address is None and not has_passed_before(prepared):
        with_gpus = any(slot.allocation.gpus for slot in prepared.slots)
        preflight.look(partial(refuse_mistakes, prepared.trials), with_gpus=with_gpus)
    else:
        preflight.end()


def _with_slots(prepared: Prepared, console: Console, meanwhile: Callable[[], None]) -> Prepared:
    """The sweep with its slots planned, its models measured first if the slots follow from that."""
    if prepared.to_probe:
        console.print(f"measuring the memory of {len(prepared.needs)} models …", style="dim", highlight=False)
        prepared = probe(prepared, meanwhile)
        _tell(console, unmeasured(prepared))
    console.print(_headline(prepared), highlight=False)
    _tell(console, advice(prepared))
    return prepared


def _check(
    prepared: Prepared, fleet: Fleet, console: Console, preflight: Preflight
) -> tuple[Prepared, dict[str, Checked]]:
    """Tries each member: the sweep with nothing left to `auto`, and what was found.

    Raises:
        ExperimentError: a member cannot be trained.
    """
    settling = make_settling(prepared, fleet.check)
    with _importing_mlflow(prepared.config, at_once=settling.is_known(prepared.trials)):
        checked = check_members(prepared, settling.check)
        preflight.end()  # it has nothing more to find, and steps are timed now
        fitting = within_memory(prepared, checked, fleet)
        if len(fitting.slots) < len(prepared.slots):
            console.print(f"the free memory holds {len(fitting.slots)} of these at a time", highlight=False)
        prepared = replace(fitting, trials=settling.settle(fitting.trials, checked, len(fitting.slots)))
    _tell(console, (*unrecorded(checked), *unused_settings(prepared, checked)))
    return prepared, checked


def _tell(console: Console, texts: Iterable[str]) -> None:
    for text in texts:
        console.print(text, markup=False, highlight=False, soft_wrap=True)


@contextmanager
def _importing_mlflow(config: Config, at_once: bool) -> Iterator[None]:
    """MLflow's import begins: at once, as a core is idle while data is loaded; else afterwards, since steps are timed.

    Not while Ray starts, which it would slow by more than it takes itself.
    """
    in_workers = config.fleet.kind == "ray"
    if in_workers and at_once:
        preload(config.tracking.uri)
    yield
    if in_workers and not at_once:
        preload(config.tracking.uri)


def _headline(prepared: Prepared) -> str:
    slot = prepared.slots[0].allocation
    gpu = f", {slot.num_gpus:g} GPU ({slot.gpu_memory_mib} MiB)" if slot.num_gpus else ""
    trials, slots = len(prepared.trials), len(prepared.slots)
    return (
        f"{prepared.config.name}: {trials} trial{'s' * (trials > 1)}, {slots} at a time on {slot.num_cpus:g} CPU{gpu} "
        "each; starting workers …"
    )
