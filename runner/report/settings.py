"""Figures of what was searched: which settings are good, and which parameters matter."""

from __future__ import annotations

from typing import TYPE_CHECKING

from runner.errors import NothingToShowError
from runner.report.axes import parallel_axis
from runner.report.data import SweepData, value_of
from runner.report.progress import rounded
from runner.report.study import LEAST_TRIALS, fair_study, importance, plain, without_quotes
from runner.report.style import BEST, OTHERS, styled
from runner.review.tables import readable
from runner.search.optuna_space import quiet

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

_MOST_PARAMETERS = 8  # that fit side by side
_MOST_SETTINGS = 30  # with repeats


def importances(data: SweepData, member: str | None = None) -> Figure:
    """How much of the differences between trials each parameter explains.

    Raises:
        NothingToShowError: fewer than four trials have a score, or fewer than two parameters vary.
    """
    import plotly.graph_objects as go

    found = importance(data, member or data.members[0])
    if found is None:
        raise NothingToShowError(f"it takes {LEAST_TRIALS} trials with different scores, and two parameters that vary")
    names = list(found.shares)[::-1]
    values = [found.shares[name] for name in names]
    figure = go.Figure()
    figure.add_bar(
        x=values, y=names, orientation="h", marker={"color": BEST}, text=[f"{value:.0%}" for value in values],
        textposition="outside", cliponaxis=False, hovertemplate="%{y}: %{x:.1%}<extra></extra>",
    )  # fmt: skip
    figure.update_xaxes(tickformat=".0%", range=[0, 1.08])
    figure.update_layout(bargap=0.5)
    return styled(figure, x="share of the differences in the score", height=120 + 32 * len(names))


def parallel(data: SweepData, member: str | None = None) -> Figure:
    """Each trial as a line through its values of all parameters and its score, which colours it.

    Raises:
        NothingToShowError: nothing varies, or no trial has a score.
    """
    import plotly.graph_objects as go

    member, names = varied_of(data, member)
    trials = [one for one in data.of_member(member) if data.fair_score(one) is not None]
    scores = rounded([data.fair_score(one) or 0.0 for one in trials])
    dimensions = data.dimensions[member]
    axes = [
        parallel_axis(name, [plain(value_of(one, name)) for one in trials], dimensions.get(name))
        for name in most_important(data, member, names)
    ]
    line = {"color": scores, "showscale": True, "reversescale": not data.maximizes,
            "colorbar": {"thickness": 12, "outlinewidth": 0}}  # fmt: skip
    figure = go.Figure(go.Parcoords(dimensions=[*axes, {"label": data.metric, "values": scores}], line=line))
    figure.update_layout(margin={"l": 72, "r": 24, "t": 56, "b": 24})
    return styled(figure, height=400)


def slices(data: SweepData, member: str | None = None) -> Figure:
    """The score over each parameter by itself.

    Raises:
        NothingToShowError: nothing varies, or no trial has a score.
    """
    import optuna

    member, names = varied_of(data, member)
    with quiet():
        figure = optuna.visualization.plot_slice(
            fair_study(data, member, names), params=most_important(data, member, names), target_name=data.metric
        )
    figure.update_layout(width=None)
    for axis in figure.select_xaxes({"type": "log"}):
        axis.dtick = 1  # powers of ten: narrow axes have no room for the digits between them
    for axis in figure.select_xaxes({"type": "category"}):
        axis.categoryarray = [without_quotes(value) for value in axis.categoryarray]
    for trace in figure.data:
        trace.x = [without_quotes(value) for value in trace.x]
    return styled(figure)


def contours(data: SweepData, member: str | None = None) -> Figure:
    """The score over the two parameters that matter most.

    Raises:
        NothingToShowError: fewer than two parameters vary for all trials, or no trial has a score.
    """
    import optuna

    member, names = varied_of(data, member)
    always = [name for name in most_important(data, member, names)
              if all(value_of(one, name) is not None for one in data.of_member(member))]  # fmt: skip
    if len(always) < 2:
        raise NothingToShowError("it takes two parameters that vary")
    with quiet():
        figure = optuna.visualization.plot_contour(
            fair_study(data, member, names), params=always[:2], target_name=data.metric
        )
    return styled(figure, height=420)


def repeats(data: SweepData) -> Figure:
    """The scores of each setting's repeats, and their mean, best first.

    Raises:
        NothingToShowError: no setting was trained with several seeds or folds.
    """
    import plotly.graph_objects as go

    settings = [one for _, one in data.review.by_setting if one.mean is not None][:_MOST_SETTINGS]
    if not data.review.has_repeats or not settings:
        raise NothingToShowError("no setting was trained with several seeds or folds")
    figure, names = go.Figure(), data.varied()
    for place, one in enumerate(settings, 1):
        scores = [score for trial in one.trials if (score := data.score(trial)) is not None]
        first = one.trials[0]
        label = f"{place}. " + " ".join(readable(value_of(first, name)) for name in names)
        told = " ".join(f"{name}={readable(value_of(first, name))}" for name in names)
        hover = f"{told}<br>{data.metric} %{{x}}<extra></extra>"
        figure.add_scatter(x=scores, y=[label] * len(scores), mode="markers", showlegend=place == 1, name="repeats",
                           marker={"color": OTHERS, "size": 8}, hovertemplate=hover)  # fmt: skip
        figure.add_scatter(x=[one.mean], y=[label], mode="markers", showlegend=place == 1, name="mean",
                           marker={"color": BEST, "size": 10, "symbol": "diamond"}, hovertemplate=hover)  # fmt: skip
    figure.update_yaxes(autorange="reversed")
    return styled(figure, x=data.metric, height=140 + 24 * len(settings))


def varied_of(data: SweepData, member: str | None) -> tuple[str, list[str]]:
    """The member, and its parameters that vary.

    Raises:
        NothingToShowError: there is none, or no trial has a score.
    """
    member = member or data.members[0]
    names = data.varied(member)
    if not names:
        raise NothingToShowError("no parameter varies")
    if not any(data.fair_score(one) is not None for one in data.of_member(member)):
        raise NothingToShowError("no trial has a score")
    return member, names


def most_important(data: SweepData, member: str, names: list[str]) -> list[str]:
    """The parameters that matter most first."""
    found = importance(data, member)
    order = [] if found is None else list(found.shares)
    return [*order, *(name for name in names if name not in order)][:_MOST_PARAMETERS]
