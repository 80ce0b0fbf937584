"""Reads an ended sweep from its journal, and decides which trials go on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from runner.errors import ConfigError
from runner.journal import JournalReader, Status, SweepRecord, TrialRecord
from runner.loop.history import History, is_paused, read_history, reopen, turns_of
from runner.loop.stack_sizes import StackSizes
from runner.records import COMPARING, FAILURE, FREEZING, Clone, Decision, Failure, Report, Trial, Verdict, clone_of
from runner.views.progress import State

_UNFINISHED: tuple[Status, ...] = ("queued", "running", "killed")


@dataclass(frozen=True, kw_only=True, slots=True)
class Asked:
    """The user's request for an ended sweep.

    Args:
        retry_failed: continues failed trials where they failed.
        more_epochs: additional epochs for every trial.
        continued: paused or stopped trials that go on.
    """

    retry_failed: bool = False
    more_epochs: int = 0
    continued: frozenset[str] = frozenset()


@dataclass(frozen=True, kw_only=True, slots=True)
class ResumeState:
    """An ended sweep, and what is left of it.

    Args:
        trials: all trials, as they are trained from now on.
        reports: of each trial, by its id.
        states: of trials that do not go on.
        pasts: of trials that go on and have begun.
        decisions: those that the request makes about ended trials.
        made: the decisions of the past, by trial.
        spent_s: seconds of all rounds.
        paused: trials that have no turn until they are continued.
        exempt: trials that go on although they lost a comparison.
        lifted: the user lets trials go on that had ended, so that limits that were reached no longer count.
    """

    sweep: SweepRecord
    records: tuple[TrialRecord, ...]
    trials: tuple[Trial, ...]
    reports: Mapping[str, Sequence[Report]]
    states: Mapping[str, State]
    pasts: Mapping[str, History] = field(default_factory=dict)
    decisions: tuple[Decision, ...] = ()
    made: Mapping[str, Sequence[Decision]] = field(default_factory=dict)
    spent_s: float = 0.0
    paused: frozenset[str] = frozenset()
    exempt: frozenset[str] = frozenset()
    lifted: bool = False

    @property
    def left(self) -> tuple[Trial, ...]:
        """Trials that go on."""
        return tuple(trial for trial in self.trials if trial.id not in self.states)

    @property
    def going(self) -> bool:
        """Whether any trial has turns."""
        return any(trial.id not in self.paused for trial in self.left)

    @property
    def frozen(self) -> frozenset[str]:
        """Trials that were ended although they could have gone on; their snapshots stay."""
        return frozenset(i for i, made in self.made.items() if i in self.states and made and made[-1].by in FREEZING)

    def turns(self, trial: Trial) -> Iterator[tuple[Report | Failure, Verdict]]:
        """The turns of a trial that count, each with what was decided after it."""
        if trial.id in self.pasts:
            past = self.pasts[trial.id]
            yield from zip(self.reports[trial.id][: len(past.orders)], past.verdicts, strict=True)
        elif trial.id in self.states:
            yield from self.recorded_turns(trial)

    def clone_at(self, trial: Trial, step: int) -> Clone | None:
        """The state of another trial from which a trial went on after its own step; None if it kept its own."""
        return clone_of(made for made in self.made[trial.id] if made.step == step)

    def recorded_turns(self, trial: Trial) -> tuple[tuple[Report | Failure, Verdict], ...]:
        """The turns of a trial as they were decided, also of one that goes on although it had ended."""
        return tuple(turns_of(trial, self.reports[trial.id], self.made[trial.id]))

    def stack_sizes(self) -> StackSizes:
        """The sizes of the stacks in which trials go on."""
        begun = [past.next_turn for past in self.pasts.values() if past.next_turn is not None]
        turns = {i: self.reports[i][len(past.orders) - 1] for i, past in self.pasts.items() if past.orders}
        done = {i: (last.step, last.epoch) for i, last in turns.items()}  # not of one that is repeated
        short = [
            (trial, one) for trial in self.trials for one in self.made[trial.id]
            if one.kind == "stack" and one.by == FAILURE
        ]  # fmt: skip
        return StackSizes(begun, done, short)

    @property
    def going_on(self) -> dict[str, tuple[Trial, int]]:
        """The trials that go on, by id, each with the number of its turns that count."""
        turns = {trial_id: len(past.orders) for trial_id, past in self.pasts.items()}
        return {trial.id: (trial, turns.get(trial.id, 0)) for trial in self.left}


def read_state(folder: Path, asked: Asked) -> ResumeState:
    """Reads the journal and decides which trials go on.

    Raises:
        SweepNotFoundError: there is no journal.
        ConfigError: with more epochs, the metric would be unknown for the last one.
    """
    with JournalReader(folder) as reader:
        sweep, records = reader.sweep(), reader.trials()
        reports = {record.id: reader.reports(record.id) for record in records}
        decisions = {record.id: reader.decisions(record.id) for record in records}
        spent_s = sum(barrier.ended_s - barrier.began_s for barrier in reader.barriers())
    trials = tuple(_with_epochs(record.trial, asked.more_epochs, sweep) for record in records)
    states: dict[str, State] = {}
    pasts: dict[str, History] = {}
    revoked: list[Decision] = []
    paused: set[str] = set()
    exempt: set[str] = set()
    lifted = False
    for record, trial in zip(records, trials, strict=True):
        if not _goes_on(record, asked):
            states[trial.id] = _ended(record)
            continue
        if is_paused(decisions[trial.id]) and trial.id not in asked.continued:
            paused.add(trial.id)
            past, new = read_history(trial, reports[trial.id], decisions[trial.id]), tuple[Decision, ...]()
        else:
            past, new = reopen(trial, reports[trial.id], decisions[trial.id])
        revoked += new
        if past.has_begun:
            pasts[trial.id] = past
        ends = _revoked_ends((*decisions[trial.id], *new))
        lifted |= bool(ends)
        if any(end.by in COMPARING for end in ends):
            exempt.add(trial.id)
    return ResumeState(
        sweep=sweep, records=records, trials=trials, reports=reports, states=states, pasts=pasts,
        decisions=tuple(revoked), made=decisions, spent_s=spent_s, paused=frozenset(paused),
        exempt=frozenset(exempt), lifted=lifted,
    )  # fmt: skip


def _revoked_ends(made: Sequence[Decision]) -> list[Decision]:
    """The ends of a trial that a user has revoked, so that it goes on."""
    found = [one for one in made if one.kind in ("stop", "complete", "continue")]
    return [one for one in found if one.kind != "continue"] if found and found[-1].kind == "continue" else []


def _goes_on(record: TrialRecord, asked: Asked) -> bool:
    if record.id in asked.continued and record.status == "stopped":
        return not record.diverged
    if record.status == "failed":
        return asked.retry_failed
    return record.status in _UNFINISHED or (record.status == "complete" and asked.more_epochs > 0)


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
