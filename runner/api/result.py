"""A sweep as a Python program reads it: tables of pandas, and the best model. Each access reads the journal again."""

from __future__ import annotations

import html
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from runner.errors import SweepNotFoundError
from runner.journal import JournalReader, TrialRecord, files_folder, own_file
from runner.review.catalog import Review, open_review
from runner.review.summaries import full_table, setting_table
from runner.review.timeline import turn_table

if TYPE_CHECKING:
    import keras
    import pandas


@dataclass(frozen=True, slots=True)
class TrialResult:
    """One trial of a sweep.

    Args:
        folder: the sweep's.
        record: of the trial.
        metric: the sweep's.
    """

    folder: Path
    record: TrialRecord
    metric: str

    @property
    def id(self) -> str:
        """Its id within the sweep, such as "007"."""
        return self.record.id

    @property
    def status(self) -> str:
        """queued, running, complete, stopped, failed or killed."""
        return self.record.status

    @property
    def score(self) -> float | None:
        """The sweep's metric, of its model; None if it has none."""
        return self.record.score(self.metric)

    @property
    def params(self) -> dict[str, object]:
        """The values of the parameters of `load_data` and `build_model`."""
        return dict(self.record.trial.params)

    @property
    def metrics(self) -> Mapping[str, float]:
        """All epoch metrics of its model, and `test_*` metrics."""
        return self.record.metrics

    @property
    def files(self) -> Path:
        """The folder of what its callbacks have written, which exists if they have written anything."""
        return files_folder(self.folder, self.id)

    def model(self) -> keras.Model:
        """The trained model, loaded by Keras in this process, which takes GPU memory as it needs it.

        Raises:
            SweepNotFoundError: the trial has no model, or one that needs its source; `python -m runner best --export`
                writes it with a script that rebuilds it.
        """
        if self.record.model is None:
            raise SweepNotFoundError(
                f"trial {self.id}: has no file that Keras can load by itself; "
                f"`python -m runner best {self.folder.name} --trial {self.id} --export DIR` writes what there is"
            )
        import keras
        import tensorflow as tf

        for gpu in tf.config.list_physical_devices("GPU"):
            with suppress(RuntimeError):  # TensorFlow runs already, with whatever it was given
                tf.config.experimental.set_memory_growth(gpu, True)
        model: keras.Model = keras.models.load_model(own_file(self.folder, self.record.model))
        return model

    def __repr__(self) -> str:
        shown = " ".join(f"{name}={self.record.settings.get(name)}" for name in self.record.trial.searched)
        return f"<trial {self.id}: {self.status}, {self.metric} {self.score} {shown}".rstrip() + ">"


@dataclass(frozen=True, slots=True)
class Result:
    """A sweep, running or ended.

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
        """running, complete, failed or killed."""
        return self._review.sweep.status

    @property
    def metric(self) -> str:
        """What ranks the trials."""
        return self._review.sweep.metric

    @property
    def trials(self) -> pandas.DataFrame:
        """One row for each trial, best first, by trial id: rank, status, score, epochs, metrics, settings, reason."""
        import pandas

        header, rows = full_table(self._review)
        return pandas.DataFrame(rows, columns=header).set_index("trial")

    @property
    def best(self) -> TrialResult:
        """The best trial that has ended well; of a mixed sweep that of its first member.

        Raises:
            SweepNotFoundError: there is none.
        """
        return self._of(self._review.chosen(None)[0])

    def trial(self, trial_id: str) -> TrialResult:
        """One trial.

        Raises:
            SweepNotFoundError: there is none with this id.
        """
        return self._of(self._review.chosen(trial_id)[0])

    def history(self, trial_id: str) -> pandas.DataFrame:
        """One row for each epoch of a trial, by its number, one column for each metric, as in Keras' `History`."""
        import pandas

        self.trial(trial_id)
        with JournalReader(self.folder) as reader:
            epochs = [epoch for report in reader.reports(trial_id) for epoch in report.epochs]
        index = pandas.Index([epoch.number for epoch in epochs], name="epoch")
        return pandas.DataFrame([dict(epoch.metrics) for epoch in epochs], index=index)

    @property
    def histories(self) -> pandas.DataFrame:
        """The histories of all trials, by trial id and epoch."""
        import pandas

        ids = [trial.id for trial in self._review.trials]
        return pandas.concat({trial_id: self.history(trial_id) for trial_id in ids}, names=["trial", "epoch"])

    @property
    def by_setting(self) -> pandas.DataFrame:
        """One row for each setting, best first by the mean of its trials' scores: rank, trials, mean, spread, settings.

        `spread` is the standard deviation of the scores; `ended` says how many of the `repeats` have ended well.
        """
        import pandas

        header, rows = setting_table(self._review)
        return pandas.DataFrame(rows, columns=header)

    @property
    def timeline(self) -> pandas.DataFrame:
        """One row for each turn of each trial: slot, round, when it began, and how its seconds were spent.

        `start_s` counts from the sweep's creation. `seconds` are those of building and tracing (`seat_s`), of
        exchanging variables (`swap_s`), of steps (`compute_s`) and validation (`evaluate_s`), and the rest. Then the
        slot waits for the others (`wait_s`) and for the journal (`log_s`). Memory is the process' peak.
        """
        import pandas

        header, rows = turn_table(self.folder)
        return pandas.DataFrame(rows, columns=header)

    def __repr__(self) -> str:
        review = self._review
        return f"<sweep {self.id}: {review.sweep.status}, {len(review.trials)} trials, by {review.sweep.metric}>"

    def _repr_html_(self) -> str:
        """The ranked trials as notebooks show them."""
        table = self.trials.drop(columns=["member", "seed", "best_epoch"], errors="ignore")
        return f"<p>{html.escape(repr(self))}</p>{table.to_html()}"

    @property
    def _review(self) -> Review:
        return open_review(self.folder)

    def _of(self, record: TrialRecord) -> TrialResult:
        return TrialResult(self.folder, record, self.metric)
