"""Sends what MLflow lacks of the journal, in the order in which people need it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING

from runner.journal import SweepRecord, TrialRecord
from runner.tracking import labels
from runner.tracking.errors import ExperimentDeletedError, StoreRefusedError
from runner.tracking.ledger import SWEEP, Due, Ledger
from runner.tracking.metric_keys import ENTITIES_PER_CALL
from runner.tracking.run_ends import NO_ENDING, Ending, Endings

if TYPE_CHECKING:
    from runner.tracking.mlflow_sink import MlflowSink

_FLUSH_S = 1.0  # how often metrics are sent while models are


class Follower:
    """Sends what the store lacks. Every step may be interrupted and repeated.

    Args:
        on_refused: called for each run that MLflow refuses, and if it no longer knows runs.
    """

    def __init__(self, folder: Path, ledger: Ledger, sink: MlflowSink, on_refused: Callable[[str], None]) -> None:
        self._ledger = ledger
        self._sink = sink
        self._endings = Endings(folder, ledger, sink)
        self._on_refused = on_refused
        self._refused: set[str] = set()
        self._flushed_s = 0.0
        self._sweep_run_id: str | None = None
        self._has_late_params = False  # of the sweep's run
        self._known: dict[str, str] | None = None  # the sweep's runs that the store has, by trial
        self._is_checked = False
        self._was_complete = True  # the last pass

    def advance(self) -> None:
        """Sends all metrics, then models and ends of runs.

        Raises:
            StoreUnavailableError: a later attempt may succeed.
            StoreRefusedError: MLflow takes nothing of the sweep.
        """
        self._sink.open()
        self._check_runs()
        if self._sweep_run_id is None:
            self._sweep_run_id = self._begin_sweep()
        # Read before the trials, so that if the sweep has ended, all its trials are among them.
        ended = self._ledger.journal.sweep().status != "running"
        self._flush(begin_all=not self._was_complete)
        self._was_complete = False
        for due in self._due():
            if due.ended:
                with self._refusals(due.id):
                    self._finish(due)
            if monotonic() - self._flushed_s > _FLUSH_S:
                self._flush(begin_all=False)
        if ended and SWEEP not in self._refused:
            with self._refusals(SWEEP):
                self._finish_sweep()
        self._was_complete = True

    def retry_refused(self) -> None:
        """Makes the next pass send again what MLflow has refused."""
        self._refused.clear()

    def _due(self) -> Iterator[Due]:
        return (due for due in self._ledger.due() if due.id not in self._refused)

    @contextmanager
    def _refusals(self, run: str) -> Iterator[None]:
        """Reports a refusal of one run, a trial's or the sweep's own, so that the others continue."""
        try:
            yield
        except ExperimentDeletedError:
            raise
        except StoreRefusedError as err:
            self._refused.add(run)
            which = "the sweep's own run" if run == SWEEP else f"trial {run}"
            self._on_refused(f"MLflow does not take {which}: {err}; the journal keeps it")

    # --- runs ---------------------------------------------------------------------------------------------------------

    @cached_property
    def _sweep(self) -> SweepRecord:
        return self._ledger.journal.sweep()

    @cached_property
    def _shared(self) -> tuple[dict[str, str], dict[str, str]]:
        """Tags and params of the sweep's run and of every trial's."""
        trials = self._ledger.journal.trials()
        codes = tuple(dict.fromkeys(labels.code(trial) for trial in trials))
        tags = self._sink.context_tags(codes) | labels.sweep_tags(self._sweep)
        searched = {name for trial in trials for name in trial.trial.searched}
        params = labels.sweep_params(self._sweep, self._ledger.settings(), searched=searched)
        return tags, {**params, "sweep.trials": str(self._ledger.first_trials())}

    def _check_runs(self) -> None:
        """Forgets runs that the store does not know, because the sweep's folder was moved without its store."""
        if self._is_checked:
            return
        recorded = self._ledger.runs()
        if recorded:
            known = set(self._runs().values())
            unknown = [key for key, run in recorded.items() if run not in known and not self._sink.has_run(run)]
            if unknown:
                self._on_refused(
                    f"MLflow at {self._sink.where} does not know {len(unknown)} of the {len(recorded)} runs that sweep "
                    f"{self._sweep.id} has had; they are looked for by the sweep's id, else made from the journal"
                )
                self._ledger.forget(unknown)
        self._is_checked = True

    def _runs(self) -> dict[str, str]:
        if self._known is None:
            self._known = self._sink.find_runs(self._sweep.id)
        return self._known

    def _found_or_created(self, key: str, create: Callable[[], str]) -> str:
        """The run of a trial or of the sweep; asks the store for it if the answer to its creation was lost."""
        known = self._runs()
        if key not in known:
            self._known = None
            known[key] = create()
            self._known = known
        return known[key]

    def _begin_sweep(self) -> str:
        run_id, status = self._ledger.sent(SWEEP)
        if run_id is not None:
            with self._refusals(SWEEP):
                self._reopen(SWEEP, run_id, status, self._sweep.status)
            return run_id
        tags, params = self._shared
        name, began_ms, note = self._sweep.id, self._sweep.created_ms, {labels.NOTE: labels.sweep_note(self._sweep)}
        run_id = self._found_or_created(
            SWEEP, lambda: self._sink.create_run(name, began_ms, {**tags, **note}, parent=None)
        )
        self._sink.log(run_id, params=params)
        self._sink.log_texts(run_id, labels.sweep_files(self._sweep))
        self._ledger.begin(SWEEP, run_id)
        return run_id

    def _begin(self, trial: TrialRecord) -> str:
        tags, name, began_ms = self._shared[0] | labels.trial_tags(trial), labels.run_name(trial), trial.started_ms or 0
        parent = self._sweep_run_id
        return self._found_or_created(trial.id, lambda: self._sink.create_run(name, began_ms, tags, parent))

    def _reopen(self, trial_id: str, run_id: str, shown: str | None, status: str) -> None:
        """Reopens a run that MLflow shows as ended, if its trial was resumed."""
        if shown not in ("running", status):
            self._sink.reopen_run(run_id, labels.ENDING_TAGS)
            self._ledger.mark(trial_id, status="running")

    # --- what a trial reports -----------------------------------------------------------------------------------------

    def _flush(self, begin_all: bool) -> None:
        """Sends the new metrics of all trials, and creates missing runs.

        Args:
            begin_all: also create the runs of trials that have already ended. `_finish` does that too, but after a
                pass that was interrupted their metrics must not wait for models, which the store may not take.
        """
        self._flushed_s = monotonic()
        acknowledged: dict[str, int] = {}
        try:
            for due in self._due():
                if due.ended and due.run_id is None and not begin_all:
                    continue
                with self._refusals(due.id):
                    self._send(due, acknowledged)
        finally:
            self._ledger.acknowledge(acknowledged)

    def _send(self, due: Due, acknowledged: dict[str, int], ending: Ending = NO_ENDING) -> None:
        """Sends the run's beginning, the facts of its model and its metrics, as far as they are known and not sent.

        An ended trial's `ending` goes along with the last metrics, because each call is expensive.
        """
        run_id, new = due.run_id, due.run_id is None
        params: dict[str, str] = {}
        tags: dict[str, str] = dict(ending.tags)
        texts: dict[str, str] = {}
        has_facts = due.has_facts and not due.facts_sent
        if run_id is not None:
            self._reopen(due.id, run_id, due.status_sent, due.status)
        if new or has_facts:
            trial = self._ledger.journal.trial(due.id)
            if run_id is None:
                run_id, params = self._begin(trial), {**self._shared[1], **labels.trial_params(trial)}
                texts |= labels.trial_files(trial)
            if has_facts and trial.facts is not None:
                params |= labels.late_params(trial)
                tags |= labels.facts_tags(trial.facts)
                texts["model_summary.txt"] = trial.facts.summary
                self._send_late_params(trial)
        assert run_id is not None
        seq = self._send_rows(due, run_id, params, tags, ending, {} if new else acknowledged)
        if texts:
            self._sink.log_texts(run_id, texts)
        if new:
            self._ledger.begin(due.id, run_id, seq, has_facts)
        elif has_facts:
            self._ledger.mark(due.id, facts=1)

    def _send_rows(
        self,
        due: Due,
        run_id: str,
        params: Mapping[str, str],
        tags: Mapping[str, str],
        ending: Ending,
        acknowledged: dict[str, int],
    ) -> int:
        """Sends the new metrics together with params, tags and ending; returns the number of the last metric row."""
        seq, is_last, of_model = due.metric_seq, False, {row.seq for row in ending.model_rows}
        while not is_last:
            most = max(1, ENTITIES_PER_CALL - len(params) - len(tags))
            rows = self._ledger.journal.metrics(due.id, after_seq=seq, limit=most)
            is_last = len(rows) < most
            seq = rows[-1].seq if rows else seq
            now = [*(row for row in rows if row.seq not in of_model), *(ending.rows if is_last else ())]
            of_both = ending.model_rows if is_last else ()
            if now or of_both or params or tags:
                self._sink.log(run_id, params=params, tags=tags, rows=now, model_rows=of_both, model_id=ending.model_id)
            params, tags = {}, {}
            if rows and (is_last or not of_model):  # the model's rows are sent last, whatever their numbers
                acknowledged[due.id] = seq
        return seq

    def _send_late_params(self, trial: TrialRecord) -> None:
        """Sends the sweep's settings that are only known to be used once a model is built and its data loaded."""
        if self._has_late_params or self._sweep_run_id is None or SWEEP in self._refused:
            return
        with self._refusals(SWEEP):
            late = labels.late_params(trial)
            common = labels.sweep_params(self._sweep, self._ledger.settings(), late=True)
            shared = {key: late[key] for key in common if late.get(key) == common[key]}
            self._sink.log(self._sweep_run_id, params=shared)
            self._has_late_params = True

    # --- endings ------------------------------------------------------------------------------------------------------

    def _finish(self, due: Due) -> None:
        """Sends everything of an ended trial, the end of its run last."""
        trial = self._ledger.journal.trial(due.id)
        run_id = due.run_id or self._begin(trial)
        acknowledged: dict[str, int] = {}
        try:
            ending = self._endings.of(due, trial, run_id)
        except StoreRefusedError:  # of the model alone; the rest is sent all the same
            self._send(due, acknowledged)
            raise
        else:
            self._send(due, acknowledged, ending)
        finally:
            self._ledger.acknowledge(acknowledged)
        if texts := self._endings.last_texts(trial):
            self._sink.log_texts(run_id, texts)
        for path, file in self._endings.files(trial):
            self._sink.log_file(run_id, file, path)
        self._sink.end_run(run_id, labels.RUN_STATUS[trial.status], trial.ended_ms or 0)
        self._ledger.mark(due.id, model=int(due.has_model), status=trial.status)

    def _finish_sweep(self) -> None:
        sweep = self._ledger.journal.sweep()
        run_id, shown = self._ledger.sent(SWEEP)
        if run_id is None or shown == sweep.status or sweep.ended_ms is None:
            return
        best = self._ledger.best(sweep)
        if best is not None:
            found = {"best.trial": best[0].id, "best.run_id": best[0].run_id or "", "best.value": f"{best[1]:.6g}"}
            self._sink.log(run_id, tags=found)
        self._endings.send_report(run_id)
        self._sink.end_run(run_id, labels.RUN_STATUS[sweep.status], sweep.ended_ms)
        self._ledger.mark(SWEEP, status=sweep.status)
