"""The page of several sweeps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from runner.errors import NothingToShowError
from runner.report.data import SweepData, label_of
from runner.report.headline import Fact, duration
from runner.report.page import SORTABLE, render, section
from runner.report.progress import rounded, thinned
from runner.report.style import PALETTE, styled
from runner.review.comparison import best_so_far
from runner.review.tables import Table, readable

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

_MOST_ROWS = 100
_TITLES = {
    "scores": "Scores and costs",
    "config": "What differs in the configs",
    "shared": "Settings that all have trained",
    "curves": "",
}


def page_of_several(sweeps: Sequence[SweepData], tables: Mapping[str, Table]) -> str:
    """The page of several sweeps as text.

    Args:
        sweeps: two or more.
        tables: of their comparison, by name.
    """
    records = [data.review.sweep for data in sweeps]
    reason = "" if len({(sweep.metric, sweep.goal) for sweep in records}) == 1 else "the sweeps have different metrics"
    if any(data.review.is_mixed for data in sweeps):
        reason = "a sweep has several members, whose scores do not compare"
    by_epochs = "The best value of the metric after a number of epochs, those of all trials counted."
    by_time = "The best score of the trials that had ended until then."
    shown_tables = [(_TITLES[name], table) for name, table in tables.items() if _TITLES[name] and table.rows]
    if not reason:
        shown_tables.insert(0, (SORTABLE[1], _leaderboard(sweeps)))
    sections = [
        section("by-epochs", "Best so far, by epochs", by_epochs, lambda: _by_epochs(sweeps, reason)),
        section("by-time", "Best so far, by time", by_time, lambda: _by_time(sweeps, reason)),
    ]
    return render(
        title=" · ".join(sweep.id for sweep in records),
        sweeps=records,
        facts=[_fact(data) for data in sweeps[:5]],
        sections=sections,
        tables=shown_tables,
        failures=[],
        commands=[sweep.command for sweep in records],
    )


def _fact(data: SweepData) -> Fact:
    sweep, best = data.review.sweep, data.best
    took = "" if sweep.ended_ms is None else f", {duration((sweep.ended_ms - sweep.created_ms) / 1000)}"
    detail = f"{sweep.metric}, {len(data.review.trials)} trials{took}"
    return Fact(label=sweep.id, value=readable(None if best is None else data.score(best)), detail=detail)


def _leaderboard(sweeps: Sequence[SweepData]) -> Table:
    """The best trials of all sweeps together."""
    found = [(data, trial, score) for data in sweeps for trial in data.scored
             if (score := data.score(trial)) is not None]  # fmt: skip
    found.sort(key=lambda one: one[2], reverse=sweeps[0].maximizes)
    varied = {data.review.sweep.id: data.varied() for data in sweeps}  # reads all trials
    rows: list[list[object]] = []
    for place, (data, trial, score) in enumerate(found[:_MOST_ROWS], 1):
        sweep = data.review.sweep.id
        rows.append([place, sweep, trial.id, score, label_of(trial, varied[sweep]), trial.epochs, trial.seconds])
    return Table(["rank", "sweep", "trial", sweeps[0].metric, "settings", "epochs", "seconds"], rows)


def _by_epochs(sweeps: Sequence[SweepData], reason: str) -> Figure:
    figure = _begun(reason)
    for place, data in enumerate(sweeps):
        points = thinned(tuple(enumerate(best_so_far(data.review), 1)))
        _add(figure, place, data, [epoch for epoch, _ in points], [value for _, value in points])
    return styled(figure, x="epochs of all trials", y=sweeps[0].metric)


def _by_time(sweeps: Sequence[SweepData], reason: str) -> Figure:
    figure = _begun(reason)
    for place, data in enumerate(sweeps):
        ended = sorted((one.ended_ms, data.score(one)) for one in data.scored if one.ended_ms is not None)
        best = data.best_so_far(score or 0.0 for _, score in ended)
        began_ms = data.review.sweep.created_ms
        _add(figure, place, data, [(ended_ms - began_ms) / 1000 for ended_ms, _ in ended], best)
    return styled(figure, x="seconds since the sweep began", y=sweeps[0].metric)


def _begun(reason: str) -> Figure:
    import plotly.graph_objects as go

    if reason:
        raise NothingToShowError(reason)
    return go.Figure()


def _add(figure: Figure, place: int, data: SweepData, x: Sequence[float], y: Sequence[float]) -> None:
    line = {"color": PALETTE[place % len(PALETTE)], "shape": "hv"}
    figure.add_scatter(x=rounded(x), y=rounded(y), mode="lines", name=data.review.sweep.id, line=line)
