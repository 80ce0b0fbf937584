"""Sends an ended trial's model, and computes its last tags and metrics."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from runner.errors import JournalError
from runner.journal import SCORE, MetricRow, SweepRecord, TrialRecord, files_of, log_name, own_file
from runner.tracking import labels, notes
from runner.tracking.errors import StoreRefusedError
from runner.tracking.ledger import Due, Ledger
from runner.tracking.model_folder import model_folder

if TYPE_CHECKING:
    from runner.tracking.mlflow_sink import MlflowSink


FILES = "files"  # the folder of a run's artifacts that callbacks have written


@dataclass(frozen=True, kw_only=True, slots=True)
class Ending:
    """What a trial's run gets when the trial has ended.

    Args:
        rows: metrics of the run alone.
        model_rows: metrics of the run and of its logged model.
        model_id: the logged model; None if there is none.
    """

    tags: Mapping[str, str] = field(default_factory=dict)
    rows: tuple[MetricRow, ...] = ()
    model_rows: tuple[MetricRow, ...] = ()
    model_id: str | None = None


NO_ENDING = Ending()


class Endings:
    """Prepares the ends of trials' runs.

    Args:
        folder: the sweep's, with the models.
        ledger: the trials in the journal, and what the store has of them.
        sink: receives the models.
    """

    def __init__(self, folder: Path, ledger: Ledger, sink: MlflowSink) -> None:
        self._folder, self._ledger, self._sink = folder, ledger, sink

    def of(self, due: Due, trial: TrialRecord, run_id: str) -> Ending:
        """Sends the trial's model if that was not done; returns the rest that its run lacks."""
        ending = self._send_model(trial, run_id) if due.has_model and not due.model_sent else NO_ENDING
        if notes.KEY not in ending.tags and not due.model_sent:
            ending = replace(ending, tags={**ending.tags, notes.KEY: notes.trial_note(self._sweep, trial)})
        ended_ms = self._ledger.epoch_ended_ms(due.id, trial.kept_epoch or 0)
        rows = labels.ending_metrics(self._sweep, trial, ended_ms)
        # A trial that was killed may be resumed and keep the epoch that its score is of.
        is_stale = trial.status != "killed" and not any(row.key == SCORE for row in rows)
        if is_stale and self._sink.has_metric(run_id, SCORE):
            rows += labels.no_score(trial)
        seconds, incidents = self._ledger.seconds(due.id), self._ledger.journal.incidents(due.id)
        tags = labels.ending_tags(trial, self._sweep.metric, seconds, incidents)
        tags |= labels.stack_tags(trial, self._ledger.journal.decisions(due.id))
        return replace(ending, tags={**ending.tags, **tags}, rows=rows)

    def last_texts(self, trial: TrialRecord) -> dict[str, str]:
        """An ended trial's output and traceback, by path, if there are any."""
        texts = {"traceback.txt": trial.traceback} if trial.traceback else {}
        log = own_file(self._folder, log_name(trial.id))
        return texts | ({"output.log": log.read_text(encoding="utf-8", errors="replace")} if log.is_file() else {})

    def files(self, trial: TrialRecord) -> list[tuple[str, Path]]:
        """What the trial's callbacks have written: artifacts' paths, and the files.

        Raises:
            StoreRefusedError: its folder is a link.
        """
        try:
            return [(f"{FILES}/{path}", file) for path, file in files_of(self._folder, trial.id)]
        except JournalError as err:
            raise StoreRefusedError(str(err)) from err

    def _send_model(self, trial: TrialRecord, run_id: str) -> Ending:
        """Sends an ended trial's model, unless it was removed in the meantime; returns its tags and metrics.

        Raises:
            StoreRefusedError: its file is missing from the sweep's folder.
        """
        if trial.weights is None:
            return NO_ENDING
        file = own_file(self._folder, trial.model or trial.weights)
        if not file.is_file():
            raise StoreRefusedError(f"the model's file {file} is missing; put it back")
        return (self._send_weights if trial.model is None else self._send_loadable)(trial, run_id, file)

    def _send_weights(self, trial: TrialRecord, run_id: str, file: Path) -> Ending:
        reason = labels.rebuild_reason(trial)
        self._sink.log_file(run_id, file, "model/weights.npz")
        self._sink.log_texts(run_id, {"model/rebuild.txt": labels.rebuild_note(self._sweep, trial, reason)})
        return Ending(tags={"model.reason": reason, notes.KEY: notes.trial_note(self._sweep, trial)})

    def _send_loadable(self, trial: TrialRecord, run_id: str, file: Path) -> Ending:
        name, params = labels.model_name(self._sweep, trial), labels.model_params(trial)
        epoch = trial.kept_epoch or 0
        signature = None if trial.facts is None else trial.facts.signature
        with model_folder(file.stat().st_size, run_id, signature, self._sweep.versions, self._sink.staging) as folder:
            model_id = self._sink.log_model(run_id, name, folder, file, params, epoch)
        rows = self._ledger.journal.metrics(trial.id)
        uri = f"models:/{model_id}"
        return Ending(
            tags={"model.uri": uri, notes.KEY: notes.trial_note(self._sweep, trial, uri)},
            model_rows=tuple(row for row in rows if row.key in trial.metrics and row.step == epoch),
            model_id=model_id,
        )

    @cached_property
    def _sweep(self) -> SweepRecord:
        return self._ledger.journal.sweep()
