"""Figures of what a sweep cost: slots over time, throughput, memory, and where time went."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from runner.errors import NothingToShowError
from runner.journal import TurnRow
from runner.report.data import SweepData, time_unit
from runner.report.progress import rounded
from runner.report.style import BEST, OTHERS, PALETTE, styled
from runner.review.tables import readable

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

MOST_BARS = 1500  # of the timeline; more would take a browser seconds to draw
_BINS = 120
_CLOSE_S = 0.02  # turns of one trial that are this near are drawn as one, as a part of the sweep's time


def timeline(data: SweepData) -> Figure:
    """Which trial held which slot, and when.

    Raises:
        NothingToShowError: no trial has had a turn.
    """
    import plotly.graph_objects as go

    began_s = _begin(data)
    figure, spans = go.Figure(), _spans(data)
    unit, divisor = time_unit(max(end for *_, end in spans) - began_s)
    scores = {trial.id: readable(data.score(trial)) for trial in data.review.trials}
    order = {trial.id: place for place, trial in enumerate(data.review.trials)}
    figure.add_bar(
        x=rounded([(end - start) / divisor for _, _, start, end in spans]),
        base=rounded([(start - began_s) / divisor for _, _, start, _ in spans]),
        y=[f"slot {slot}" for _, slot, _, _ in spans],
        orientation="h",
        marker={"color": [PALETTE[order[trial] % len(PALETTE)] for trial, *_ in spans], "line": {"width": 0}},
        text=[f"trial {trial} · score {scores[trial]}<br>{(start - began_s) / divisor:.1f} to "
              f"{(end - began_s) / divisor:.1f} {unit}" for trial, _, start, end in spans],
        textposition="none", hovertemplate="%{text}<extra></extra>",
    )  # fmt: skip
    figure.update_layout(bargap=0.3)
    figure.update_yaxes(autorange="reversed")
    return styled(figure, x=f"{unit} since the sweep began", height=140 + 28 * len({slot for _, slot, *_ in spans}))


def throughput(data: SweepData) -> Figure:
    """Optimizer steps a second of all trials together.

    Raises:
        NothingToShowError: no trial has had a turn.
    """
    import plotly.graph_objects as go

    began_s, steps = _begin(data), list(_steps(data.turns))
    end_s = max(end for _, end, _ in steps)
    width = max((end_s - began_s) / _BINS, 1e-3)
    rates = [0.0] * (_BINS + 1)
    for start, end, count in steps:
        first, last = int((start - began_s) / width), int((end - began_s) / width)
        for place in range(first, last + 1):
            inside = min(end, began_s + (place + 1) * width) - max(start, began_s + place * width)
            rates[min(place, _BINS)] += count * max(inside, 0.0) / max(end - start, 1e-6) / width
    figure, (unit, divisor) = go.Figure(), time_unit(end_s - began_s)
    figure.add_scatter(
        x=rounded([place * width / divisor for place in range(_BINS + 1)]), y=[float(f"{rate:.4g}") for rate in rates],
        mode="lines", fill="tozeroy", line={"color": BEST, "shape": "hv"},
        hovertemplate="%{y:.0f} steps/s<extra></extra>",
    )  # fmt: skip
    return styled(figure, x=f"{unit} since the sweep began", y="steps/s", height=260)


def memory(data: SweepData) -> Figure:
    """Each slot's peak of memory, beside its share.

    On a GPU it is that of TensorFlow's allocator, else the resident memory of the process.

    Raises:
        NothingToShowError: no trial has had a turn.
    """
    import plotly.graph_objects as go

    _begin(data)
    on_gpu = any(row.turn.gpu_memory_mib for row in data.turns)
    peaks: dict[int, float] = {}
    for row in data.turns:
        peak = row.turn.gpu_memory_mib if on_gpu else row.turn.memory_mib
        peaks[row.slot] = max(peaks.get(row.slot, 0.0), peak)
    limits = {trial.slot: trial.allocation.memory_limit_mib for trial in data.review.trials if trial.allocation}
    slots = sorted(peaks)
    names = [f"slot {slot}" for slot in slots]
    figure = go.Figure()
    figure.add_bar(x=[round(peaks[slot]) for slot in slots], y=names, orientation="h", name="peak",
                   marker={"color": BEST}, hovertemplate="%{x} MiB<extra></extra>")  # fmt: skip
    if any(limits.get(slot) for slot in slots):
        figure.add_scatter(x=[limits.get(slot) for slot in slots], y=names, mode="markers", name="share",
                           marker={"symbol": "line-ns-open", "size": 22, "color": OTHERS, "line": {"width": 3}},
                           hovertemplate="share %{x} MiB<extra></extra>")  # fmt: skip
    what = "MiB of TensorFlow's allocator" if on_gpu else "MiB of the process, TensorFlow's own included"
    figure.update_yaxes(autorange="reversed")
    return styled(figure, x=what, height=140 + 28 * len(slots))


def times(data: SweepData) -> Figure:
    """What the slots' time was spent on.

    Raises:
        NothingToShowError: no trial has had a turn.
    """
    import plotly.graph_objects as go

    found, slots = data.overheads, len({row.slot for row in data.turns})
    if found is None:
        raise NothingToShowError("no trial has had a turn")
    turns = [row.turn for row in data.turns]
    parts = {
        "training": sum(turn.compute_s for turn in turns),
        "validation": sum(turn.evaluate_s for turn in turns),
        "building and tracing": found.seat_s,
        "exchanging models": found.swap_s,
        "waiting for other slots": found.wait_s,
        "journal": found.log_s * slots,
        "starting": found.startup_s * slots,
    }
    rest = (found.startup_s + found.training_s) * slots - sum(parts.values())
    parts["idle and export"] = max(rest, 0.0)
    known = {name: seconds for name, seconds in parts.items() if seconds >= 0.005}
    whole = sum(known.values())
    figure = go.Figure()
    figure.add_bar(
        x=[round(seconds, 3) for seconds in known.values()], y=list(known), orientation="h", marker={"color": BEST},
        text=[f"{seconds:.1f} s, {seconds / whole:.0%}" for seconds in known.values()], textposition="auto",
        hovertemplate="%{y}: %{x:.1f} s<extra></extra>",
    )  # fmt: skip
    figure.update_yaxes(autorange="reversed")
    return styled(figure, x=f"seconds of {slots} slot{'s' if slots != 1 else ''} together", height=320)


def _begin(data: SweepData) -> float:
    """When the sweep began, in seconds since the epoch.

    Raises:
        NothingToShowError: no trial has had a turn.
    """
    if not data.turns:
        raise NothingToShowError("no trial has had a turn")
    return data.review.sweep.created_ms / 1000


def _spans(data: SweepData) -> list[tuple[str, int, float, float]]:
    """Trial, slot, start and end of turns; those that follow each other closely are one."""
    turns = sorted(data.turns, key=lambda row: (row.slot, row.turn.started_s))
    whole_s = max(row.turn.ended_s for row in turns) - data.review.sweep.created_ms / 1000
    close_s = whole_s * _CLOSE_S / 10
    while True:
        spans: list[tuple[str, int, float, float]] = []
        for row in turns:
            start, end = row.turn.started_s - row.turn.seat_s, row.turn.ended_s
            if spans and spans[-1][:2] == (row.trial, row.slot) and start - spans[-1][3] <= close_s:
                spans[-1] = (row.trial, row.slot, spans[-1][2], end)
            else:
                spans.append((row.trial, row.slot, start, end))
        if len(spans) <= MOST_BARS or close_s > whole_s:
            return spans[:MOST_BARS]
        close_s *= 2


def _steps(turns: Iterable[TurnRow]) -> Iterable[tuple[float, float, int]]:
    """Start, end and optimizer steps of each turn."""
    before: dict[str, int] = {}
    for row in turns:
        yield row.turn.started_s, row.turn.ended_s, max(row.step - before.get(row.trial, 0), 0)
        before[row.trial] = row.step
