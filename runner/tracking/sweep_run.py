"""The sweep's own run: metrics of how it stands, its end with what came of it, and its best model in the registry."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from runner.errors import JournalError, TrackingError
from runner.journal import REPORT, TrialRecord, own_file
from runner.tracking import labels, notes
from runner.tracking.errors import StoreRefusedError
from runner.tracking.ledger import SWEEP, Ledger
from runner.tracking.metric_keys import ENTITIES_PER_CALL
from runner.tracking.registration import ALIAS

if TYPE_CHECKING:
    from runner.tracking.mlflow_sink import MlflowSink


class SweepRun:
    """Sends what the sweep's own run lacks, once it has one.

    Args:
        folder: the sweep's.
        ledger: the journal, and what the store has of it.
        sink: the store.
        on_warning: called if the best model cannot be registered.
    """

    def __init__(self, folder: Path, ledger: Ledger, sink: MlflowSink, on_warning: Callable[[str], None]) -> None:
        self._folder, self._ledger, self._sink, self._on_warning = folder, ledger, sink, on_warning
        self._is_registry_refused = False

    def retry_refused(self) -> None:
        """Lets the next `finish` try to register the best model again."""
        self._is_registry_refused = False

    def show(self, run_id: str) -> None:
        """Makes the page of the sweep's trials, once for each store; an older version has made none."""
        if self._ledger.experiment() is None:
            sweep, trials = self._ledger.journal.sweep(), self._ledger.journal.trials()
            self._sink.share_view(sweep.id, labels.view_of(sweep, trials, run_id))
            self._ledger.mark(SWEEP, experiment=self._sink.experiment_id)

    def send_metrics(self) -> None:
        """Sends the sweep's own metrics: how it stands by barrier, and the machine's use."""
        run_id, _ = self._ledger.sent(SWEEP)
        if run_id is None:
            return
        seq = self._ledger.sweep_rows_sent()
        while rows := self._ledger.journal.sweep_metrics(seq, limit=ENTITIES_PER_CALL):
            self._sink.log(run_id, rows=rows)
            seq = rows[-1].seq
            self._ledger.acknowledge({SWEEP: seq})

    def finish(self) -> None:
        """Sends the description of an ended sweep, and its end; then registers its best model if that is asked for."""
        sweep = self._ledger.journal.sweep()
        run_id, shown = self._ledger.sent(SWEEP)
        if run_id is None or sweep.ended_ms is None:
            return
        best = self._ledger.best(sweep)
        if shown != sweep.status:
            trials = self._ledger.journal.trials()
            has_report = self._send_report(run_id)
            tags = {notes.KEY: notes.sweep_note(sweep, trials, has_report=has_report)}
            if best is not None:
                trial, score = best
                tags |= {"best.trial": trial.id, "best.run_id": trial.run_id or "", "best.value": f"{score:.6g}"}
            self._sink.log(run_id, tags=tags)
            self._sink.share_view(sweep.id, labels.view_of(sweep, trials, run_id))
            self._sink.end_run(run_id, labels.RUN_STATUS[sweep.status], sweep.ended_ms)
            self._ledger.mark(SWEEP, status=sweep.status, model=0)
        if sweep.register is not None and sweep.status == "complete" and best is not None:
            self._register(sweep.register, best[0])

    def _send_report(self, run_id: str) -> bool:
        """Sends the page of all figures, in place of that of an earlier end; whether there is one.

        Raises:
            StoreRefusedError: it is a link.
        """
        try:
            file = own_file(self._folder, REPORT)
        except JournalError as err:
            raise StoreRefusedError(str(err)) from err
        if file.is_file():
            self._sink.log_file(run_id, file, REPORT)
        return file.is_file()

    def _register(self, name: str, trial: TrialRecord) -> None:
        """Registers the best trial's model as the champion, once for an end of the sweep; a failure is a warning."""
        if self._ledger.is_registered() or self._is_registry_refused:
            return
        sweep = self._ledger.journal.sweep()
        run_id, _ = self._ledger.sent(trial.id)
        try:
            if run_id is None:
                raise StoreRefusedError("MLflow has no run of it")
            tags = {"sweep.id": sweep.id, "trial.id": trial.id}
            self._sink.register(name, run_id, tags, notes.trial_note(sweep, trial))
        except TrackingError as err:
            self._is_registry_refused = True
            self._on_warning(
                f"warning: trial {trial.id} was not registered as {name}@{ALIAS}: {err}; the sweep has its result, and "
                f"`python -m runner sync {sweep.id}` tries it again"
            )
        else:
            self._ledger.mark(SWEEP, model=1)
