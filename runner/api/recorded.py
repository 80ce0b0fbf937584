"""A sweep as its journal has it: its status, its trials, and their numbers as tables."""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from runner.api.trial import TrialResult
from runner.journal import TrialRecord, is_locked
from runner.review.catalog import Review, open_review
from runner.review.selection import Selection
from runner.review.summaries import sweep_summary, trial_summary
from runner.review.tables import Table, history_table, setting_table, trial_table
from runner.review.timeline import Overheads, overheads_of, turn_table

if TYPE_CHECKING:
    import pandas


@dataclass(frozen=True, slots=True)
class RecordedSweep:
    """What is read of a sweep, running or ended. Each access reads the journal again.

    Args:
        folder: the sweep's.
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
