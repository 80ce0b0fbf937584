"""A sweep as a Python program reads it and controls it. Each access reads the journal again."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from runner.api import requests
from runner.api.exports import Cleaned, Exported, clean, export
from runner.api.machine import send_report, sync
from runner.api.recorded import RecordedSweep
from runner.api.requests import Asked
from runner.api.tags import tag
from runner.errors import ConfigError
from runner.journal import REPORT
from runner.review.timeline import write_timeline

if TYPE_CHECKING:
    from runner.api.contexts import Progress
    from runner.api.figures import Figures
    from runner.driver.replaying import Replayed


class Result(RecordedSweep):
    """A sweep, running or ended.

    Args:
        folder: the sweep's.

    Example:
        >>> result = runner.load("latest")
        >>> best = result.best
        >>> best.id == result.trials.index[0]
        True
        >>> sorted(result.history(best.id).columns)
        ['accuracy', 'loss', 'val_accuracy', 'val_loss']
        >>> best.model().output_shape
        (None, 10)
    """

    __slots__ = ()

    def write_timeline(self) -> Path:
        """Writes the timeline for chrome://tracing or Perfetto into the sweep's folder; returns the file."""
        return write_timeline(self.folder)

    def stop(self, *trials: str) -> Asked:
        """Asks to end these trials after their present round, or the whole sweep if none is named.

        A stopped trial is ranked and exported; `go_on` lets it go on.

        Raises:
            SweepNotFoundError: there is no such trial.
            TrialEndedError: one has ended.
        """
        return requests.ask(self.folder, "stop", trials)

    def pause(self, *trials: str) -> Asked:
        """Asks to take these trials out of their slots until `go_on`; raises as `stop`."""
        return requests.ask(self.folder, "pause", _some(trials))

    def go_on(self, *trials: str) -> Asked:
        """Asks to let paused or stopped trials go on; a stopped one goes on when the sweep is resumed.

        Raises:
            SweepNotFoundError: there is no such trial.
            TrialEndedError: one is complete, has failed or has diverged.
        """
        return requests.ask(self.folder, "continue", _some(trials))

    def add(self, what: int | Mapping[str, object], *, member: str | None = None) -> Asked:
        """Asks for that many more trials of the search, or for one trial with these values.

        Args:
            what: a number, or values by the names of the config (`units`, `train.epochs`).
            member: of a mixed sweep, the one that gets them.

        Raises:
            ConfigError: the sweep has no such member or parameter, or would have too many trials.
        """
        return requests.add(self.folder, what, member)

    def clone(self, trial: str, changes: Mapping[str, object] | None = None, *, at_epoch: int | None = None) -> Asked:
        """Asks for a trial that goes on from the state of another one.

        Args:
            trial: whose state it is.
            changes: values of the experiment's parameters that it has instead.
            at_epoch: after which the other trial had this state; None for its newest.

        Raises:
            SweepNotFoundError: there is no such trial.
            ConfigError: the trial has not trained so far, or a value cannot be changed.
        """
        return requests.clone(self.folder, trial, changes or {}, at_epoch)

    def replay(self, trial: str, *, progress: Progress = "auto") -> Replayed:
        """Trains a trial again, alone, and compares every metric and weight. Nothing is recorded.

        Returns:
            Whether it `is_same`, and `lines` that say it in words.

        Raises:
            SweepNotFoundError: there is no such trial, or it has not trained.
            RunnerError: it fails now, or this machine cannot repeat it.
        """
        from runner.api.contexts import context_for
        from runner.api.runs import run_replay

        with context_for(progress) as context:
            return run_replay(self.folder, trial, context)

    def export(self, folder: str | os.PathLike[str], trial: str | None = None) -> Exported:
        """Writes a trial's model, by default the best one's, into a new folder: for plain Keras, with its source.

        Raises:
            SweepNotFoundError: there is no such trial, or it has no model.
            ConfigError: the folder cannot be written, or is not empty.
        """
        review = self.review
        return export(review, review.chosen(trial)[0], Path(folder))

    def clean(self, models: int | None = None, *, files: int | None = None, dry_run: bool = False) -> Cleaned:
        """Removes an ended sweep's snapshots, and what an interrupted one has left; nothing of journal and MLflow.

        Args:
            models: keeps the models of each member's best trials only, this many; None for all.
            files: the same for what callbacks have written.
            dry_run: only says what would be removed.

        Raises:
            SweepBusyError: the sweep is running.
            StorageError: a file cannot be removed.
        """
        return clean(self.folder, models, files, dry_run)

    def tag(self, tags: Mapping[str, object], *, trial: str | None = None) -> str:
        """Tags the sweep with all its trials, or one trial, in the journal and in MLflow; returns what was done.

        Args:
            tags: texts or numbers by name; they replace those of the same name.
            trial: its id; None for the sweep.

        Raises:
            SweepNotFoundError: there is no such trial.
            ConfigError: a name is not allowed, or is one of this program's own, or a value looks like a secret.
        """
        return tag(self.folder, tags, trial)

    @property
    def figures(self) -> Figures:
        """Its figures, made by plotly: `figures.curves()` and others."""
        from runner.api.figures import Figures

        return Figures(self.folder)

    @property
    def report_file(self) -> Path:
        """The path of its page of all figures, which exists once it has been written."""
        return self.folder / REPORT

    def report(self) -> Path:
        """Writes the page of all figures, `report.html`, into the sweep's folder; returns the file.

        It needs no network. A sweep writes it at its end by itself. MLflow's copy of an ended sweep's page is replaced.
        """
        from runner.report.page import write_report
        from runner.views.watchers import Log

        file = write_report(self.folder)
        send_report(self.folder, Log().warn)
        return file

    def plot(self, name: str, file: str | os.PathLike[str], *, member: str | None = None) -> Path:
        """Draws a figure for a paper by matplotlib; returns the file.

        Args:
            name: curves, history, importance, repeats, parallel, slice, contour, timeline, throughput, memory or times.
            file: ending with .png, .svg or .pdf, which says the format; an existing one is replaced.
            member: of a mixed sweep, whose trials importance, parallel, slice and contour compare.

        Raises:
            ConfigError: there is no such figure, format or member, a mixed sweep's member is not named, or the file
                cannot be written.
            NothingToShowError: the sweep has nothing to show there.
        """
        from runner.report.data import read_sweep
        from runner.report.plots import write_plot

        write_plot(read_sweep(self.folder), name, Path(file), member)
        return Path(file)

    def write_results(self, kind: str, folder: str | os.PathLike[str]) -> list[Path]:
        """Writes the results for other programs into a folder; returns the files.

        Args:
            kind: `csv` or `parquet`, two tables: one row for each trial, one for each epoch; `optuna`, a study in
                `optuna.db`, which `optuna.load_study` and optuna-dashboard open.
            folder: made if it is not there.

        Raises:
            ConfigError: there is no such format, a file is there already, or cannot be written.
        """
        from runner.report.formats import write_results

        return write_results(self.folder, kind, Path(folder))

    def sync(self, uri: str | None = None) -> str:
        """Sends to MLflow what it lacks of the sweep; may be repeated. Returns where its runs are.

        Args:
            uri: another store; None for that of the sweep's config.

        Raises:
            SweepBusyError: another process writes to the sweep.
            TrackingError: the store does not accept it.
        """
        from runner.views.watchers import Log

        return sync(self.folder, uri, Log().warn)


def _some(trials: tuple[str, ...]) -> tuple[str, ...]:
    if not trials:
        raise ConfigError("no trial is named; name one or several by id")
    return trials
