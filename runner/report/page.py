"""The page of a sweep: one file with all figures, which needs no network."""

from __future__ import annotations

import errno
import json
import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

from runner.errors import NothingToShowError
from runner.journal import REPORT, SweepStatus, write_durably
from runner.report import costs, progress, settings
from runner.report.data import SweepData, read_sweep
from runner.report.headline import facts, failures
from runner.report.study import importance
from runner.report.style import template
from runner.review.tables import Table, readable, trial_table

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

SORTABLE = ("Trials", "Best trials")  # tables with a row for each trial
_MOST_ROWS = 1000
_ROOM = 4  # times its size must be free on the disk
_MOST_SIDE_BY_SIDE = 3  # parameters, in a figure of half the page's width
_TAG = re.compile(r"<(?!/?(?:br|extra)>)")  # Plotly shows others too, as it does these, which our figures use


@dataclass(frozen=True, kw_only=True, slots=True)
class Section:
    """A figure on the page.

    Args:
        name: its anchor.
        title: what it shows.
        says: how to read it, in a sentence.
        figure: as JSON; None if there is nothing to show.
        reason: why there is not.
        is_wide: whether it needs the whole width.
        height: at least, in CSS pixels; a figure beside a higher one grows.
    """

    name: str
    title: str
    says: str
    figure: str | None
    reason: str = ""
    is_wide: bool = False
    height: int = 0


def write_report(folder: Path, status: SweepStatus | None = None) -> Path:
    """Writes a sweep's page into its folder; returns the file.

    Args:
        folder: the sweep's.
        status: how the sweep is about to end, if the journal does not have it yet.

    Raises:
        SweepNotFoundError: the folder has no sweep.
        JournalError: its journal cannot be read.
        OSError: the file cannot be written.
    """
    file = folder / REPORT
    data = read_sweep(folder)
    if status is not None:
        sweep = replace(data.review.sweep, status=status)
        trials = [replace(one, status="killed") if one.status in ("running", "queued") else one
                  for one in data.review.trials]  # fmt: skip
        data = replace(data, review=replace(data.review, sweep=sweep, trials=tuple(trials)))
    page = page_of(data).encode()
    if shutil.disk_usage(folder).free < _ROOM * len(page):
        raise OSError(errno.ENOSPC, "the journal may need the room that is left", str(file))
    write_durably(file, page)
    return file


def page_of(data: SweepData) -> str:
    """The page of a sweep as text."""
    sweep = data.review.sweep
    return render(
        title=sweep.id,
        sweeps=[sweep],
        facts=facts(data),
        sections=list(_sections(data)),
        tables=[(SORTABLE[0], _leaderboard(data))],
        failures=failures(data),
        commands=[sweep.command],
    )


def render(**content: Any) -> str:
    """The page with this content, from its template."""
    import jinja2
    from plotly.offline import get_plotlyjs

    parts = files("runner.report")
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined)
    environment.filters["readable"] = readable
    page = environment.from_string(parts.joinpath("page.html.j2").read_text(encoding="utf-8"))
    return str(
        page.render(
            **content,
            sortable=SORTABLE,
            style=parts.joinpath("page.css").read_text(encoding="utf-8"),
            script=parts.joinpath("page.js").read_text(encoding="utf-8"),
            plotly=get_plotlyjs(),
            themes=embedded(json.dumps({theme: template(theme) for theme in ("light", "dark")})),
        )
    )


def section(name: str, title: str, says: str, make: Callable[[], Figure], *, is_wide: bool = False) -> Section:
    """A figure's part of the page, or why there is none."""
    try:
        figure = make()
    except NothingToShowError as err:
        return Section(name=name, title=title, says=says, figure=None, reason=str(err))
    figure.layout.template = None  # the page has one for each theme
    height, figure.layout.height = int(figure.layout.height), None
    text = embedded(figure.to_json())
    return Section(name=name, title=title, says=says, figure=text, is_wide=is_wide, height=height)


def embedded(text: str) -> str:
    """JSON that cannot end the script element that it stands in, and in whose texts a user's tags are only text."""
    return _TAG.sub("‹", text.replace("\\u003c", "<")).replace("<", "\\u003c")


def _sections(data: SweepData) -> Iterator[Section]:
    metric = data.metric
    yield section("history", "Best so far", "Each trial when it ended; the line is the best until then, crosses are "
                  "trials that were ended early.", lambda: progress.history(data))  # fmt: skip
    yield section("curves", "Learning curves", f"{metric} by epoch. Thick: the best trial; the band holds the middle "
                  "half of all trials; a cross is where a trial was stopped, a dotted line a rung.",
                  lambda: progress.curves(data))  # fmt: skip
    for member in data.members:
        yield from _of_member(data, member, f" ({member})" if len(data.members) > 1 else "")
    if data.schedules:  # of populations and clones only
        yield section("schedules", "Schedules", "Values that have changed while trials were trained. Thick: the best "
                      "trial; a step is where a trial went on from another one's state, or was given another value.",
                      lambda: progress.schedules(data))  # fmt: skip
    yield section("repeats", "Spread of repeats", "Settings that were trained with several seeds or folds. A "
                  "difference between settings that is smaller than the spread of one means little.",
                  lambda: settings.repeats(data))  # fmt: skip
    yield section("timeline", "Slots", "Which trial held which slot; gaps are waiting.", lambda: costs.timeline(data))
    yield section("throughput", "Throughput", "Optimizer steps a second of all trials together.",
                  lambda: costs.throughput(data))  # fmt: skip
    yield section("memory", "Memory", "The highest peak in each slot; the mark is the slot's share.",
                  lambda: costs.memory(data))  # fmt: skip
    yield section("times", "Where time went", "The time of all slots together, from the sweep's beginning to its last "
                  "round.", lambda: costs.times(data))  # fmt: skip


def _of_member(data: SweepData, member: str, named: str) -> Iterator[Section]:
    """The figures of a member's search; scores of different members do not compare."""
    compared = (
        "scores" if data.common_epoch is None else f"{data.metric} after epoch {data.common_epoch}, which all reached"
    )
    mark, is_wide = f"-{member}" if named else "", len(data.varied(member)) > _MOST_SIDE_BY_SIDE
    found = importance(data, member)
    method = "" if found is None else f" ({found.method}, from {compared})"
    yield section(f"importance{mark}", f"What mattered{named}", "How much of the differences between trials each "
                  f"parameter explains by itself and with others{method}. A parameter of 0 % made no difference within "
                  "the values tried.", lambda: settings.importances(data, member))  # fmt: skip
    yield section(f"contour{mark}", f"The two that mattered most{named}", f"Over both: {compared}. Between the trials "
                  "it is interpolated.", lambda: settings.contours(data, member))  # fmt: skip
    yield section(f"parallel{mark}", f"All parameters{named}", "A line a trial, coloured by what compares trials: "
                  f"{compared}. Drag along an axis to select.", lambda: settings.parallel(data, member),
                  is_wide=is_wide)  # fmt: skip
    yield section(f"slice{mark}", f"Each parameter{named}", f"Over each parameter by itself: {compared}. "
                  "The more colour, the later the trial.", lambda: settings.slices(data, member),
                  is_wide=is_wide)  # fmt: skip


def _leaderboard(data: SweepData) -> Table:
    """The ranked trials with what a reader compares."""
    table = trial_table(data.review)
    varied = [f"params.{name}" if f"params.{name}" in table.header else name for name in data.varied()]
    members = ["member"] if len(data.members) > 1 else []
    names = ["rank", "trial", *members, "status", "score", *varied, "epochs", "best_epoch", "seconds"]
    names += [name for name in data.review.metric_names[1:] if name not in names]
    if any(trial.trial.seed != data.review.trials[0].trial.seed for trial in data.review.trials):
        names.append("seed")
    names.append("ended_by")
    places = [table.header.index(name) for name in names]
    heads = [data.metric if name == "score" else {"best_epoch": "best epoch", "ended_by": "why"}.get(name, name)
             for name in names]  # fmt: skip
    return Table(heads, [[row[place] for place in places] for row in table.rows[:_MOST_ROWS]])
