"""A sweep that has ended in any way goes on, from what its journal and its snapshots hold."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any

from rich.console import Console

from runner.autotune.memory import largest
from runner.config import Config, load_config
from runner.config.mlflow_variables import with_credentials
from runner.driver.machines import machines_of
from runner.driver.prepare import Prepared, advice, make_schedule, make_shares, measured, open_fleet
from runner.driver.record import versions
from runner.driver.train import Outcome, Training, followed_by_mlflow, is_reached, outcome, told_by
from runner.errors import ConfigError, PlacementError
from runner.host.signals import StopSignals
from runner.journal import (
    JournalReader,
    SqliteJournal,
    Status,
    SweepRecord,
    TrialLogs,
    TrialRecord,
    locked,
    staging_folder,
)
from runner.journal.kept_models import KeptModels
from runner.journal.snapshots import SnapshotStore
from runner.loop.history import Past, retrace
from runner.loop.logged import LoggedFleet
from runner.loop.schedule import Schedule
from runner.placement import Machine, Request, plan_on_nodes
from runner.records import Report, Slot, Trial, has_python_text
from runner.texts.redaction import redact
from runner.tracking import StoreCheck, preload
from runner.views.progress import Progress, State

_UNFINISHED: tuple[Status, ...] = ("queued", "running", "killed")


@dataclass(frozen=True, kw_only=True, slots=True)
class Asked:
    """What a person wants of a sweep that has ended.

    Args:
        retry_failed: trials that have failed go on where they failed.
        more_epochs: epochs that every trial is given beyond those it was to train.
    """

    retry_failed: bool = False
    more_epochs: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class Standing:
    """A sweep as its journal has it, and what is left of it.

    Args:
        trials: all of the sweep.
        reports: what each has reported.
        states: of those that have ended for good.
        pasts: of those that go on and have begun.
    """

    sweep: SweepRecord
    records: tuple[TrialRecord, ...]
    trials: tuple[Trial, ...]
    reports: Mapping[str, Sequence[Report]]
    states: Mapping[str, State]
    pasts: Mapping[str, Past] = field(default_factory=dict)

    @property
    def left(self) -> tuple[Trial, ...]:
        """Trials that go on."""
        return tuple(trial for trial in self.trials if trial.id not in self.states)

    @property
    def going_on(self) -> dict[str, tuple[Trial, int]]:
        """The same by id, each with how many of its turns count."""
        turns = {trial_id: len(past.orders) for trial_id, past in self.pasts.items()}
        return {trial.id: (trial, turns.get(trial.id, 0)) for trial in self.left}


def read_standing(folder: Path, asked: Asked) -> Standing:
    """Reads the journal, and decides of every trial whether it goes on.

    Raises:
        SweepNotFoundError: there is no journal.
        ConfigError: the sweep's metric would not be known of the last epoch.
    """
    with JournalReader(folder) as reader:
        sweep, records = reader.sweep(), reader.trials()
        reports = {record.id: reader.reports(record.id) for record in records}
    trials = tuple(_with_epochs(Trial.of(record.record), asked.more_epochs, sweep) for record in records)
    states: dict[str, State] = {}
    pasts: dict[str, Past] = {}
    for record, trial in zip(records, trials, strict=True):
        past = _past(trial, reports[trial.id]) if _goes_on(record, asked) else None
        if past is None:
            states[trial.id] = _ended(record)
        elif past.orders:
            pasts[trial.id] = past
    return Standing(sweep=sweep, records=records, trials=trials, reports=reports, states=states, pasts=pasts)


def run_resume(
    folder: Path,
    asked: Asked,
    *,
    console: Console,
    secrets: Mapping[str, str],
    signals: StopSignals,
    environment: Mapping[str, str] = MappingProxyType({}),
) -> Outcome:
    """Trains what is left of a sweep; returns when MLflow has everything too.

    Raises:
        RunnerError: nothing was started, or the infrastructure failed.
        KeyboardInterrupt: a signal ended the sweep; all that had happened is recorded.
    """
    with ExitStack() as records:
        records.enter_context(locked(folder))
        standing = read_standing(folder, asked)
        config = load_config(None, [], config_dir=folder)
        uri = with_credentials(config.tracking.uri, environment)
        store = StoreCheck(uri, environment)
        prepared = _prepare(config, standing)
        snapshots = SnapshotStore(folder, versions(), on_warning=lambda _: None)
        if not config.keep.snapshots:
            _drop_those_of_ended(snapshots, standing)
        progress = _progress(standing)
        headlines = [*_differences(standing), _headline(standing, prepared), *_repeated(standing, snapshots)]
        for text in [*headlines, *advice(prepared)]:
            console.print(text, markup=False, highlight=False, soft_wrap=True)
        # The sweep has begun: whatever has become of its store since delays MLflow alone.
        reached = is_reached(store, False, console)
        masked = partial(redact, secrets=secrets.values())
        allocations = {slot.index: slot.allocation for slot in prepared.slots}
        staging_folder(folder)  # emptied before MLflow's thread uses it
        stay = config.keep.models == "all"
        journal = records.enter_context(SqliteJournal(folder, allocations, masked, models_stay=stay))
        if not standing.left:
            KeptModels(journal, folder, config.keep.models)  # removes what a driver that was killed has left
            projection = records.enter_context(followed_by_mlflow(folder, uri, console, reached))
            journal.end("complete")
        else:
            logs = TrialLogs(masked)
            logs.open(folder)
            warn = told_by(console, masked)
            with LoggedFleet(open_fleet(prepared, prepared.slots, warn=warn), logs.write, warn) as fleet:
                if config.fleet.kind == "ray":
                    preload(uri)
                journal.reopen(standing.going_on)
                projection = records.enter_context(followed_by_mlflow(folder, uri, console, reached))
                training = Training(
                    config=config, folder=folder, journal=journal, projection=projection, console=console,
                    signals=signals, masked=masked, shares=make_shares(prepared), pasts=standing.pasts,
                )  # fmt: skip
                training.run(_schedule(prepared, standing), fleet, progress)
    return outcome(folder, progress, projection, config.tracking.required)


def _goes_on(record: TrialRecord, asked: Asked) -> bool:
    if record.status == "failed":
        return asked.retry_failed
    return record.status in _UNFINISHED or (record.status == "complete" and asked.more_epochs > 0)


def _past(trial: Trial, reports: Sequence[Report]) -> Past | None:
    """What a trial that goes on has been through; None for one that would diverge again."""
    past = retrace(trial, reports)
    if past.verdict is None or not past.verdict.ends:
        return past
    if not past.verdict.keeps_model:
        return None
    return retrace(trial, reports[:-1])  # its model was lost: the last turn is repeated, and the model kept


def _ended(record: TrialRecord) -> State:
    assert record.status in ("complete", "stopped", "failed")
    return record.status


def _with_epochs(trial: Trial, more: int, sweep: SweepRecord) -> Trial:
    epochs = trial.train.epochs + more
    if more and sweep.metric.startswith("val_") and epochs % trial.train.validate_every:
        raise ConfigError(
            f"--more-epochs {more}: {sweep.metric!r} would not be known of the last of {epochs} epochs, whose weights "
            f"the model has; train.validate_every={trial.train.validate_every} must divide them"
        )
    return replace(trial, train=replace(trial.train, epochs=epochs))


def _prepare(config: Config, standing: Standing) -> Prepared:
    """Slots as the sweep has had them, for threads change the last bits; fewer where there is less room than there was.

    Raises:
        PlacementError: this machine cannot give one of them.
    """
    request = Request(**config.resources.model_dump())
    machines, known = measured(machines_of(config), request)
    need_mib = largest(known.of(standing.left))
    # The smallest: a slot's share has grown where a trial ran out of memory.
    given = [record.allocation for record in standing.records if record.allocation is not None]
    had = min(given, key=lambda allocation: float(allocation["num_gpus"]), default=None)
    try:
        if had is None:
            slots = plan_on_nodes(request, machines, len(standing.left), need_mib)
        else:
            slots = _slots_like(had, request, machines, standing, need_mib)
    except PlacementError as err:
        raise PlacementError(f"this machine cannot give the slots that the sweep was trained in: {err}") from err
    if had is not None:
        now = slots[0].allocation
        if (now.threads, bool(now.gpus)) != (had["threads"], bool(had["gpus"])):
            raise PlacementError(
                f"the sweep was trained with {had['threads']} threads{' on a GPU' * bool(had['gpus'])} a trial; this "
                f"machine would give {now.threads}{' on a GPU' * bool(now.gpus)}, and other numbers"
            )
    return Prepared(config=config, members=(), trials=standing.left, slots=slots, machines=machines)


def _slots_like(
    had: Mapping[str, Any],
    request: Request,
    machines: Mapping[str, Machine],
    standing: Standing,
    need_mib: float | None,
) -> tuple[Slot, ...]:
    """Slots with the share of this allocation: as many as the sweep had, or as fit now."""
    share = had["num_gpus"] if request.num_gpus == request.gpu_memory_mib == "auto" else request.num_gpus
    before = len({record.slot for record in standing.records if record.slot is not None})
    most = before if request.max_concurrent == "auto" else request.max_concurrent
    request = replace(request, num_cpus=had["num_cpus"], num_gpus=share, max_concurrent="auto")
    room = len(plan_on_nodes(request, machines, most, need_mib))
    return plan_on_nodes(replace(request, max_concurrent=min(most, room)), machines, len(standing.left), need_mib)


def _schedule(prepared: Prepared, standing: Standing) -> Schedule:
    known = [record.facts["parameters"] for record in standing.records if record.facts is not None]
    parameters = max(known) if known else None
    turns = {trial_id: past.next_turn for trial_id, past in standing.pasts.items()}
    return make_schedule(prepared, parameters, {trial_id: turn for trial_id, turn in turns.items() if turn is not None})


def _progress(standing: Standing) -> Progress:
    sweep = standing.sweep
    progress = Progress(trials=standing.trials, metric=sweep.metric, goal=sweep.goal, clock=time.monotonic)
    for record in standing.records:
        length = None if record.facts is None else record.facts["steps_per_epoch"]
        state = standing.states.get(record.id, "queued")
        score = record.score(sweep.metric)
        progress.take_over(record.id, standing.reports[record.id], state, length, score, record.best_epoch is not None)
    return progress


def _differences(standing: Standing) -> Iterator[str]:
    """What is not as it was when the sweep began."""
    now = versions()
    changed = [f"{name} {was} → {now[name]}" for name, was in standing.sweep.versions.items() if was != now.get(name)]
    if changed:
        yield f"warning: other versions than before, numbers may differ in the last bits: {', '.join(changed)}"
    for source in dict.fromkeys(trial.source for trial in standing.trials):
        edited = [name for name, text in source.files if not has_python_text(Path(source.root) / name, text)]
        if edited:
            yield f"{', '.join(edited)} in {source.root} changed since; the sweep goes on with the code it began with"


def _drop_those_of_ended(snapshots: SnapshotStore, standing: Standing) -> None:
    """What a driver that was killed between a trial's end and the removal of its snapshots has left."""
    for trial_id, state in standing.states.items():
        if state != "failed":
            snapshots.drop(trial_id)


def _repeated(standing: Standing, snapshots: SnapshotStore) -> Iterator[str]:
    """What it costs that trials which go on have no snapshot."""
    lost = [trial_id for trial_id in standing.pasts if not snapshots.rounds(trial_id)]
    steps = sum(standing.pasts[trial_id].orders[-1].until or 0 for trial_id in lost)
    turns = [report.turn for trial_id in lost for report in standing.reports[trial_id]]
    seconds = sum(turn.compute_s + turn.evaluate_s for turn in turns)
    if lost:
        yield (
            f"{len(lost)} of them ha{'ve' if lost[1:] else 's'} no snapshot and repeat{'s' * (not lost[1:])} what was "
            f"trained before: {steps} steps, {seconds:.1f} s of computing; keep.snapshots=true keeps the snapshots "
            "of ended trials"
        )


def _headline(standing: Standing, prepared: Prepared) -> str:
    left, ended = len(standing.left), Counter(standing.states.values())
    told = ", ".join(f"{count} {state}" for state, count in ended.items()) or "none ended"
    if not left:
        return f"{standing.sweep.id}: nothing is left to train ({told})"
    trials = f"{left} trial{'s' * (left > 1)} to go on ({told})"
    return f"{standing.sweep.id}: {trials}, {len(prepared.slots)} at a time; starting workers …"
