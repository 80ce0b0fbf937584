"""The order of work: from what the journal holds and MLflow lacks, to calls."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING

from runner.journal import SCORE, SweepRecord, TrialRecord, log_name, own_file
from runner.tracking import labels
from runner.tracking.failures import ExperimentDeletedError, StoreRefusedError
from runner.tracking.ledger import SWEEP, Due, Ledger
from runner.tracking.model_folder import model_folder

if TYPE_CHECKING:
    from runner.tracking.mlflow_sink import MlflowSink

_METRICS_PER_CALL = 1000  # MLflow's own limit
_FLUSH_S = 1.0  # while models are sent, metrics go on being sent this often


class Follower:
    """Sends what is due. Every step may be interrupted and repeated.

    Args:
        on_refused: told of each run that MLflow will not take.
    """

    def __init__(self, folder: Path, ledger: Ledger, sink: MlflowSink, on_refused: Callable[[str], None]) -> None:
        self._folder = folder
        self._ledger = ledger
        self._sink = sink
        self._on_refused = on_refused
        self._refused: set[str] = set()
        self._flushed_s = 0.0
        self._sweep_run_id: str | None = None
        self._with_all_params: set[str] = set()  # runs that were given all of theirs when they were created
        self._has_late_params = False  # the sweep's run

    def advance(self) -> bool:
        """Sends all metrics, then models and ends of runs.

        Returns:
            True where something of an ended trial or sweep is still on its way.

        Raises:
            StoreUnavailableError: to be tried again.
            StoreRefusedError: MLflow will take nothing of the sweep.
        """
        self._sink.open()
        if self._sweep_run_id is None:
            self._sweep_run_id = self._begin_sweep()
        # Read before the trials: what the sweep has ended with is then among them.
        ended = self._ledger.journal.sweep().status != "running"
        self._flush()
        waiting = False
        for due in self._due():
            if due.ended:
                with self._refusals(due.id):
                    waiting |= not self._finish(due)
            if monotonic() - self._flushed_s > _FLUSH_S:
                self._flush()
        if ended and not waiting and SWEEP not in self._refused:
            with self._refusals(SWEEP):
                self._finish_sweep()
        return waiting

    def retry_refused(self) -> None:
        """Lets the next pass try once more what MLflow has refused."""
        self._refused.clear()

    def _due(self) -> Iterator[Due]:
        return (due for due in self._ledger.due() if due.id not in self._refused)

    @contextmanager
    def _refusals(self, run: str) -> Iterator[None]:
        """A refusal concerns one run, a trial's or the sweep's own; the others go on."""
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
        return tags, labels.sweep_params(self._sweep, self._ledger.settings())

    def _begin_sweep(self) -> str:
        run_id, status = self._ledger.sent(SWEEP)
        if run_id is not None:
            with self._refusals(SWEEP):
                self._reopen(SWEEP, run_id, status, self._sweep.status)
            return run_id
        tags, params = self._shared
        run_id = self._sink.find_run(self._sweep.id, None)
        if run_id is None:
            note = {labels.NOTE: labels.sweep_note(self._sweep)}
            run_id = self._sink.create_run(self._sweep.id, self._sweep.created_ms, {**tags, **note}, parent=None)
        self._sink.log_params(run_id, params)
        self._sink.log_texts(run_id, labels.sweep_files(self._sweep))
        self._ledger.begin(SWEEP, run_id)
        return run_id

    def _begin(self, due: Due) -> str:
        if due.run_id is not None:
            self._reopen(due.id, due.run_id, due.status_sent, due.status)
            return due.run_id
        trial = self._ledger.journal.trial(due.id)
        tags, params = self._shared
        run_id = self._sink.find_run(self._sweep.id, due.id)
        if run_id is None:
            own = labels.trial_tags(trial)
            name, started_ms = labels.run_name(trial), trial.started_ms or 0
            run_id = self._sink.create_run(name, started_ms, {**tags, **own}, parent=self._sweep_run_id)
        self._sink.log_params(run_id, {**params, **labels.trial_params(trial)})
        if trial.facts is not None:
            self._with_all_params.add(due.id)
        self._sink.log_texts(run_id, labels.trial_files(trial))
        self._ledger.begin(due.id, run_id)
        return run_id

    def _reopen(self, trial_id: str, run_id: str, shown: str | None, status: str) -> None:
        """A run that MLflow shows as ended goes on: its sweep was resumed."""
        if shown not in ("running", status):
            self._sink.reopen_run(run_id, labels.ENDING_TAGS)
            self._ledger.mark(trial_id, "status", "running")

    # --- metrics ------------------------------------------------------------------------------------------------------

    def _flush(self) -> None:
        """Sends the new metrics of all trials; runs are created on the way."""
        self._flushed_s = monotonic()
        acknowledged: dict[str, int] = {}
        try:
            for due in self._due():
                with self._refusals(due.id):
                    run_id = self._begin(due)
                    self._send_facts(due, run_id)
                    self._send_metrics(due, run_id, acknowledged)
        finally:
            self._ledger.acknowledge(acknowledged)

    def _send_metrics(self, due: Due, run_id: str, acknowledged: dict[str, int]) -> None:
        seq = due.metric_seq
        while rows := self._ledger.journal.metrics(due.id, after_seq=seq, limit=_METRICS_PER_CALL):
            self._sink.log_metrics(run_id, rows)
            acknowledged[due.id] = seq = rows[-1].seq

    def _send_facts(self, due: Due, run_id: str) -> None:
        if due.has_facts and not due.facts_sent:
            trial = self._ledger.journal.trial(due.id)
            facts = trial.facts
            assert facts is not None
            self._send_late_params(trial, run_id)
            self._sink.set_tags(run_id, labels.facts_tags(facts))
            self._sink.log_texts(run_id, {"model_summary.txt": facts["summary"]})
            self._ledger.mark(due.id, "facts", 1)

    def _send_late_params(self, trial: TrialRecord, run_id: str) -> None:
        """Settings of which only the built model and its data tell whether they are used."""
        late = labels.late_params(trial)
        if trial.id not in self._with_all_params:
            self._sink.log_params(run_id, late)
        if self._has_late_params or self._sweep_run_id is None or SWEEP in self._refused:
            return
        with self._refusals(SWEEP):
            common = labels.sweep_params(self._sweep, self._ledger.settings(), late=True)
            self._sink.log_params(
                self._sweep_run_id, {key: late[key] for key in common if late.get(key) == common[key]}
            )
            self._has_late_params = True

    # --- endings ------------------------------------------------------------------------------------------------------

    def _finish(self, due: Due) -> bool:
        """Sends what an ended trial leaves behind, its end last; False where its run does not exist yet."""
        if due.run_id is None:
            return False  # it ended since the last flush: the next one creates its run
        acknowledged: dict[str, int] = {}
        self._send_facts(due, due.run_id)
        self._send_metrics(due, due.run_id, acknowledged)
        self._ledger.acknowledge(acknowledged)
        trial = self._ledger.journal.trial(due.id)
        if due.has_model and not due.model_sent:
            self._send_model(trial, due.run_id)
        if texts := self._last_texts(trial):
            self._sink.log_texts(due.run_id, texts)
        if trial.kept_epoch is None and self._sink.has_metric(due.run_id, SCORE):  # of a model that it has no more
            self._sink.log_metrics(due.run_id, labels.no_score(trial))
        ended_ms = self._ledger.epoch_ended_ms(due.id, trial.kept_epoch or 0)
        self._sink.log_metrics(due.run_id, labels.ending_metrics(self._sweep, trial, ended_ms))
        seconds, incidents = self._ledger.seconds(due.id), self._ledger.journal.incidents(due.id)
        self._sink.set_tags(due.run_id, labels.ending_tags(trial, seconds, incidents))
        self._sink.end_run(due.run_id, labels.RUN_STATUS[trial.status], trial.ended_ms or 0)
        self._ledger.mark(due.id, "status", trial.status)
        return True

    def _last_texts(self, trial: TrialRecord) -> dict[str, str]:
        """What an ended trial has printed, and why it failed; by path, where there is any."""
        texts = {"traceback.txt": trial.traceback} if trial.traceback else {}
        log = own_file(self._folder, log_name(trial.id))
        return texts | ({"output.log": log.read_text(encoding="utf-8", errors="replace")} if log.is_file() else {})

    def _send_model(self, trial: TrialRecord, run_id: str) -> None:
        if trial.model is None:
            self._send_weights(trial, run_id)
        else:
            self._send_loadable(trial, run_id, own_file(self._folder, trial.model))
        self._ledger.mark(trial.id, "model", 1)

    def _send_weights(self, trial: TrialRecord, run_id: str) -> None:
        assert trial.weights is not None
        reason = labels.rebuild_reason(trial)
        self._sink.log_file(run_id, own_file(self._folder, trial.weights), "model/weights.npz")
        self._sink.log_texts(run_id, {"model/rebuild.txt": labels.rebuild_note(self._sweep, trial, reason)})
        self._sink.set_tags(run_id, {"model.reason": reason, labels.NOTE: labels.trial_note(self._sweep, trial, None)})

    def _send_loadable(self, trial: TrialRecord, run_id: str, file: Path) -> None:
        name, params = labels.model_name(self._sweep, trial), labels.trial_params(trial)
        epoch = trial.kept_epoch or 0
        signature = (trial.facts or {}).get("signature")
        with model_folder(file.stat().st_size, run_id, signature, self._sweep.versions, self._sink.staging) as folder:
            model_id = self._sink.log_model(run_id, name, folder, file, params, epoch)
        rows = self._ledger.journal.metrics(trial.id)
        of_model = [row for row in rows if row.key in trial.metrics and row.step == epoch]
        self._sink.log_metrics(run_id, of_model, model_id)
        uri = f"models:/{model_id}"
        self._sink.set_tags(run_id, {"model.uri": uri, labels.NOTE: labels.trial_note(self._sweep, trial, uri)})

    def _finish_sweep(self) -> None:
        sweep = self._ledger.journal.sweep()
        run_id, shown = self._ledger.sent(SWEEP)
        if run_id is None or shown == sweep.status or sweep.ended_ms is None:
            return
        best = self._ledger.best(sweep)
        if best is not None:
            found = {"best.trial": best[0].id, "best.run_id": best[0].run_id or "", "best.value": f"{best[1]:.6g}"}
            self._sink.set_tags(run_id, found)
        self._sink.end_run(run_id, labels.RUN_STATUS[sweep.status], sweep.ended_ms)
        self._ledger.mark(SWEEP, "status", sweep.status)
