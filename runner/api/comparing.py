"""Compares recorded sweeps."""

from __future__ import annotations

import html
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from runner.api.result import Result
from runner.api.trial import TrialResult
from runner.config.differences import differences
from runner.errors import ConfigError, SweepNotFoundError
from runner.review.catalog import SWEEPS, Review, find_sweep, list_sweeps
from runner.review.comparison import check_same_metric, curve_table, score_table, shared_table
from runner.review.tables import Table

if TYPE_CHECKING:
    import pandas


@dataclass(frozen=True, slots=True)
class Comparison:
    """Sweeps side by side.

    Args:
        sweeps: two or more.

    Example:
        >>> found = runner.compare("latest", "latest")
        >>> found.config.empty
        True
        >>> found.scores.loc["trials"].nunique()
        1
    """

    sweeps: tuple[Result, ...]

    def tables(self) -> dict[str, Table]:
        """`config`, `scores`, `curves` and `shared` as header and rows, for a program without pandas.

        `curves` and `shared` are missing if the sweeps have different metrics, `curves` if one is a mixed sweep too.
        """
        reviews = [sweep.review for sweep in self.sweeps]
        found = {"config": _config_table(reviews), "scores": score_table(reviews)}
        try:
            check_same_metric(reviews)
        except ConfigError:
            return found
        curves = {} if any(review.is_mixed for review in reviews) else {"curves": curve_table(reviews)}
        return {**found, **curves, "shared": shared_table(reviews)}

    def __repr__(self) -> str:
        return f"<sweeps side by side: {', '.join(sweep.id for sweep in self.sweeps)}>"

    def _repr_html_(self) -> str:
        """What differs and what was reached, as notebooks show them."""
        return f"<p>{html.escape(repr(self))}</p>{self.config.to_html()}{self.scores.to_html()}"

    def report(self, file: str | os.PathLike[str] = "comparison.html") -> Path:
        """Writes one page with these tables and the sweeps' progress, which needs no network; returns the file.

        Raises:
            ConfigError: the file cannot be written.
        """
        from runner.report.data import read_sweep
        from runner.report.side_by_side import page_of_several

        page = page_of_several([read_sweep(sweep.folder) for sweep in self.sweeps], self.tables())
        try:
            Path(file).write_text(page, encoding="utf-8")
        except OSError as err:
            raise ConfigError(f"{file}: cannot be written: {err.strerror or err}") from err
        return Path(file)

    @property
    def config(self) -> pandas.DataFrame:
        """The keys of the config that differ, and the files of the experiment that do, one column for each sweep."""
        return _frame(_config_table([sweep.review for sweep in self.sweeps]))

    @property
    def scores(self) -> pandas.DataFrame:
        """What each sweep reached and what it cost, with scores, trials by status, epochs and seconds."""
        return _frame(score_table([sweep.review for sweep in self.sweeps]))

    @property
    def curves(self) -> pandas.DataFrame:
        """The best value of the metric seen after a number of epochs, those of all trials counted together.

        Raises:
            ConfigError: the sweeps have different metrics, or one has several members.
        """
        return _frame(curve_table([sweep.review for sweep in self.sweeps]))

    @property
    def shared(self) -> pandas.DataFrame:
        """The mean score of each setting that all of the sweeps have trained.

        Raises:
            ConfigError: the sweeps have different metrics.
        """
        return _frame(shared_table([sweep.review for sweep in self.sweeps]))


def compare(*sweeps: str | Result, root: str | os.PathLike[str] = SWEEPS) -> Comparison:
    """Puts sweeps side by side: what differs in their configs, their scores, their progress, settings of both.

    Args:
        sweeps: two or more, as results or by id, an unambiguous beginning of it, or "latest".
        root: the folder of all sweeps.

    Raises:
        SweepNotFoundError: one does not exist.
        ConfigError: fewer than two are named.
    """
    if len(sweeps) < 2:
        raise ConfigError(f"a comparison needs two sweeps or more, got {len(sweeps)}")
    return Comparison(tuple(one if isinstance(one, Result) else Result(find_sweep(one, Path(root))) for one in sweeps))


def best_of(name: str, *, root: str | os.PathLike[str] = SWEEPS) -> TrialResult:
    """The best trial of all sweeps that have this name.

    Args:
        name: the `name` of their configs, which their ids begin with.
        root: the folder of all sweeps.

    Raises:
        SweepNotFoundError: there is no such sweep, or none of its trials has ended well.
        ConfigError: the sweeps have different metrics, or several members.
    """
    reviews = list_sweeps(Path(root))
    named = [review for review in reviews if review.sweep.name == name]
    if not named:
        known = ", ".join(dict.fromkeys(review.sweep.name for review in reviews)) or "no sweep at all"
        raise SweepNotFoundError(f"no sweep in {root}/ is named {name!r}; there: {known}")
    check_same_metric(named)
    found = [(mean, Result(review.folder)) for review in named if (mean := _best_mean(review)) is not None]
    if not found:
        raise SweepNotFoundError(f"none of the sweeps named {name!r} has a trial that has ended with a score")
    better = max if named[0].sweep.goal == "maximize" else min
    return better(found, key=lambda one: one[0])[1].best


def _best_mean(review: Review) -> float | None:
    """The mean score of the setting that ranks first among those that have ended well."""
    if review.is_mixed:
        raise ConfigError(f"{review.sweep.id} is a mixed sweep, whose members' scores do not compare; name the sweep")
    settings = [one for _, one in review.by_setting for best in review.best if best in one.trials]
    return settings[0].mean if settings else None


def _config_table(reviews: Sequence[Review]) -> Table:
    found = differences([review.sweep.config for review in reviews])
    rows: list[list[object]] = [[key, *values] for key, values in found.items()]
    sources = [_sources(review) for review in reviews]
    for name in dict.fromkeys(name for source in sources for name in source):
        texts = [source.get(name) for source in sources]
        if any(text != texts[0] for text in texts[1:]):
            sizes = ["–" if text is None else f"{len(text.splitlines())} lines" for text in texts]
            rows.append([f"file {name}", *sizes])
    return Table(["", *(review.sweep.id for review in reviews)], rows)


def _sources(review: Review) -> dict[str, str]:
    return {name: text for trial in review.trials for name, text in trial.trial.source.files}


def _frame(table: Table) -> pandas.DataFrame:
    import pandas

    return pandas.DataFrame(table.rows, columns=table.header).set_index(table.header[0])
