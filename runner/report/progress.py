"""Figures of a sweep's progress: the best so far, and learning curves."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from runner.errors import NothingToShowError
from runner.journal import TrialRecord
from runner.report.data import Curve, SweepData, label_of, time_unit, value_of
from runner.report.study import plain
from runner.report.style import BAND, BEST, FAINT, OTHERS, PALETTE, colours, styled
from runner.review.tables import readable

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

MOST_CURVES, MOST_POINTS = 200, 200
_LEAST_FOR_BAND = 3  # trials
_MANY = 60  # curves, which would hide each other


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
    unit, divisor = time_unit(seconds[-1])
    times = [second / divisor for second in seconds]
    varied, figure = data.varied(), go.Figure()
    figure.add_scatter(
        x=rounded(times), y=rounded([data.score(one) or 0.0 for one in ended]), mode="markers", name="trials",
        text=[f"{one.id} · {one.cause or one.status}<br>{label_of(one, varied)}" for one in ended],
        marker={"color": OTHERS, "size": 7,
                "symbol": ["circle" if one.status == "complete" else "x-thin-open" for one in ended]},
        hovertemplate=f"%{{text}}<br>{data.metric} %{{y}}<br>after %{{x}} {unit}<extra></extra>",
    )  # fmt: skip
    for place, member in enumerate(data.members):  # scores of members do not compare
        own = [(time, data.score(one) or 0.0) for time, one in zip(times, ended, strict=True) if one.member == member]
        best = data.best_so_far(score for _, score in own)
        figure.add_scatter(
            x=rounded([*(time for time, _ in own), *times[-1:]]), y=rounded([*best, *best[-1:]]), mode="lines",
            line={"color": PALETTE[place % len(PALETTE)] if place else BEST, "shape": "hv"}, hoverinfo="skip",
            name=f"best so far, {member}" if len(data.members) > 1 else "best so far",
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
    varied, figure, leaders = data.varied(), go.Figure(), data.review.leaders
    drawn.sort(key=lambda one: one not in leaders)
    faint = OTHERS if len(drawn) < _MANY else FAINT
    for trial in reversed(drawn):  # the best is drawn last, over the others
        figure.add_scatter(**_curve(data, trial, varied, is_best=trial in leaders, faint=faint))
    if len(data.members) == 1:  # values of members do not compare
        for band in _band(data):
            figure.add_scatter(**band)
    for rung in data.rungs:
        figure.add_vline(x=rung, line={"color": OTHERS, "dash": "dot", "width": 1})
    choices = {name: [plain(value_of(one, name)) for one in drawn[::-1]] for name in varied}
    if len(data.members) > 1:
        choices = {"member": [one.member for one in drawn[::-1]], **choices}
    if choices:
        figure.update_layout(updatemenus=[_menu(choices, [trace.line.color for trace in figure.data[: len(drawn)]])])
    return styled(figure, x="epoch", y=data.metric)


def schedules(data: SweepData) -> Figure:
    """The values of parameters that have changed while trials were trained, by epoch; a menu chooses the parameter.

    Raises:
        NothingToShowError: none has changed.
    """
    import plotly.graph_objects as go

    if not data.schedules:
        raise NothingToShowError("no parameter has changed while a trial was trained")
    figure, owners, leaders = go.Figure(), list[str](), data.review.leaders
    first, dimensions = next(iter(data.schedules)), data.dimensions[data.members[0]]
    for name, found in data.schedules.items():
        for trial in sorted(drawn_trials(data), key=lambda one: one in leaders):  # the best is drawn last
            points = found.get(trial.id) or _constant(trial, name)
            if not points:
                continue
            epochs, values = zip(*thinned(points), (trial.epochs, points[-1][1]), strict=True)
            line = {"color": BEST, "width": 3} if trial in leaders else {"color": OTHERS, "width": 1}
            figure.add_scatter(
                x=epochs, y=rounded(values), mode="lines", line=line, name=trial.id, visible=name == first,
                hovertemplate=f"{trial.id}<br>epoch %{{x}}: %{{y}}<extra></extra>",
            )  # fmt: skip
            owners.append(name)
    kinds = {name: "log" if getattr(dimensions.get(name), "log", False) else "linear" for name in data.schedules}
    buttons = [
        {"label": name, "method": "update",
         "args": [{"visible": [owner == name for owner in owners]}, {"yaxis.type": kind, "yaxis.title.text": name}]}
        for name, kind in kinds.items()
    ]  # fmt: skip
    menu = {"buttons": buttons, "x": 1.0, "xanchor": "right", "y": 1.02, "yanchor": "bottom", "pad": {"t": 0, "r": 0}}
    figure.update_layout(showlegend=False, updatemenus=[menu] if len(buttons) > 1 else [])
    figure.update_yaxes(type=kinds[first])
    return styled(figure, x="epoch", y=first)


def _constant(trial: TrialRecord, name: str) -> Curve:
    """The schedule of a number that has not changed."""
    value = value_of(trial, name)
    return ((1, float(value)),) if isinstance(value, int | float) and trial.epochs else ()


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


def _curve(data: SweepData, trial: TrialRecord, varied: Sequence[str], *, is_best: bool, faint: str) -> dict[str, Any]:
    points = thinned(data.curves[trial.id])
    ends = [""] * (len(points) - 1) + ["x" if trial.status in ("stopped", "failed") else ""]
    score = readable(data.score(trial))
    return {
        "x": [epoch for epoch, _ in points],
        "y": rounded([value for _, value in points]),
        "mode": "lines+markers",
        "line": {"color": BEST if is_best else faint, "width": 3 if is_best else 1},
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


def _menu(choices: Mapping[str, Sequence[object]], plain_colours: Sequence[str]) -> dict[str, Any]:
    """A menu that colours the curves by their values of a setting."""
    found = {"rank": plain_colours, **{name: colours(values) for name, values in choices.items()}}
    buttons = [
        {"label": f"colour: {name}", "method": "restyle", "args": [{"line.color": list(of)}, list(range(len(of)))]}
        for name, of in found.items()
    ]
    return {"buttons": buttons, "x": 1.0, "xanchor": "right", "y": 1.02, "yanchor": "bottom", "pad": {"t": 0, "r": 0}}


def rounded(values: Sequence[float]) -> list[float]:
    """Five digits: enough for a screen, and a smaller page."""
    return [float(f"{value:.5g}") for value in values]
