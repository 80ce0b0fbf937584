"""Sends what MLflow lacks of the journal, in the order in which people need it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING

from runner.journal import TrialRecord
from runner.tracking import labels
from runner.tracking.data_sets import inputs_of
from runner.tracking.errors import ExperimentDeletedError, StoreRefusedError
from runner.tracking.ledger import SWEEP, Due, Ledger
from runner.tracking.metric_keys import ENTITIES_PER_CALL
from runner.tracking.run_ends import FILES, NO_ENDING, Ending, Endings
from runner.tracking.runs import Runs
from runner.tracking.sweep_run import SweepRun

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
        self._runs = Runs(ledger, sink, on_refused)
        self._sweep_run = SweepRun(folder, ledger, sink, on_refused)
        self._on_refused = on_refused
        self._refused: set[str] = set()
        self._flushed_s = 0.0
        self._sweep_run_id: str | None = None
        self._has_late_params = False  # of the sweep's run
        self._was_complete = True  # the last pass
        self._tags_sent = -1  # the number of the last of the user's tags that all runs have

    def advance(self) -> None:
        """Sends all metrics, then models and ends of runs.

        Raises:
            StoreUnavailableError: a later attempt may succeed.
            StoreRefusedError: MLflow takes nothing of the sweep.
        """
        self._sink.open()
        self._runs.check()
        if self._sweep_run_id is None:
            self._sweep_run_id = self._begin_sweep()
        # Read before the trials, so that if the sweep has ended, all its trials are among them.
        ended = self._ledger.journal.sweep().status != "running"
        self._flush(begin_all=not self._was_complete)
        self._was_complete = False
        self._send_tags()
        if SWEEP not in self._refused:
            with self._refusals(SWEEP):
                self._sweep_run.send_metrics()
        for due in self._due():
            if due.ended:
                with self._refusals(due.id):
                    self._finish(due)
            if monotonic() - self._flushed_s > _FLUSH_S:
                self._flush(begin_all=False)
        self._send_tags()  # also to the runs that were found in this pass
        if ended and SWEEP not in self._refused:
            with self._refusals(SWEEP):
                self._sweep_run.finish()
        self._was_complete = True

    def retry_refused(self) -> None:
        """Makes the next pass send again what MLflow has refused."""
        self._refused.clear()
        self._tags_sent = -1
        self._sweep_run.retry_refused()

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

    def _begin_sweep(self) -> str:
        """The sweep's own run, which is made unless the store has it, and is reopened if the sweep was resumed."""
        run_id, status = self._ledger.sent(SWEEP)
        if run_id is None:
            run_id = self._runs.begin_sweep()
            self._sweep_run.show(run_id)
        else:
            with self._refusals(SWEEP):
                self._runs.reopen(SWEEP, run_id, status, self._runs.sweep.status)
                self._sweep_run.show(run_id)
        return run_id

    # --- the user's tags, and the sweep's own metrics -----------------------------------------------------------------

    def _send_tags(self) -> None:
        """Sends the user's own tags to the runs that lack some."""
        last = self._ledger.last_tag()
        if last == self._tags_sent and not self._runs.may_lack_tags:
            return
        for trial_id, run_id in self._ledger.tags_due():
            if trial_id not in self._refused:
                with self._refusals(trial_id):
                    self._sink.log(run_id, tags=self._ledger.journal.tags(trial_id))
                    self._ledger.mark(trial_id, tag_seq=last)
        self._tags_sent, self._runs.may_lack_tags = last, False

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
            self._runs.reopen(due.id, run_id, due.status_sent, due.status)
        if new or has_facts:
            trial = self._ledger.journal.trial(due.id)
            if run_id is None:
                run_id = self._runs.begin(trial, self._sweep_run_id)
                params = {**self._runs.shared[1], **labels.trial_params(trial)}
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
        if has_facts:
            self._sink.log_inputs(run_id, inputs_of(self._ledger.journal.trial(due.id)))
        if new:
            self._ledger.begin(due.id, run_id, seq, has_facts, self._runs.tags_of_new(due.id))
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
            now = [row for row in self._ledger.finer_than_epochs(rows) if row.seq not in of_model]
            now += ending.rows if is_last else ()
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
            common = labels.sweep_params(self._runs.sweep, self._ledger.settings(), late=True)
            shared = {key: late[key] for key in common if late.get(key) == common[key]}
            self._sink.log(self._sweep_run_id, params=shared)
            self._has_late_params = True

    # --- endings ------------------------------------------------------------------------------------------------------

    def _finish(self, due: Due) -> None:
        """Sends everything of an ended trial, the end of its run last."""
        trial = self._ledger.journal.trial(due.id)
        run_id = due.run_id or self._runs.begin(trial, self._sweep_run_id)
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
        if trial.trial.has_callbacks:
            self._sink.replace_files(run_id, FILES, self._endings.files(trial))
        self._sink.end_run(run_id, labels.RUN_STATUS[trial.status], trial.ended_ms or 0)
        self._ledger.mark(due.id, model=int(due.has_model), status=trial.status)
