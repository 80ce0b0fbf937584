"""Figures of a sweep's progress: the best so far, and learning curves."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from runner.errors import NothingToShowError
from runner.journal import TrialRecord
from runner.report.data import Curve, SweepData, label_of, shown, value_of
from runner.report.study import plain
from runner.report.style import BAND, BEST, OTHERS, colours, styled

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

MOST_CURVES, MOST_POINTS = 200, 200
_LEAST_FOR_BAND = 3  # trials
_LONG_S = 180  # a sweep that takes longer is shown in minutes


def history(data: SweepData) -> Figure:
    """Each trial's score when it ended, and the best until then.

    Raises:
        NothingToShowError: no trial has a score.
    """
    import plotly.graph_objects as go

    ended = sorted((one for one in data.scored if one.ended_ms is not None), key=lambda one: one.ended_ms or 0)
    if not ended:
        raise NothingToShowError("no trial has ended with a score")
    began_ms = data.review.sweep.created_ms
    seconds = [((one.ended_ms or 0) - began_ms) / 1000 for one in ended]
    unit, divisor = ("minutes", 60) if seconds[-1] > _LONG_S else ("seconds", 1)
    times = [second / divisor for second in seconds]
    scores = [data.score(one) or 0.0 for one in ended]
    best = data.best_so_far(scores)
    varied = data.varied()
    texts = [f"{one.id} · {one.cause or one.status}<br>{label_of(one, varied)}" for one in ended]
    is_full = [one.status == "complete" for one in ended]
    figure = go.Figure()
    figure.add_scatter(
        x=rounded(times), y=rounded(scores), text=texts, mode="markers", name="trials",
        marker={"color": OTHERS, "size": 7, "symbol": ["circle" if full else "x-thin-open" for full in is_full]},
        hovertemplate=f"%{{text}}<br>{data.metric} %{{y}}<br>after %{{x}} {unit}<extra></extra>",
    )  # fmt: skip
    figure.add_scatter(
        x=rounded(times), y=rounded(best), mode="lines", name="best so far", line={"color": BEST, "shape": "hv"},
        hoverinfo="skip",
    )  # fmt: skip
    return styled(figure, x=f"{unit} since the sweep began", y=data.metric)


def curves(data: SweepData) -> Figure:
    """The metric by epoch: of the best trial, of the others, their median and middle half, stops and rungs.

    A menu colours the trials by a searched setting. Of more than 200 trials the best and an even choice of the others
    are drawn.

    Raises:
        NothingToShowError: no trial has a value of the metric.
    """
    import plotly.graph_objects as go

    drawn = [one for one in drawn_trials(data) if data.curves[one.id]]
    if not drawn:
        raise NothingToShowError(f"no trial has a value of {data.metric}")
    varied, figure = data.varied(), go.Figure()
    for trial in reversed(drawn):  # the best is drawn last, over the others
        figure.add_scatter(**_curve(data, trial, varied, is_best=trial is drawn[0]))
    lines = len(drawn)
    for band in _band(data):
        figure.add_scatter(**band)
    for rung in data.rungs:
        figure.add_vline(x=rung, line={"color": OTHERS, "dash": "dot", "width": 1})
    if varied:
        figure.update_layout(updatemenus=[_menu(drawn[::-1], varied, lines)])
    return styled(figure, x="epoch", y=data.metric)


def drawn_trials(data: SweepData) -> list[TrialRecord]:
    """The trials whose curves are drawn, best first."""
    ordered = [*data.scored, *(one for one in data.review.trials if data.score(one) is None)]
    if len(ordered) <= MOST_CURVES:
        return ordered
    best, others = ordered[: MOST_CURVES // 2], ordered[MOST_CURVES // 2 :]
    return [*best, *others[:: -(-len(others) // (MOST_CURVES // 2))]]


def quartiles(data: SweepData) -> list[tuple[int, float, float, float]]:
    """Epoch, first quartile, median and third quartile of the metric, for epochs that three trials or more reached."""
    values: dict[int, list[float]] = {}
    for curve in data.curves.values():
        for epoch, value in curve:
            values.setdefault(epoch, []).append(value)
    known = sorted((epoch, found) for epoch, found in values.items() if len(found) >= _LEAST_FOR_BAND)
    return [(epoch, *statistics.quantiles(found, n=4, method="inclusive")) for epoch, found in known]  # type: ignore[misc]


def thinned(curve: Curve) -> Curve:
    """At most 200 points of a curve, evenly chosen, with its last."""
    step = -(-len(curve) // MOST_POINTS) if curve else 1
    return curve if step == 1 else (*curve[:-1:step], curve[-1])


def _curve(data: SweepData, trial: TrialRecord, varied: Sequence[str], *, is_best: bool) -> dict[str, Any]:
    points = thinned(data.curves[trial.id])
    ends = [""] * (len(points) - 1) + ["x" if trial.status in ("stopped", "failed") else ""]
    score = shown(data.score(trial))
    return {
        "x": [epoch for epoch, _ in points],
        "y": rounded([value for _, value in points]),
        "mode": "lines+markers",
        "line": {"color": BEST if is_best else OTHERS, "width": 3 if is_best else 1},
        "marker": {"symbol": ["x-thin-open" if end else "circle" for end in ends],
                   "size": [8 if end or len(points) == 1 else 0 for end in ends]},
        "name": f"best: {trial.id}" if is_best else trial.id,
        "showlegend": is_best,
        "hovertemplate": f"{trial.id} · score {score} · {trial.cause or trial.status}<br>{label_of(trial, varied)}"
        "<br>epoch %{x}: %{y}<extra></extra>",
    }  # fmt: skip


def _band(data: SweepData) -> Iterator[dict[str, Any]]:
    found = quartiles(data)
    if not found:
        return
    epochs = [epoch for epoch, *_ in found]
    low, median, high = (rounded([row[place] for row in found]) for place in (1, 2, 3))
    hidden: dict[str, Any] = {"mode": "lines", "line": {"width": 0}, "hoverinfo": "skip"}
    yield {"x": epochs, "y": low, "showlegend": False, **hidden}
    yield {"x": epochs, "y": high, "fill": "tonexty", "fillcolor": BAND, "name": "middle half", **hidden}
    yield {"x": epochs, "y": median, "mode": "lines", "name": "median", "hoverinfo": "skip",
           "line": {"color": "#6b7280", "dash": "dash", "width": 1.5}}  # fmt: skip


def _menu(trials: Sequence[TrialRecord], varied: Sequence[str], lines: int) -> dict[str, Any]:
    """A menu that colours the curves by a setting; `trials` are in the order of their curves."""
    plain_colours = [OTHERS] * (lines - 1) + [BEST]
    choices = [("rank", plain_colours)]
    choices += [(name, colours([plain(value_of(one, name)) for one in trials])) for name in varied]
    buttons = [
        {"label": f"colour: {name}", "method": "restyle", "args": [{"line.color": found}, list(range(lines))]}
        for name, found in choices
    ]
    return {"buttons": buttons, "x": 1.0, "xanchor": "right", "y": 1.02, "yanchor": "bottom", "pad": {"t": 0, "r": 0}}


def rounded(values: Sequence[float]) -> list[float]:
    """Five digits: enough for a screen, and a smaller page."""
    return [float(f"{value:.5g}") for value in values]
