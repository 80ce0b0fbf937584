"""Figures for papers, drawn by matplotlib: as bitmaps or vectors, without a browser."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from runner.errors import ConfigError, NothingToShowError
from runner.report import costs
from runner.report.data import SweepData, value_of
from runner.report.progress import drawn_trials, quartiles
from runner.report.settings import most_important, varied_of
from runner.report.study import LEAST_TRIALS, fair_study, importance, without_quotes
from runner.report.style import BEST
from runner.review.tables import readable
from runner.search.optuna_space import quiet

FORMATS = (".png", ".svg", ".pdf")
_GREY, _LIGHT = "#808694", "#c9ccd3"
_SIZE = (4.8, 3.2)  # inches, a column of a paper


def write_plot(data: SweepData, name: str, file: Path, member: str | None = None) -> None:
    """Draws a figure into a file; its suffix says the format.

    Args:
        data: of the sweep.
        name: one of `PLOTS`.
        file: ending with .png, .svg or .pdf; an existing one is replaced.
        member: of a mixed sweep, whose trials a figure of `OF_A_MEMBER` compares.

    Raises:
        ConfigError: there is no such figure, format or member, a mixed sweep's member is not named, or the file cannot
            be written.
        NothingToShowError: the sweep has nothing to show there.
    """
    if name not in PLOTS:
        raise ConfigError(f"figure {name!r}: there is none of this name; there are {', '.join(PLOTS)}")
    if file.suffix.lower() not in FORMATS:
        raise ConfigError(f"{file}: must end with {', '.join(FORMATS)}, which says the format")
    if name in OF_A_MEMBER:
        data = _of_member(data, name, member)
    elif member is not None:
        raise ConfigError(f"member {member!r}: {name} shows all members; leave it out")
    import matplotlib as mpl
    from matplotlib.figure import Figure

    with mpl.rc_context({"axes.spines.top": False, "axes.spines.right": False, "svg.fonttype": "none"}):
        figure = PLOTS[name](data, Figure(figsize=_SIZE, layout="constrained"))
        try:
            figure.savefig(file, dpi=200, bbox_inches="tight")
        except OSError as err:
            raise ConfigError(f"{file}: cannot be written: {err.strerror or err}") from err


def _of_member(data: SweepData, name: str, member: str | None) -> SweepData:
    """The sweep as if it had this member alone, because scores of members do not compare."""
    known = ", ".join(data.members)
    if member is None and len(data.members) > 1:
        raise ConfigError(f"{name}: shows one member of a mixed sweep; name one of {known} (--member, or member=)")
    if member is not None and member not in data.members:
        raise ConfigError(f"member {member!r}: the sweep has none of this name; its members are {known}")
    trials = tuple(one for one in data.review.trials if member in (None, one.member))
    return replace(data, review=replace(data.review, trials=trials))


def _history(data: SweepData, figure: Any) -> Any:
    ended = sorted((one for one in data.scored if one.ended_ms is not None), key=lambda one: one.ended_ms or 0)
    if not ended:
        raise NothingToShowError("no trial has ended with a score")
    scores = [data.score(one) or 0.0 for one in ended]
    best = data.best_so_far(scores)
    axes, numbers = figure.add_subplot(), range(1, len(ended) + 1)
    axes.plot(numbers, scores, "o", color=_LIGHT, markersize=4, label="trials")
    axes.step(numbers, best, where="post", color=BEST, label="best so far")
    axes.legend(frameon=False)
    axes.set(xlabel="trials, in the order in which they ended", ylabel=data.metric)
    return figure


def _curves(data: SweepData, figure: Any) -> Any:
    drawn = [one for one in drawn_trials(data) if data.curves[one.id]]
    if not drawn:
        raise NothingToShowError(f"no trial has a value of {data.metric}")
    axes = figure.add_subplot()
    for trial in reversed(drawn):
        is_best = trial is drawn[0]
        epochs, values = zip(*data.curves[trial.id], strict=True)
        axes.plot(epochs, values, color=BEST if is_best else _LIGHT, linewidth=2 if is_best else 0.6,
                  label=f"best: {trial.id}" if is_best else None)  # fmt: skip
        if trial.status == "stopped":
            axes.plot(epochs[-1:], values[-1:], "x", color=_GREY, markersize=4)
    if band := quartiles(data):
        epochs, low, median, high = zip(*band, strict=True)
        axes.fill_between(epochs, low, high, color=_GREY, alpha=0.15, linewidth=0, label="middle half")
        axes.plot(epochs, median, "--", color=_GREY, linewidth=1, label="median")
    for rung in data.rungs:
        axes.axvline(rung, color=_LIGHT, linestyle=":", linewidth=0.8)
    axes.legend(frameon=False)
    axes.set(xlabel="epoch", ylabel=data.metric)
    return figure


def _importance(data: SweepData, figure: Any) -> Any:
    found = importance(data, data.members[0])
    if found is None:
        raise NothingToShowError(f"it takes {LEAST_TRIALS} trials with different scores, and two parameters that vary")
    axes = figure.add_subplot()
    names = list(found.shares)[::-1]
    bars = axes.barh(names, [100 * found.shares[name] for name in names], color=BEST)
    axes.bar_label(bars, fmt="%.0f %%", padding=3)
    axes.set(xlabel="share of the differences in the score, %", xlim=(0, 110))
    return figure


def _repeats(data: SweepData, figure: Any) -> Any:
    settings = [one for _, one in data.review.by_setting if one.mean is not None]
    if not data.review.has_repeats or not settings:
        raise NothingToShowError("no setting was trained with several seeds or folds")
    axes, names = figure.add_subplot(), data.varied()
    for place, one in enumerate(settings):
        scores = [score for trial in one.trials if (score := data.score(trial)) is not None]
        axes.plot(scores, [place] * len(scores), "o", color=_LIGHT, markersize=4)
        axes.plot([one.mean], [place], "D", color=BEST, markersize=5)
    labels = [" ".join(readable(value_of(one.trials[0], name)) for name in names) for one in settings]
    axes.set_yticks(range(len(settings)), labels)
    axes.invert_yaxis()
    axes.set(xlabel=data.metric, ylabel=", ".join(names))
    return figure


def _by_optuna(draw: str, data: SweepData, most: int | None = None) -> Any:
    """A figure of Optuna's own, which makes its figure by itself."""
    import optuna.visualization.matplotlib as visualization

    member, names = varied_of(data, None)
    wanted = most_important(data, member, names)[:most]
    if most is not None and len(wanted) < most:
        raise NothingToShowError(f"it takes {most} parameters that vary")
    with quiet():
        axes: Any = getattr(visualization, draw)(
            fair_study(data, member, names), params=wanted, target_name=data.metric
        )
    first = axes if hasattr(axes, "figure") else axes.flat[0]
    first.figure.suptitle("")
    for one in first.figure.axes:
        one.set_title("")
        one.set_facecolor("white")
        one.tick_params(axis="x", labelrotation=30 if draw == "plot_contour" else 0)
        ticks = one.get_xticks()
        texts = one.xaxis.get_major_formatter().format_ticks(ticks)
        if (plain_texts := [without_quotes(text) for text in texts]) != texts:
            one.set_xticks(ticks, plain_texts)
    return first.figure


def _as_on_the_page(draw: Callable[[SweepData], Any], data: SweepData, figure: Any) -> Any:
    """One of the figures of costs, whose traces are bars, marks and steps."""
    drawn, axes = draw(data), figure.add_subplot()
    for trace in drawn.data:
        if trace.type == "bar":
            colour, left = trace.marker.color, 0 if trace.base is None else trace.base
            colour = colour if isinstance(colour, str) else list(colour)
            axes.barh(trace.y, trace.x, left=left, color=colour, height=0.7, label=trace.name)
            axes.yaxis.set_inverted(True)
        elif trace.mode == "markers":
            axes.plot(trace.x, trace.y, "|", color=_GREY, markersize=18, markeredgewidth=2, label=trace.name)
        else:
            axes.step(trace.x, trace.y, where="post", color=BEST)
            axes.fill_between(trace.x, trace.y, step="post", color=BEST, alpha=0.15, linewidth=0)
    if len(drawn.data) > 1:
        axes.legend(frameon=False, loc="lower left", bbox_to_anchor=(0, 1), ncols=2)
    axes.set(xlabel=drawn.layout.xaxis.title.text, ylabel=drawn.layout.yaxis.title.text)
    return figure


OF_A_MEMBER = ("importance", "parallel", "slice", "contour")
PLOTS: Mapping[str, Callable[[SweepData, Any], Any]] = {
    "curves": _curves,
    "history": _history,
    "importance": _importance,
    "repeats": _repeats,
    "parallel": lambda data, _: _by_optuna("plot_parallel_coordinate", data),
    "slice": lambda data, _: _by_optuna("plot_slice", data),
    "contour": lambda data, _: _by_optuna("plot_contour", data, most=2),
    "timeline": partial(_as_on_the_page, costs.timeline),
    "throughput": partial(_as_on_the_page, costs.throughput),
    "memory": partial(_as_on_the_page, costs.memory),
    "times": partial(_as_on_the_page, costs.times),
}
