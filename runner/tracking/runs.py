"""MLflow's runs of a sweep: found by the ids of sweep and trial, made, and opened again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING

from runner.journal import SweepRecord, TrialRecord
from runner.tracking import labels, notes
from runner.tracking.ledger import SWEEP, Ledger
from runner.tracking.run_names import run_name

if TYPE_CHECKING:
    from runner.tracking.mlflow_sink import MlflowSink


class Runs:
    """The runs that a store has, or gets, of one sweep.

    Args:
        ledger: the journal, and what the store has of it.
        sink: the store.
        on_unknown: called if the store no longer knows runs that it had.

    Attributes:
        may_lack_tags: a run was found of which the ledger did not know, so that some of the user's tags may be missing.
    """

    def __init__(self, ledger: Ledger, sink: MlflowSink, on_unknown: Callable[[str], None]) -> None:
        self._ledger, self._sink, self._on_unknown = ledger, sink, on_unknown
        self._found: dict[str, str] | None = None  # those that the store has, by trial
        self._is_checked = False
        self._tagged: dict[str, int] = {}  # by trial, the number of the last of the user's tags that its new run has
        self.may_lack_tags = False

    @cached_property
    def sweep(self) -> SweepRecord:
        """The sweep itself, read once."""
        return self._ledger.journal.sweep()

    @cached_property
    def shared(self) -> tuple[dict[str, str], dict[str, str]]:
        """Tags and params of the sweep's run and of every trial's."""
        trials = self._ledger.journal.trials()
        codes = tuple(dict.fromkeys(labels.code(trial) for trial in trials))
        tags = self._sink.context_tags(codes) | labels.shared_tags(self.sweep)
        searched = {name for trial in trials for name in trial.trial.searched}
        params = labels.sweep_params(self.sweep, self._ledger.settings(), searched=searched)
        return tags, {**params, "sweep.trials": str(self._ledger.first_trials())}

    def check(self) -> None:
        """Forgets runs that the store does not know, because the sweep's folder was moved without its store."""
        if self._is_checked:
            return
        recorded = self._ledger.runs()
        if recorded:
            known = set(self._in_store().values())
            unknown = [key for key, run in recorded.items() if run not in known and not self._sink.has_run(run)]
            if unknown:
                self._on_unknown(
                    f"MLflow at {self._sink.where} does not know {len(unknown)} of the {len(recorded)} runs that sweep "
                    f"{self.sweep.id} has had; they are looked for by the sweep's id, else made from the journal"
                )
                self._ledger.forget(unknown)
        self._is_checked = True

    def begin_sweep(self) -> str:
        """The sweep's own run, found or made, with its params and files; returns its id."""
        name, began_ms = self.sweep.id, self.sweep.created_ms
        tags = self.shared[0] | labels.sweep_tags(self.sweep) | {notes.KEY: notes.sweep_note(self.sweep)}
        tags |= self._ledger.journal.tags()
        run_id = self._found_or_created(SWEEP, lambda: self._sink.create_run(name, began_ms, tags, parent=None))
        self._sink.log(run_id, params=self.shared[1])
        self._sink.log_texts(run_id, labels.sweep_files(self.sweep))
        self._ledger.begin(SWEEP, run_id, tag_seq=self.tags_of_new(SWEEP))
        return run_id

    def begin(self, trial: TrialRecord, parent: str | None) -> str:
        """The run of a trial, found or made below the sweep's; returns its id."""
        tags, began_ms = self.shared[0] | labels.trial_tags(trial), trial.started_ms or 0
        tags |= self._ledger.journal.tags(trial.id)
        name = run_name(trial, self.sweep.metric)
        return self._found_or_created(trial.id, lambda: self._sink.create_run(name, began_ms, tags, parent))

    def tags_of_new(self, trial_id: str) -> int:
        """The number of the last of the user's tags that a run got when it was made; 0 if it was found."""
        return self._tagged.pop(trial_id, 0)

    def reopen(self, trial_id: str, run_id: str, shown: str | None, status: str) -> None:
        """Reopens a run that MLflow shows as ended, if its trial was resumed."""
        if shown not in ("running", status):
            name = self.sweep.id
            if trial_id != SWEEP:  # without the score that it had
                name = run_name(replace(self._ledger.journal.trial(trial_id), status="running"), self.sweep.metric)
            self._sink.reopen_run(run_id, name, labels.ENDING_TAGS)
            self._ledger.mark(trial_id, status="running")

    def _in_store(self) -> dict[str, str]:
        if self._found is None:
            self._found = self._sink.find_runs(self.sweep.id)
        return self._found

    def _found_or_created(self, key: str, create: Callable[[], str]) -> str:
        """The run of a trial or of the sweep; asks the store for it if the answer to its creation was lost."""
        known = self._in_store()
        if key in known:
            self.may_lack_tags = True
        else:
            self._found, self._tagged[key] = None, self._ledger.last_tag()
            known[key] = create()
            self._found = known
        return known[key]
