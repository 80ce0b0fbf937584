"""A sweep as a Python program reads it and controls it. Each access reads the journal again."""

from __future__ import annotations

import html
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from runner.api import requests
from runner.api.exports import Cleaned, Exported, clean, export
from runner.api.machine import send_report, sync
from runner.api.requests import Asked
from runner.api.tags import tag
from runner.api.trial import TrialResult
from runner.errors import ConfigError
from runner.journal import REPORT, TrialRecord, is_locked
from runner.review.catalog import Review, open_review
from runner.review.selection import Selection
from runner.review.summaries import sweep_summary, trial_summary
from runner.review.tables import Table, history_table, setting_table, trial_table
from runner.review.timeline import Overheads, overheads_of, turn_table, write_timeline

if TYPE_CHECKING:
    import pandas

    from runner.api.contexts import Progress
    from runner.api.figures import Figures
    from runner.driver.replaying import Replayed


@dataclass(frozen=True, slots=True)
class Result:
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

    folder: Path

    @property
    def id(self) -> str:
        """The sweep's id, which is the name of its folder."""
        return self.folder.name

    @property
    def status(self) -> str:
        """running, complete, failed or killed, which `resume` goes on with; killed too if its process has vanished."""
        status = self.review.sweep.status
        return "killed" if status == "running" and not is_locked(self.folder) else status

    @property
    def metric(self) -> str:
        """What ranks the trials."""
        return self.review.sweep.metric

    @property
    def review(self) -> Review:
        """The sweep and its trials, ranked, as plain records; for whatever needs no pandas."""
        return open_review(self.folder)

    @property
    def summary(self) -> dict[str, object]:
        """Everything as plain data, as `python -m runner results --json` prints it."""
        return sweep_summary(self.review)

    def summaries(self, trials: Iterable[str]) -> list[dict[str, object]]:
        """These trials as plain data, by id."""
        review, wanted = self.review, {*trials}
        return [trial_summary(review.sweep, trial) for trial in review.trials if trial.id in wanted]

    def table(
        self, *filters: str, sort: str | None = None, columns: Sequence[str] = (), history: bool = False
    ) -> Table:
        """Header and rows of `trials`, or of `histories`, for a program without pandas.

        Args:
            filters: conditions on rows, all of which must hold, such as "units>64"; the signs are < <= > >= = != ~.
            sort: a column, with "-" before it for the largest first; None for the best trial first.
            columns: their names; empty for all.
            history: one row for each epoch instead, of the trials that are left.

        Raises:
            ConfigError: there is no such column, or a filter has another form.

        Example:
            >>> header, rows = runner.load("latest").table("status=complete", sort="loss", columns=["trial", "loss"])
            >>> header
            ['trial', 'loss']
        """
        selection = Selection(filters=filters, sort=sort, columns=tuple(columns))
        if not history:
            return selection.of(trial_table(self.review))
        chosen = Selection(filters=filters, sort=sort, columns=("trial",)).of(trial_table(self.review))
        return Selection(columns=tuple(columns)).of(history_table(self.folder, [str(row[0]) for row in chosen.rows]))

    @property
    def trials(self) -> pandas.DataFrame:
        """One row for each trial, best first, by trial id, with rank, status, score, costs, metrics and settings.

        `seconds` are those that it has held a slot; `best_epoch` is the epoch of its model; `ended_by` is the rule
        that stopped it, or where it failed, in one word.
        """
        import pandas

        header, rows = self.table()
        return pandas.DataFrame(rows, columns=header).set_index("trial")

    @property
    def best(self) -> TrialResult:
        """The best trial that has ended well; of a mixed sweep that of its first member.

        Raises:
            SweepNotFoundError: there is none.
        """
        return self._of(self.review.chosen(None)[0])

    def trial(self, trial_id: str) -> TrialResult:
        """One trial.

        Raises:
            SweepNotFoundError: there is none with this id.
        """
        return self._of(self.review.chosen(trial_id)[0])

    def history(self, trial_id: str) -> pandas.DataFrame:
        """One row for each epoch of a trial, by its number, one column for each metric, as in Keras' `History`."""
        import pandas

        self.trial(trial_id)
        header, rows = history_table(self.folder, [trial_id])
        return pandas.DataFrame(rows, columns=header).drop(columns="trial").set_index("epoch")

    @property
    def histories(self) -> pandas.DataFrame:
        """The histories of all trials, by trial id and epoch."""
        import pandas

        header, rows = history_table(self.folder, [trial.id for trial in self.review.trials])
        return pandas.DataFrame(rows, columns=header).set_index(["trial", "epoch"])

    @property
    def by_setting(self) -> pandas.DataFrame:
        """One row for each setting, best first by the mean of its trials' scores, with trials, spread and settings.

        `spread` is the standard deviation of the scores; `ended` says how many of the `repeats` have ended well.
        """
        import pandas

        header, rows = setting_table(self.review)
        return pandas.DataFrame(rows, columns=header)

    @property
    def timeline(self) -> pandas.DataFrame:
        """One row for each turn of each trial, with slot, round, when it began, and how its seconds were spent.

        `start_s` counts from the sweep's creation. `seconds` are those of building and tracing (`seat_s`), of
        exchanging variables (`swap_s`), of steps (`compute_s`) and validation (`evaluate_s`), and the rest. Then the
        slot waits for the others (`wait_s`) and for the journal (`log_s`). Memory is the process' peak.
        """
        import pandas

        header, rows = turn_table(self.folder)
        return pandas.DataFrame(rows, columns=header)

    @property
    def overheads(self) -> Overheads | None:
        """What its time was spent on, in totals; None if no trial has had a turn."""
        return overheads_of(self.folder)

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

    def __repr__(self) -> str:
        review = self.review
        failed = sum(trial.status == "failed" for trial in review.trials)
        count = f"{len(review.trials)} trial{'s' * (len(review.trials) != 1)}" + f", {failed} failed" * bool(failed)
        return f"<sweep {self.id}: {self.status}, {count}, by {review.sweep.metric}>"

    def _repr_html_(self) -> str:
        """The ranked trials as notebooks show them."""
        table = self.trials.drop(columns=["member", "seed", "best_epoch"], errors="ignore")
        return f"<p>{html.escape(repr(self))}</p>{table.to_html()}"

    def _of(self, record: TrialRecord) -> TrialResult:
        return TrialResult(self.folder, record, self.metric)


def _some(trials: tuple[str, ...]) -> tuple[str, ...]:
    if not trials:
        raise ConfigError("no trial is named; name one or several by id")
    return trials
