"""A journal and snapshots in memory, and a watcher that shows nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from runner.records import (
    Allocation,
    Clone,
    Decision,
    Export,
    Failure,
    Incident,
    Report,
    Snapshot,
    Trial,
    Verdict,
    Work,
    decisions_of,
)


@dataclass
class MemoryJournal:
    """A journal in memory that checks its input."""

    incidents: list[Incident] = field(default_factory=list)
    resized: dict[int, Allocation] = field(default_factory=dict)
    assigned: list[str] = field(default_factory=list)
    decisions: list[Decision] = field(default_factory=list)
    added: list[str] = field(default_factory=list)
    _steps: dict[str, int] = field(default_factory=dict)
    commits: list[tuple[Mapping[str, Report | Failure], Mapping[str, Verdict], Mapping[str, Export | Failure]]] = field(
        default_factory=list
    )

    def assign(self, work: Mapping[int, tuple[Work, ...]]) -> None:
        """As `Journal.assign`."""
        ids = [item.trial.id for items in work.values() for item in items]
        self.assigned += [trial_id for trial_id in ids if trial_id not in self.assigned]

    def add(self, trials: Sequence[Trial], decisions: Sequence[Decision]) -> None:
        """As `Journal.add`."""
        self.added += [trial.id for trial in trials]
        self.decisions += decisions

    def commit(
        self,
        reports: Mapping[str, Report | Failure],
        verdicts: Mapping[str, Verdict],
        exports: Mapping[str, Export | Failure],
        added: Sequence[Trial] = (),
        decisions: Sequence[Decision] = (),
    ) -> None:
        """As `Journal.commit`.

        Raises:
            AssertionError: a report without a verdict, or of a trial that was never assigned.
        """
        assert set(reports) <= set(verdicts), "every report has its verdict"
        assert all(verdicts[trial_id].ends for trial_id in set(verdicts) - set(reports)), "only an end needs no report"
        assert set(reports) <= set(self.assigned), "a trial reports that was never assigned"
        self.commits.append((reports, verdicts, exports))
        for trial_id, verdict in verdicts.items():
            report = reports.get(trial_id)
            step = report.step if isinstance(report, Report) else self._steps.get(trial_id, 0)
            self._steps[trial_id] = step
            lost = isinstance(report, Report) and isinstance(exports.get(trial_id), Failure)
            self.decisions += decisions_of(trial_id, step, verdict, model_lost=lost)
        self.added += [trial.id for trial in added]
        self.decisions += decisions

    def note(self, incident: Incident) -> None:
        """As `Journal.note`."""
        assert incident.trial_id in self.assigned, "a trial lost its worker that was never assigned"
        self.incidents.append(incident)

    def resize(self, slot: int, allocation: Allocation) -> None:
        """As `Journal.resize`."""
        self.resized[slot] = allocation


@dataclass
class MemorySnapshots:
    """Snapshots in memory."""

    written: list[Snapshot] = field(default_factory=list)
    dropped: list[str] = field(default_factory=list)

    def write(self, trial: Trial, snapshot: Snapshot) -> None:
        """As `Snapshots.write`."""
        assert snapshot.trial_id == trial.id
        self.written.append(snapshot)

    def newest(self, trial: Trial, at_most: int, at_least: int = 0) -> Snapshot | None:
        """As `Snapshots.newest`."""
        fit = [one for one in self.written if one.trial_id == trial.id and at_least <= one.round <= at_most]
        return fit[-1] if fit else None

    def inherit(self, trial: Trial, clone: Clone, turns: int) -> bool:
        """As `Snapshots.inherit`."""
        found = [one for one in self.written if (one.trial_id, one.round) == (clone.parent, clone.round)]
        if found:
            self.written.append(replace(found[-1], trial_id=trial.id, round=turns, inherited=True))
        return bool(found)

    def drop(self, trial_id: str) -> None:
        """As `Snapshots.drop`; what was written stays in `written`."""
        self.dropped.append(trial_id)


class NullWatcher:
    """Shows nothing."""

    def add(self, trials: Sequence[Trial]) -> None:
        """As `Watcher.add`."""

    def clone(self, trial: Trial, clone: Clone) -> None:
        """As `Watcher.clone`."""

    def begin(self, trial_ids: Sequence[str]) -> None:
        """As `Watcher.begin`."""

    def show(self, reports: Mapping[str, Report | Failure], verdicts: Mapping[str, Verdict]) -> None:
        """As `Watcher.show`."""
