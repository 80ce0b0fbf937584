"""One sweep from config to end: prepare, open the fleet, check, record, train."""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import ExitStack, closing
from functools import partial
from pathlib import Path
from types import MappingProxyType

from runner.config import Config
from runner.driver.check import CheckedSweep, check, refuse_mistakes
from runner.driver.context import Context
from runner.driver.control import make_control
from runner.driver.disk import check_room, plan_disk
from runner.driver.fleets import logged_fleet
from runner.driver.machines import idle_processes
from runner.driver.mps import with_daemon
from runner.driver.notify import notifying
from runner.driver.preflight import Preflight
from runner.driver.prepare import Prepared, auto_settings, prepare
from runner.driver.probing import with_slots
from runner.driver.record import (
    Records,
    check_writable,
    new_folder,
    own_tags,
    recorded,
    refuse_secrets,
    sweep_record,
    with_code,
    write_config,
)
from runner.driver.start import Start
from runner.driver.train import Outcome, Training, is_reached, make_schedule, make_shares, may_end_early, outcome
from runner.driver.warm_start import lines, with_sweeps, write_known
from runner.host.output import LIBRARIES, Diverted
from runner.journal import SqliteJournal, TrialLogs, locked
from runner.loop.interfaces import Fleet, Proposer
from runner.records import Source
from runner.search.proposer import layouts_of, populations_of, with_wave
from runner.search.stopping import make_policy
from runner.tracking import StoreCheck
from runner.views.progress import Progress


def run(
    config: Config,
    context: Context,
    *,
    root: Path,
    command: str = "",
    preflight: Preflight | None = None,
    proposer: Proposer | None = None,
    sources: Mapping[str, Source] = MappingProxyType({}),
) -> Outcome:
    """Trains every trial and records it; returns when MLflow has everything too.

    Neither prints nor exits nor installs signal handlers: `context` has the watcher and the request to stop.

    Args:
        config: what to run.
        context: the watcher, the request to stop, and the environment.
        root: the folder of all sweeps.
        command: the command line that repeats the sweep.
        preflight: finds mistakes in the experiments' code while workers start; None to leave that to the check.
        proposer: adds trials at barriers, with every `auto` decided; None for the trials of the config alone.
        sources: the code of members that was made of functions, by name; the sweep's folder gets it as files.

    Raises:
        RunnerError: nothing was started, or the infrastructure failed.
        KeyboardInterrupt: a request to stop ended the sweep; everything until then is recorded.
    """
    began_s = time.time()
    store = StoreCheck(config.tracking.uri, context.environment)
    logs = TrialLogs(context.masked)
    with ExitStack() as workers:
        config, prepared = _prepared(config, context, root, sources, workers)
        reached = is_reached(store, config.tracking.required, context.watcher)
        preflight = preflight or Preflight()  # one that is not entered finds nothing
        _look(preflight, prepared)
        start = Start(context.stop, preflight.check)
        diverted = workers.enter_context(Diverted()) if config.fleet.kind == "local" else None
        fleet, checked = _started(prepared, preflight, start, context, logs, workers)
        prepared, config = checked.prepared, _settled(config, checked)
        check_room(plan_disk(prepared, checked.facts), prepared, root)
        start.is_over = True
        folder = _begun(root, config.name, context, diverted)
        config = with_code(config, folder, sources)
        record = sweep_record(config, folder.name, checked.metric, checked.goal, command, began_s)

        def begin(journal: SqliteJournal) -> None:
            journal.create(record, prepared.trials, own_tags(config))

        with notifying(config, folder, context), locked(folder):
            write_known(folder, prepared.known)
            write_config(folder, config)  # before the journal, which `resume` reads with it
            with recorded(folder, config, prepared.slots, logs, begin, context, reached=reached) as records:
                progress = _progress(config, checked)
                with closing(workers):  # MLflow's rest needs none, and the lock is given back after their end
                    _train(config, checked, records, context, fleet, progress, proposer)
    return outcome(records, progress, config.tracking.required)


def _prepared(
    config: Config, context: Context, root: Path, sources: Mapping[str, Source], workers: ExitStack
) -> tuple[Config, Prepared]:
    """The config with every name resolved, and what it amounts to; nothing is written.

    Nothing is started either but the daemon through which workers share a GPU, which `workers` ends.
    """
    config = with_sweeps(config, root)
    own = idle_processes(config, context.pool)
    refuse_secrets(config, context.secrets)
    check_writable(root)
    prepared = with_daemon(
        lambda mps: prepare(config, root, sources=sources, own=own, mps=mps),
        workers,
        context.watcher.warn,
        context.pool,
    )
    for text in lines(prepared.known):
        context.watcher.say(text)
    return config, prepared


def _started(
    prepared: Prepared, preflight: Preflight, start: Start, context: Context, logs: TrialLogs, workers: ExitStack
) -> tuple[Fleet, CheckedSweep]:
    """The fleet, which `workers` ends, and the sweep that has passed its check there; shows what is awaited."""
    watcher = context.watcher
    with watcher.waiting() as show, start.shown_by(show):
        prepared = with_slots(prepared, watcher, start.check, context.pool)
        start.awaits_workers(prepared.config.fleet.kind, len(prepared.slots))
        fleet = workers.enter_context(logged_fleet(prepared, logs, context, start.check))
        start.awaits_check(lambda: fleet.is_loading)
        return fleet, check(prepared, fleet, watcher, preflight, start.awaits_stacks)


def _settled(config: Config, checked: CheckedSweep) -> Config:
    """The config with the size of a wave; the sampler learns what ranks the trials, and how many train at once."""
    prepared = checked.prepared
    if prepared.proposer is None:
        return config
    prepared.proposer.settle(prepared.trials, checked.scoring, prepared.at_once)
    return with_wave(config, prepared.at_once)


def _begun(root: Path, name: str, context: Context, diverted: Diverted | None) -> Path:
    """The sweep's folder, which is made here; it keeps the libraries' messages that were diverted."""
    folder = new_folder(root, name)
    if diverted is not None:
        diverted.keep(folder / LIBRARIES)
    context.began(folder)
    context.watcher.say(f"sweep {folder.name}, in {folder}")
    return folder


def _progress(config: Config, checked: CheckedSweep) -> Progress:
    prepared = checked.prepared
    return Progress(
        trials=prepared.trials,
        metric=checked.metric,
        goal=checked.goal,
        clock=time.monotonic,
        slots=len(prepared.slots),
        most_trials=prepared.most_trials,
        may_end_early=may_end_early(config, prepared.trials),
        steps_per_epoch={member: facts.steps_per_epoch for member, facts in checked.facts.items()},
    )


def _train(
    config: Config,
    checked: CheckedSweep,
    records: Records,
    context: Context,
    fleet: Fleet,
    progress: Progress,
    proposer: Proposer | None,
) -> None:
    """Trains a sweep that has passed its check and is recorded, from its first round to its last."""
    prepared, members = checked.prepared, checked.prepared.members
    policy = make_policy(
        config.search,
        layouts_of(config.search, members),
        prepared.trials,
        checked.scoring,
        populations=populations_of(config.search, members, checked.scoring),
    )
    training = Training(
        config=config,
        records=records,
        context=context,
        shares=make_shares(prepared),
        mps=prepared.mps,
        policy=policy,
        proposer=proposer or prepared.proposer,
        control=make_control(records.folder, config, members, prepared.proposer, progress, context, records.journal),
    )
    parameters = max(facts.parameters for facts in checked.facts.values())
    training.run(make_schedule(prepared, parameters, policy), fleet, progress)
    for text in () if prepared.proposer is None else prepared.proposer.exhausted():
        context.watcher.say(text)


def _look(preflight: Preflight, prepared: Prepared) -> None:
    """Starts to look for mistakes in new code if the workers are processes of this machine."""
    fleet = prepared.config.fleet
    if fleet.kind == "ray" and fleet.address is None and not has_passed_before(prepared):
        with_gpus = any(slot.allocation.gpus for slot in prepared.slots)
        preflight.look(partial(refuse_mistakes, prepared.trials), with_gpus=with_gpus)
    else:
        preflight.end()


def has_passed_before(prepared: Prepared) -> bool:
    """As `AutoSettings.has_checked`, of all of the sweep's trials."""
    return auto_settings(prepared, lambda _: {}).has_checked(prepared.trials)
