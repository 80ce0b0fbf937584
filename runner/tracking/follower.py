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
from runner.tracking.names import ENTITIES_PER_CALL

if TYPE_CHECKING:
    from runner.tracking.mlflow_sink import MlflowSink

_FLUSH_S = 1.0  # while models are sent, metrics go on being sent this often


class Follower:
    """Sends what is due. Every step may be interrupted and repeated.

    Args:
        on_refused: called for each run that MLflow will not take, or does not know any more.
    """

    def __init__(self, folder: Path, ledger: Ledger, sink: MlflowSink, on_refused: Callable[[str], None]) -> None:
        self._folder = folder
        self._ledger = ledger
        self._sink = sink
        self._on_refused = on_refused
        self._refused: set[str] = set()
        self._flushed_s = 0.0
        self._sweep_run_id: str | None = None
        self._has_late_params = False  # the sweep's run
        self._known: dict[str, str] | None = None  # the sweep's runs that the store has, by trial
        self._is_checked = False

    def advance(self) -> bool:
        """Sends all metrics, then models and ends of runs.

        Returns:
            True where something of an ended trial or sweep is still on its way.

        Raises:
            StoreUnavailableError: to be tried again.
            StoreRefusedError: MLflow will take nothing of the sweep.
        """
        self._sink.open()
        self._check_runs()
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

    def _check_runs(self) -> None:
        """Forgets runs that the store does not know: the sweep's folder was copied or moved without its store."""
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
        """A trial's run, or the sweep's; after an answer that was lost the store is asked for it."""
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
        """A run that MLflow shows as ended goes on: its sweep was resumed."""
        if shown not in ("running", status):
            self._sink.reopen_run(run_id, labels.ENDING_TAGS)
            self._ledger.mark(trial_id, status="running")

    # --- what a trial reports -----------------------------------------------------------------------------------------

    def _flush(self) -> None:
        """Sends what is new of all trials; runs are created on the way."""
        self._flushed_s = monotonic()
        acknowledged: dict[str, int] = {}
        try:
            for due in self._due():
                with self._refusals(due.id):
                    self._send(due, acknowledged)
        finally:
            self._ledger.acknowledge(acknowledged)

    def _send(self, due: Due, acknowledged: dict[str, int]) -> None:
        """Sends the run's beginning, its model's facts and its metrics, as far as they are known and not sent."""
        run_id, new = due.run_id, due.run_id is None
        params: dict[str, str] = {}
        tags: dict[str, str] = {}
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
                texts["model_summary.txt"] = trial.facts["summary"]
                self._send_late_params(trial)
        assert run_id is not None
        seq, most = due.metric_seq, max(1, ENTITIES_PER_CALL - len(params) - len(tags))
        while (rows := self._ledger.journal.metrics(due.id, after_seq=seq, limit=most)) or params or tags:
            self._sink.log(run_id, params=params, tags=tags, rows=rows)
            params, tags, most = {}, {}, ENTITIES_PER_CALL
            seq = rows[-1].seq if rows else seq
            if not new and rows:
                acknowledged[due.id] = seq
        if texts:
            self._sink.log_texts(run_id, texts)
        if new:
            self._ledger.begin(due.id, run_id, seq, has_facts)
        elif has_facts:
            self._ledger.mark(due.id, facts=1)

    def _send_late_params(self, trial: TrialRecord) -> None:
        """The sweep's settings of which only a built model and its data tell whether they are used."""
        if self._has_late_params or self._sweep_run_id is None or SWEEP in self._refused:
            return
        with self._refusals(SWEEP):
            late = labels.late_params(trial)
            common = labels.sweep_params(self._sweep, self._ledger.settings(), late=True)
            shared = {key: late[key] for key in common if late.get(key) == common[key]}
            self._sink.log(self._sweep_run_id, params=shared)
            self._has_late_params = True

    # --- endings ------------------------------------------------------------------------------------------------------

    def _finish(self, due: Due) -> bool:
        """Sends what an ended trial leaves behind, its end last; False where its run does not exist yet."""
        if due.run_id is None:
            return False  # it ended since the last flush: the next one creates its run
        acknowledged: dict[str, int] = {}
        self._send(due, acknowledged)
        self._ledger.acknowledge(acknowledged)
        trial = self._ledger.journal.trial(due.id)
        tags = self._send_model(trial, due.run_id) if due.has_model and not due.model_sent else {}
        if texts := self._last_texts(trial):
            self._sink.log_texts(due.run_id, texts)
        ended_ms = self._ledger.epoch_ended_ms(due.id, trial.kept_epoch or 0)
        rows = labels.ending_metrics(self._sweep, trial, ended_ms)
        # One that goes on may come back to the epoch that the score is of.
        is_stale = trial.status != "killed" and not any(row.key == SCORE for row in rows)
        if is_stale and self._sink.has_metric(due.run_id, SCORE):
            rows += labels.no_score(trial)
        seconds, incidents = self._ledger.seconds(due.id), self._ledger.journal.incidents(due.id)
        tags |= labels.ending_tags(trial, seconds, incidents)
        self._sink.log(due.run_id, tags=tags, rows=rows)
        self._sink.end_run(due.run_id, labels.RUN_STATUS[trial.status], trial.ended_ms or 0)
        self._ledger.mark(due.id, model=int(due.has_model), status=trial.status)
        return True

    def _last_texts(self, trial: TrialRecord) -> dict[str, str]:
        """What an ended trial has printed, and why it failed; by path, where there is any."""
        texts = {"traceback.txt": trial.traceback} if trial.traceback else {}
        log = own_file(self._folder, log_name(trial.id))
        return texts | ({"output.log": log.read_text(encoding="utf-8", errors="replace")} if log.is_file() else {})

    def _send_model(self, trial: TrialRecord, run_id: str) -> dict[str, str]:
        """Sends an ended trial's model, unless it was let go meanwhile; returns the run's tags that describe it.

        Raises:
            StoreRefusedError: its files are not in the sweep's folder any more.
        """
        if trial.weights is None:
            return {}
        file = own_file(self._folder, trial.model or trial.weights)
        if not file.is_file():
            raise StoreRefusedError(f"the model's file {file} is not in the sweep's folder any more; put it back")
        return (self._send_weights if trial.model is None else self._send_loadable)(trial, run_id, file)

    def _send_weights(self, trial: TrialRecord, run_id: str, file: Path) -> dict[str, str]:
        reason = labels.rebuild_reason(trial)
        self._sink.log_file(run_id, file, "model/weights.npz")
        self._sink.log_texts(run_id, {"model/rebuild.txt": labels.rebuild_note(self._sweep, trial, reason)})
        return {"model.reason": reason, labels.NOTE: labels.trial_note(self._sweep, trial, None)}

    def _send_loadable(self, trial: TrialRecord, run_id: str, file: Path) -> dict[str, str]:
        name, params = labels.model_name(self._sweep, trial), labels.trial_params(trial)
        epoch = trial.kept_epoch or 0
        signature = (trial.facts or {}).get("signature")
        with model_folder(file.stat().st_size, run_id, signature, self._sweep.versions, self._sink.staging) as folder:
            model_id = self._sink.log_model(run_id, name, folder, file, params, epoch)
        rows = self._ledger.journal.metrics(trial.id)
        of_model = [row for row in rows if row.key in trial.metrics and row.step == epoch]
        self._sink.log(run_id, rows=of_model, model_id=model_id)
        uri = f"models:/{model_id}"
        return {"model.uri": uri, labels.NOTE: labels.trial_note(self._sweep, trial, uri)}

    def _finish_sweep(self) -> None:
        sweep = self._ledger.journal.sweep()
        run_id, shown = self._ledger.sent(SWEEP)
        if run_id is None or shown == sweep.status or sweep.ended_ms is None:
            return
        best = self._ledger.best(sweep)
        if best is not None:
            found = {"best.trial": best[0].id, "best.run_id": best[0].run_id or "", "best.value": f"{best[1]:.6g}"}
            self._sink.log(run_id, tags=found)
        self._sink.end_run(run_id, labels.RUN_STATUS[sweep.status], sweep.ended_ms)
        self._ledger.mark(SWEEP, status=sweep.status)
