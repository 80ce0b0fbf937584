"""Continues a sweep, however it ended, from its journal and its snapshots."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import replace
from functools import partial
from pathlib import Path

from runner.autotune.memory import largest
from runner.config import Config, load_config
from runner.config.mlflow_variables import with_credentials
from runner.driver.context import Context, SweepWatcher
from runner.driver.control import make_control, obey_before
from runner.driver.fleets import logged_fleet
from runner.driver.machines import idle_processes, machines_of
from runner.driver.mps import with_daemon
from runner.driver.notify import notifying
from runner.driver.prepare import Prepared, measured, request_of
from runner.driver.record import COLLECTED, recorded, versions
from runner.driver.resume_state import Asked, ResumeState, read_state
from runner.driver.slots_text import advice
from runner.driver.start import Start
from runner.driver.train import Outcome, Training, is_reached, make_schedule, make_shares, may_end_early, outcome
from runner.driver.warm_start import read_known
from runner.errors import PlacementError
from runner.host.output import LIBRARIES, Diverted
from runner.journal import SqliteJournal, TrialLogs, TrialRecord, inbox, locked
from runner.journal.kept_models import KeptModels
from runner.journal.snapshots import SnapshotStore
from runner.loop.interfaces import Fleet
from runner.loop.schedule import Schedule
from runner.placement import Machine, Request, plan_on_nodes, with_places
from runner.records import Allocation, Mps, Report, Slot, Trial, has_python_text, in_groups, proposals
from runner.search.cohorts import Scoring
from runner.search.members import Member, resolve_members
from runner.search.policy import SearchPolicy
from runner.search.proposer import WaveProposer, layouts_of, make_proposer, populations_of
from runner.search.stopping import make_policy
from runner.tracking import StoreCheck, preload
from runner.views.progress import Progress


def resume(folder: Path, asked: Asked, context: Context) -> Outcome:
    """Trains what is left of a sweep; returns when MLflow has everything too.

    Raises:
        RunnerError: nothing was started, or the infrastructure failed.
        KeyboardInterrupt: a request to stop ended the sweep; everything until then is recorded.
    """
    watcher = context.watcher
    with ExitStack() as unlocked, locked(folder):
        config, asked, obeyed = obey_before(folder, load_config(None, [], config_dir=folder), asked, watcher.say)
        state = read_state(folder, asked)
        members, policy, proposer = _search(folder, config, state, watcher.warn)
        if not state.left and proposer is not None and not policy.is_over and _propose_more(folder, proposer):
            state = read_state(folder, asked)
            members, policy, proposer = _search(folder, config, state, watcher.warn)
        uri = with_credentials(config.tracking.uri, context.environment)
        store = StoreCheck(uri, context.environment)
        own = idle_processes(config, context.pool)
        prepared = with_daemon(
            lambda mps: prepare_like(config, state.records, state.left, own, mps), unlocked, watcher.warn, context.pool
        )
        snapshots = SnapshotStore(folder, versions(), on_warning=lambda _: None)
        if not config.keep.snapshots:
            _drop_those_of_ended(snapshots, state)
        progress = _progress(state, prepared)
        _say_what_is_left(folder, state, prepared, snapshots, watcher)
        # The sweep has begun: a problem of its store delays only MLflow.
        reached = is_reached(store, False, watcher)
        logs = TrialLogs(context.masked)
        open_records = partial(
            recorded, folder, config, prepared.slots, logs, context=context, uri=uri, reached=reached
        )
        unlocked.enter_context(notifying(config, folder, context))
        if state.going:
            with ExitStack() as workers:
                if config.fleet.kind == "local":
                    workers.enter_context(Diverted()).keep(folder / LIBRARIES)
                fleet = _started(prepared, logs, context, workers)
                if config.fleet.kind == "ray":
                    preload(uri)
                with open_records(begin=lambda journal: journal.reopen(state.going_on, state.decisions)) as records:
                    inbox.remove(folder, obeyed)
                    control = make_control(
                        folder, config, members, proposer, progress, context, records.journal, state.paused
                    )
                    training = Training(
                        config=config, records=records, context=context, shares=make_shares(prepared),
                        mps=prepared.mps,
                        pasts=state.pasts, policy=policy, proposer=proposer, control=control,
                        sizes=state.stack_sizes(),
                    )  # fmt: skip
                    with closing(workers):  # as in `run`
                        training.run(_schedule(prepared, state, policy), fleet, progress)
        else:
            with open_records(begin=lambda _: None) as records:
                KeptModels(records.journal, folder, config.keep.models)  # removes models that a killed driver left
                records.journal.end("killed" if state.paused else "complete")
    return outcome(records, progress, config.tracking.required)


def _say_what_is_left(
    folder: Path, state: ResumeState, prepared: Prepared, snapshots: SnapshotStore, watcher: SweepWatcher
) -> None:
    """Says what is trained, what of it is repeated, and what differs from when the sweep began."""
    for text in _differences(state):
        watcher.warn(text)
    watcher.say(f"sweep {folder.name}, in {folder}")
    for text in (_headline(state, prepared), *_repeated(state, snapshots)):
        watcher.say(text)
    for text in advice(prepared):
        watcher.warn(text)


def _started(prepared: Prepared, logs: TrialLogs, context: Context, workers: ExitStack) -> Fleet:
    """The fleet, which `workers` ends; a request to stop ends its start."""
    start = Start(context.stop)
    with context.watcher.waiting() as show:
        show("starting workers, each of which imports TensorFlow")
        fleet = workers.enter_context(logged_fleet(prepared, logs, context, start.check))
    start.is_over = True
    return fleet


def prepare_like(
    config: Config,
    records: Sequence[TrialRecord],
    trials: tuple[Trial, ...],
    own: Collection[int] = (),
    mps: Mps | None = None,
) -> Prepared:
    """Plans slots for these trials like those the sweep had, because threads change results; fewer if less is free now.

    Args:
        config: of the sweep.
        records: of all of its trials.
        trials: that are trained.
        own: processes that wait for this sweep, whose memory counts as free.
        mps: the state of MPS on this machine; None to look.

    Raises:
        PlacementError: this machine cannot give one of them.
    """
    request = request_of(config)
    machines, known = measured(machines_of(config, own, mps), request)
    need_mib = largest(known.of(trials))
    # The smallest: a slot's share has grown where a trial ran out of memory.
    given = [record.allocation for record in records if record.allocation is not None]
    had = min(given, key=lambda allocation: allocation.num_gpus, default=None)
    try:
        if had is None:
            slots = plan_on_nodes(request, machines, len(trials), need_mib)
        else:
            before = len({record.slot for record in records if record.slot is not None})
            slots = _slots_like(had, request, machines, before, len(trials), need_mib)
    except PlacementError as err:
        raise PlacementError(f"this machine cannot give the slots that the sweep was trained in: {err}") from err
    if had is not None:
        now = slots[0].allocation
        if (now.threads, bool(now.gpus)) != (had.threads, bool(had.gpus)):
            raise PlacementError(
                f"the sweep was trained with {had.threads} threads{' on a GPU' * bool(had.gpus)} a trial; this "
                f"machine would give {now.threads}{' on a GPU' * bool(now.gpus)}, and other numbers"
            )
    return Prepared(config=config, members=(), trials=trials, slots=slots, machines=machines)


def _slots_like(
    had: Allocation,
    request: Request,
    machines: Mapping[str, Machine],
    before: int,
    trials: int,
    need_mib: float | None,
) -> tuple[Slot, ...]:
    """Slots with the share of this allocation for these trials: as many as before, or as fit now."""
    share = had.num_gpus if request.num_gpus == request.gpu_memory_mib == "auto" else request.num_gpus
    most = before if request.max_concurrent == "auto" else request.max_concurrent
    request = replace(request, num_cpus=had.num_cpus, num_gpus=share, max_concurrent="auto")
    room = len(plan_on_nodes(request, machines, most, need_mib))
    slots = plan_on_nodes(replace(request, max_concurrent=min(most, room)), machines, trials, need_mib)
    return with_places(slots, had.places, need_mib) if had.places > 1 else slots


def _search(
    folder: Path, config: Config, state: ResumeState, warn: Callable[[str], None]
) -> tuple[tuple[Member, ...], SearchPolicy, WaveProposer | None]:
    """The members, the policy and the proposer of the sweep, as they were when the earlier driver ended."""
    sources = {trial.member: trial.source for trial in state.trials}
    members, scoring = resolve_members(config, sources), Scoring(state.sweep.metric, state.sweep.goal)
    populations = populations_of(config.search, members, scoring)
    policy = make_policy(config.search, layouts_of(config.search, members), (), scoring, state.spent_s, populations)
    for group in in_groups(state.trials, (one for made in state.made.values() for one in made)):
        policy.add(group)
    for trial in state.trials:
        if (first := state.clone_at(trial, 0)) is not None:
            policy.take_clone(trial.id, first)
        for report, verdict in state.turns(trial):
            policy.take(trial.id, report, verdict)
            clone = state.clone_at(trial, report.step) if isinstance(report, Report) else None
            if clone is not None:
                policy.take_clone(trial.id, clone)
        if trial.id in state.exempt:
            policy.exempt(trial.id)
    if state.lifted:
        policy.lift()
    proposer = make_proposer(config.search, members, 0, prefix=bool(config.members), known=read_known(folder))
    if proposer is not None:
        proposer.settle(state.trials, scoring, 1)  # the recorded config has the size of a wave
        if not proposer.replay(state.trials, state.recorded_turns, state.states):
            warn("warning: the installed Optuna draws other settings than the sweep has; it goes on from those")
    return members, policy, proposer


def _propose_more(folder: Path, proposer: WaveProposer) -> bool:
    """Adds the next wave of a sweep that had ended and has a higher limit now; returns whether there is one."""
    joined = proposer.propose({}, {})
    if joined:
        with SqliteJournal(folder, {}) as journal:
            journal.add(joined, proposals(joined))
    return bool(joined)


def _schedule(prepared: Prepared, state: ResumeState, policy: SearchPolicy) -> Schedule:
    known = [record.facts.parameters for record in state.records if record.facts is not None]
    parameters = max(known) if known else None
    turns = {trial_id: past.next_turn for trial_id, past in state.pasts.items()}
    begun = {trial_id: turn for trial_id, turn in turns.items() if turn is not None}
    return make_schedule(prepared, parameters, policy, begun, state.paused)


def _progress(state: ResumeState, prepared: Prepared) -> Progress:
    sweep = state.sweep
    progress = Progress(
        trials=state.trials,
        metric=sweep.metric,
        goal=sweep.goal,
        clock=time.monotonic,
        slots=len(prepared.slots),
        may_end_early=may_end_early(prepared.config, state.trials),
    )
    for record in state.records:
        length = None if record.facts is None else record.facts.steps_per_epoch
        shown = state.states.get(record.id, "queued")
        score = record.score(sweep.metric)
        progress.take_over(record.id, state.reports[record.id], shown, length, score, record.best_epoch is not None)
    return progress


def _differences(state: ResumeState) -> Iterator[str]:
    """Warnings about versions and code that have changed since the sweep began."""
    now = versions()
    changed = [f"{name} {was} → {now[name]}" for name, was in state.sweep.versions.items() if was != now.get(name)]
    if changed:
        yield f"warning: other versions than before, numbers may differ in the last bits: {', '.join(changed)}"
    for source in dict.fromkeys(trial.source for trial in state.trials):
        edited = [
            name for name, text in source.files
            if not (name == source.module and COLLECTED in Path(source.path).parts)  # `clean` may have removed it
            and not any(has_python_text(Path(place), text) for place in source.places(name))
        ]  # fmt: skip
        if edited:
            yield f"{', '.join(edited)} in {source.root} changed since; the sweep goes on with the code it began with"


def _drop_those_of_ended(snapshots: SnapshotStore, state: ResumeState) -> None:
    """Removes snapshots that a driver left if it was killed between a trial's end and their removal."""
    for trial_id, ended in state.states.items():
        if ended != "failed" and trial_id not in state.frozen:
            snapshots.drop(trial_id)


def _repeated(state: ResumeState, snapshots: SnapshotStore) -> Iterator[str]:
    """Says what is repeated because trials have no snapshot."""
    lost = [i for i in state.pasts if not snapshots.has_any(i) and state.reports[i]]
    steps = sum(reports[-1].step for trial_id in lost if (reports := state.reports[trial_id]))
    turns = [report.turn for trial_id in lost for report in state.reports[trial_id]]
    seconds = sum(turn.compute_s + turn.evaluate_s for turn in turns)
    if lost:
        yield (
            f"{len(lost)} of them ha{'ve' if lost[1:] else 's'} no snapshot and repeat{'s' * (not lost[1:])} what was "
            f"trained before: {steps} steps, {seconds:.1f} s of computing; keep.snapshots=true keeps the snapshots "
            "of ended trials"
        )


def _headline(state: ResumeState, prepared: Prepared) -> str:
    left, ended = len(state.left), Counter(state.states.values())
    told = ", ".join(f"{count} {state}" for state, count in ended.items()) or "none ended"
    if not left:
        return f"{state.sweep.id}: nothing is left to train ({told})"
    trials = f"{left} trial{'s' * (left > 1)} to go on ({told})"
    return f"{state.sweep.id}: {trials}, {prepared.at_once} at a time; starting workers …"
