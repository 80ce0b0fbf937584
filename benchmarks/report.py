"""Writes the results as JSON, as Markdown tables and as a plot."""

from __future__ import annotations

import json
import os
import platform
import statistics
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from benchmarks.measure import Row
from benchmarks.ratios import Finding, findings, parity_problems, rate

_PACKAGES = ("tensorflow", "keras", "ray", "mlflow", "keras-tuner", "numpy")


def write(rows: Sequence[Row], folder: Path) -> None:
    """Writes `results.json`, `results.md` and `rates.png`."""
    folder.mkdir(parents=True, exist_ok=True)
    shown = findings(rows)
    content = {"machine": _machine(), "findings": [_plain(f) for f in shown], "runs": [_short(row) for row in rows]}
    (folder / "results.json").write_text(json.dumps(content, indent=1) + "\n")
    (folder / "results.md").write_text(markdown(rows, shown))
    _plot(rows, folder / "rates.png")


def markdown(rows: Sequence[Row], shown: Sequence[Finding]) -> str:
    """Formats the targets, the rates behind them, and the measurements of the runner's parts as Markdown."""
    lines = ["| target | promised | median | range | runs | |", "|---|---|---|---|---|---|"]
    for found in shown:
        low, high = min(found.values), max(found.values)
        sign = "≥" if found.at_least else "≤"
        verdict = "met" if found.met else "**missed**"
        span = f"{low:.3g} to {high:.3g}"
        lines.append(
            f"| {found.name} | {sign} {found.limit:g} | {found.median:.3g} | {span} | {len(found.values)} | {verdict} |"
        )
    lines += ["", "| workload | contestant | K | epochs | median | range | runs |", "|---|---|---|---|---|---|---|"]
    for (group, name, models, epochs), runs in _grouped(rows).items():
        if "steps" in runs[0]:
            values, unit = [rate(row) for row in runs], "model-steps/s"
        elif group == "W7":
            values, unit = [row["wall_s"] for row in runs], "s"
        else:
            continue
        span = (
            f"{min(values):,.4g} to {max(values):,.4g}"
            if max(values) < 1e4
            else f"{min(values):,.0f} to {max(values):,.0f}"
        )
        median = statistics.median(values)
        shown_median = f"{median:,.4g}" if median < 1e4 else f"{median:,.0f}"
        lines.append(
            f"| {group} | {name} | {models} | {epochs or ''} | {shown_median} {unit} | {span} | {len(values)} |"
        )
    lines += ["", "| part | number | median |", "|---|---|---|"]
    for (group, _, _, _), runs in _grouped(rows).items():
        if "steps" not in runs[0] and group != "W7":
            for name in [key for key, value in runs[0].items() if isinstance(value, float) and key != "wall_s"]:
                lines.append(f"| {group} | {name} | {statistics.median(row[name] for row in runs):.4g} |")
    problems = parity_problems(rows)
    lines += ["", "Final losses agree with `fit` in every run." if not problems else "Losses that differ from `fit`:"]
    return "\n".join([*lines, *(f"- {problem}" for problem in problems)]) + "\n"


def _grouped(rows: Sequence[Row]) -> dict[tuple[str, str, int, int], list[Row]]:
    found: dict[tuple[str, str, int, int], list[Row]] = {}
    for row in rows:
        found.setdefault((row["group"], row["name"], row["models"], row["epochs"]), []).append(row)
    return found


def _plain(found: Finding) -> dict[str, Any]:
    return {
        "name": found.name,
        "limit": found.limit,
        "at_least": found.at_least,
        "median": found.median,
        "values": found.values,
        "met": found.met,
    }


def _short(row: Row) -> Row:
    """Reduces the loss curves of a run to their last values, which are enough to check it."""
    return {**row, "losses": [curve[-1] for curve in row["losses"]]} if "losses" in row else row


def _machine() -> dict[str, Any]:
    model = [
        line.partition(":")[2].strip()
        for line in Path("/proc/cpuinfo").read_text().splitlines()
        if "model name" in line
    ]
    versions = {name: version(name) for name in _PACKAGES}
    return {
        "cpu": model[0] if model else platform.processor(),
        "cpus": os.cpu_count(),
        "python": platform.python_version(),
        **versions,
    }


def _plot(rows: Sequence[Row], file: Path) -> None:
    """Plots the rates of W1 to W8 as multiples of the rate of default `fit`."""
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot

    groups = [group for group in dict.fromkeys(row["group"] for row in rows) if group in ("W1", "W2", "W3", "W4", "W8")]
    figure, axes = pyplot.subplots(1, max(1, len(groups)), figsize=(3.4 * max(1, len(groups)), 4), squeeze=False)
    for axis, group in zip(axes[0], groups, strict=False):
        bars = {
            f"{name}, K={models}": statistics.median(rate(row) for row in runs)
            for (of, name, models, _), runs in _grouped(rows).items()
            if of == group
        }
        base = next((value for name, value in bars.items() if name.startswith("fit")), None)
        if base is None:
            continue
        colours = ["tab:blue" if name.startswith("runner") else "tab:gray" for name in bars]
        axis.barh(list(bars), [value / base for value in bars.values()], color=colours)
        axis.invert_yaxis()
        axis.set_title(f"{group}: × default fit")
        axis.tick_params(labelsize=7)
    figure.tight_layout()
    figure.savefig(file, dpi=100)
