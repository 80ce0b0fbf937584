"""Trains what a journal has been opened for: the part that a new sweep and a resumed one have in common."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from rich.console import Console

from runner.config import Config
from runner.driver.record import versions
from runner.host.signals import StopSignals
from runner.journal import SqliteJournal, SweepStatus, open_staging
from runner.journal.kept_models import KeptModels
from runner.journal.snapshots import SnapshotStore
from runner.loop import lockstep
from runner.loop.history import Past
from runner.loop.interfaces import Fleet, Watcher
from runner.loop.recovery import Recovery
from runner.loop.schedule import Schedule
from runner.loop.slots import Shares
from runner.records import Failure, Report, Verdict
from runner.tracking import Projection, StoreCheck
from runner.views.live import Waiting, watch
from runner.views.progress import Progress

_REACHED_S = 120.0  # most seconds at the end in which a store takes nothing
_UNREACHED_S = 10.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """How a sweep ended.

    Args:
        problem: what MLflow lacks and the journal keeps; empty for nothing.
        is_error: whether that is an error, and no more than a thing to know.
    """

    folder: Path
    exit_code: int
    problem: str = ""
    is_error: bool = True


@dataclass(frozen=True, kw_only=True, slots=True)
class Training:
    """What a sweep is trained with.

    Args:
        folder: the sweep's.
        journal: open, and it has the sweep.
        projection: open; follows the journal.
        signals: those that stop the program.
        masked: takes secrets out of what is shown.
        shares: of the slots; None where they cannot grow.
        pasts: of trials that an earlier driver has trained.
    """

    config: Config
    folder: Path
    journal: SqliteJournal
    projection: Projection
    console: Console
    signals: StopSignals
    masked: Callable[[str], str]
    shares: Shares | None
    pasts: Mapping[str, Past] = field(default_factory=dict)

    def run(self, schedule: Schedule, fleet: Fleet, progress: Progress) -> None:
        """Trains every trial of the schedule to its end, and closes the sweep in the journal.

        Raises:
            RunnerError: the infrastructure failed, or too many trials.
            KeyboardInterrupt: a signal ended the sweep, with snapshots of all trials.
        """
        status: SweepStatus = "failed"
        try:
            with watch(self.console, progress) as view, self.signals.deferred(fleet.stop):
                self._train(schedule, fleet, view)
            status = "killed" if schedule.has_work() else "complete"
            if self.signals.requested:
                raise KeyboardInterrupt
        except KeyboardInterrupt:
            status = "killed" if schedule.has_work() else "complete"
            raise
        finally:
            name = self.folder.name
            if status != "complete":
                text = f"to go on with it:  python -m runner resume {name}"
                self.console.print(text, highlight=False, soft_wrap=True)
            self.journal.end(status)
            self.projection.notify()
            self.console.print(f"sweep {name}: sending the rest to MLflow …", style="dim", highlight=False)

    def _train(self, schedule: Schedule, fleet: Fleet, view: Watcher) -> None:
        settings = self.config.recovery
        journal = KeptModels(self.journal, self.folder, self.config.keep.models)
        recovery = Recovery(
            fleet,
            journal,
            SnapshotStore(self.folder, versions(), self._tell),
            keep_snapshots=self.config.keep.snapshots,
            folder=open_staging(self.folder),
            every_s=settings.snapshot_every_s,
            max_failures=settings.max_failures,
            shares=self.shares,
            stopping=lambda: self.signals.requested,
            tell=self._tell,
        )
        for trial_id, past in self.pasts.items():
            recovery.take_over(trial_id, past.orders)
        lockstep.run(
            schedule,
            recovery,
            journal,
            _Watchers(self.projection.notify, view, self.masked),
            pasts={trial_id: past.rules for trial_id, past in self.pasts.items()},
            stopping=lambda: self.signals.requested,
            max_failed_trials=settings.max_failed_trials,
        )

    def _tell(self, text: str) -> None:
        told_by(self.console, self.masked)(text)


def told_by(console: Console, masked: Callable[[str], str]) -> Callable[[str], None]:
    """Shows a person a line without secrets."""
    return lambda text: console.print(masked(text), markup=False, highlight=False, soft_wrap=True)


def is_reached(store: StoreCheck, required: bool, console: Console) -> bool:
    """Whether the store can be reached, as far as that is known before it is written to; tells it where it cannot.

    Raises:
        RunnerError: it cannot, and it is required.
    """
    problem = store.problem()
    if problem is None:
        return True
    if required:
        raise problem
    text = f"warning: {problem}; training goes on, the journal keeps everything for `python -m runner sync`"
    console.print(text, markup=False, highlight=False, soft_wrap=True)
    return False


@contextmanager
def followed_by_mlflow(folder: Path, uri: str, console: Console, reached: bool = True) -> Iterator[Projection]:
    """MLflow follows the journal; what it lacks when an error or a signal ends the sweep is told in a line.

    A store that was not reached before training is not waited for long at the end.
    """

    def tell(text: str) -> None:
        console.print(text, markup=False, highlight=False, soft_wrap=True)

    waiting = Waiting(console)
    timeout_s = _REACHED_S if reached else _UNREACHED_S
    projection = Projection(folder, uri, timeout_s=timeout_s, on_warning=tell, on_backlog=waiting.show)
    try:
        with waiting, projection:
            yield projection
    except BaseException:
        if projection.problem is not None:
            tell(projection.problem)
        raise


def outcome(folder: Path, progress: Progress, projection: Projection, required: bool) -> Outcome:
    """How the sweep ended, once MLflow has had its time."""
    failed = sum(row.state == "failed" for row in progress.rows.values())
    return Outcome(folder=folder, exit_code=3 if failed else 0, problem=projection.problem or "", is_error=required)


@dataclass(frozen=True, slots=True)
class _Watchers:
    """Tells MLflow's thread that there is news, then the person, whose terminal may be a file: no secrets."""

    notify: Callable[[], None]
    view: Watcher
    masked: Callable[[str], str]

    def begin(self, trial_ids: Sequence[str]) -> None:
        self.view.begin(trial_ids)

    def show(self, reports: Mapping[str, Report | Failure], verdicts: Mapping[str, Verdict]) -> None:
        self.notify()
        shown = {key: replace(verdict, reason=self.masked(verdict.reason)) for key, verdict in verdicts.items()}
        self.view.show({key: self._shown(report) for key, report in reports.items()}, shown)

    def _shown(self, report: Report | Failure) -> Report | Failure:
        return replace(report, message=self.masked(report.message)) if isinstance(report, Failure) else report
