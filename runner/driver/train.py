"""Trains a sweep whose records are open: the part that new and resumed sweeps share."""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from runner.config import Config
from runner.driver.context import Context, SweepWatcher
from runner.driver.lineage import lineage
from runner.driver.mps_proof import proven
from runner.driver.prepare import Prepared
from runner.driver.record import Records, versions
from runner.journal import SweepStatus, open_staging
from runner.journal.kept_models import KeptModels
from runner.journal.snapshots import SnapshotStore
from runner.journal.trial_files import FOLDER as FILES
from runner.loop import lockstep
from runner.loop.history import History
from runner.loop.interfaces import Control, Fleet, Policy, Proposer, Watcher
from runner.loop.recovery import Recovery
from runner.loop.schedule import Schedule, live_within
from runner.loop.slots import Shares
from runner.loop.snapshotting import Snapshotting
from runner.loop.stack_sizes import StackSizes
from runner.records import Clone, Failure, Mps, Report, Trial, Verdict, Work
from runner.report.page import write_report
from runner.tracking import Projection, StoreCheck
from runner.views.progress import Progress

_STATES_SHARE = 0.25  # of the host's memory, for the states of rotating trials


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """How a sweep ended.

    Args:
        failed: number of failed trials.
        paused: number of trials that wait until they are continued, and of those that wait for them.
        problem: what MLflow lacks and the journal has; empty if nothing.
        is_error: whether that is an error, because the store is required.
    """

    folder: Path
    failed: int
    paused: int = 0
    problem: str = ""
    is_error: bool = True


@dataclass(frozen=True, kw_only=True, slots=True)
class Training:
    """Everything a sweep needs for training.

    Args:
        records: of the sweep, open.
        context: the watcher and the request to stop.
        shares: of the slots; None if they cannot grow.
        policy: ends trials by comparing them.
        pasts: histories of trials that an earlier driver has trained.
        proposer: adds trials at barriers; None if all are known.
        control: reads what users ask; None without an inbox.
        sizes: of the stacks in which trials train.
        mps: the state of MPS on this machine; None on a cluster.
    """

    config: Config
    records: Records
    context: Context
    shares: Shares | None
    policy: Policy
    pasts: Mapping[str, History] = field(default_factory=dict)
    proposer: Proposer | None = None
    control: Control | None = None
    sizes: StackSizes = field(default_factory=StackSizes)
    mps: Mps | None = None

    def run(self, schedule: Schedule, fleet: Fleet, progress: Progress) -> None:
        """Trains every trial of the schedule to its end, and closes the sweep in the journal.

        Raises:
            RunnerError: the infrastructure failed, or too many trials.
            KeyboardInterrupt: a request to stop ended the sweep, with snapshots of all trials.
        """
        status: SweepStatus = "failed"
        watcher, stop = self.context.watcher, self.context.stop
        try:
            with watcher.rounds(progress) as view, stop.deferred(fleet.stop):
                self._train(schedule, fleet, view)
            status = "killed" if schedule.unfinished() else "complete"
            if stop.requested:
                raise KeyboardInterrupt
        except KeyboardInterrupt:
            status = "killed" if schedule.unfinished() else "complete"
            raise
        finally:
            name = self.records.folder.name
            for trial_id in schedule.paused():
                watcher.say(
                    f"trial {trial_id} is paused; to let it go on:  python -m runner continue {name} {trial_id}"
                )
            if status != "complete":
                watcher.say(f"to go on with it:  python -m runner resume {name}")
            try:
                self._write_report(status)  # before the end is recorded, with which MLflow gets it
            finally:  # also if a person does not want to wait for it
                self.records.journal.end(status)
                self.records.projection.notify()
            watcher.say(f"sweep {name}: sending the rest to MLflow …", dim=True)

    def _write_report(self, status: SweepStatus) -> None:
        """Writes the sweep's page. Whatever goes wrong there costs the sweep nothing and is a warning."""
        if not self.config.report:
            return
        try:
            write_report(self.records.folder, status)
        except Exception as err:
            name = self.records.folder.name
            advice = f"`python -m runner report {name}` tries again"
            self.context.watcher.warn(f"warning: {name}: the report could not be written ({err!r}); {advice}")

    def _train(self, schedule: Schedule, fleet: Fleet, view: Watcher) -> None:
        config, folder, warn = self.config, self.records.folder, self.context.watcher.warn
        kept = KeptModels(self.records.journal, folder, config.keep.models)
        journal = proven(kept, self.mps, self.shares, warn)
        staging = open_staging(folder)
        snapshotting = Snapshotting(
            fleet,
            SnapshotStore(folder, versions(), warn),
            keep_ended=config.keep.snapshots,
            folder=staging,
            every_s=config.recovery.snapshot_every_s,
            stopping=self._is_stopping,
            warn=warn,
        )
        recovery = Recovery(
            fleet,
            journal,
            snapshotting,
            folder=staging,
            files=folder.absolute() / FILES,
            max_failures=config.recovery.max_failures,
            shares=self.shares,
            lineage=partial(lineage, folder),
            sizes=self.sizes,
            stopping=self._is_stopping,
            warn=warn,
        )
        for trial_id, past in self.pasts.items():
            recovery.take_over(trial_id, past.orders, past.next_turn)
        lockstep.Loop(
            schedule,
            recovery,
            journal,
            _Notifying(self.records.projection, view),
            pasts={trial_id: past.rules for trial_id, past in self.pasts.items()},
            policy=self.policy,
            proposer=self.proposer,
            control=self.control,
            stopping=self._is_stopping,
            max_failed_trials=config.recovery.max_failed_trials,
        ).run()

    def _is_stopping(self) -> bool:
        return self.context.stop.requested


def may_end_early(config: Config, trials: Iterable[Trial]) -> bool:
    """Whether a rule may end trials before their last epoch."""
    search = config.search
    limits = (search.stop, search.target, search.max_steps, search.max_hours)
    return any(limit is not None for limit in limits) or any(
        trial.train.early_stopping is not None or trial.train.max_seconds is not None for trial in trials
    )


def make_schedule(
    prepared: Prepared,
    parameters: int | None,
    policy: Policy,
    begun: Mapping[str, Work] | None = None,
    paused: Container[str] = (),
) -> Schedule:
    """The schedule of the config: trials queue or rotate. Trials that are compared rotate, because they wait there.

    Args:
        prepared: the sweep.
        parameters: weights of its largest model; None if unknown: then one trial per slot is live.
        policy: compares trials.
        begun: next turns of trials that an earlier driver has trained.
        paused: trials that have no turn until they go on.
    """
    live = None
    config = prepared.config
    if (config.schedule == "rotate" or config.search.compares) and parameters is not None:
        memory_mib = sum(machine.memory_mib for machine in prepared.machines.values())
        live = live_within(memory_mib * _STATES_SHARE, parameters, len(prepared.trials))
    if (stack := max(trial.train.stack for trial in prepared.trials)) > 1:  # whose trials train at once
        live = max(live or 0, stack * len(prepared.slots))
    return Schedule(prepared.trials, prepared.slots, live, begun, policy, paused)


def make_shares(prepared: Prepared) -> Shares | None:
    """The slots' shares, which can grow; None if all models are in this process and have no limits."""
    return Shares(prepared.slots, prepared.machines) if prepared.config.fleet.kind == "ray" else None


def is_reached(store: StoreCheck, required: bool, watcher: SweepWatcher) -> bool:
    """Whether the store answers, as far as that is known before the first write; warns if it does not.

    Raises:
        RunnerError: it does not, and it is required.
    """
    problem = store.problem()
    if problem is None:
        return True
    if required:
        raise problem
    watcher.warn(f"warning: {problem}; training goes on, the journal keeps everything for `python -m runner sync`")
    return False


def outcome(records: Records, progress: Progress, required: bool) -> Outcome:
    """The outcome of a sweep, after MLflow has received what it could."""
    failed = sum(row.state == "failed" for row in progress.rows.values())
    paused = sum(not row.has_ended for row in progress.rows.values())
    return Outcome(
        folder=records.folder, failed=failed, paused=paused, problem=records.projection.problem or "", is_error=required
    )


@dataclass(frozen=True, slots=True)
class _Notifying:
    """Wakes MLflow's thread at each barrier, before the round is shown."""

    projection: Projection
    view: Watcher

    def begin(self, trial_ids: Sequence[str]) -> None:
        self.view.begin(trial_ids)

    def add(self, trials: Sequence[Trial]) -> None:
        self.view.add(trials)

    def clone(self, trial: Trial, clone: Clone) -> None:
        self.view.clone(trial, clone)

    def show(self, reports: Mapping[str, Report | Failure], verdicts: Mapping[str, Verdict]) -> None:
        self.projection.notify()
        self.view.show(reports, verdicts)
