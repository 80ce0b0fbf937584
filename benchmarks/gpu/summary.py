"""The results as JSON and as a page that can be pasted into the documentation."""

from __future__ import annotations

import json
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.gpu.aims import against, verdicts
from benchmarks.gpu.cases import WAYS
from benchmarks.gpu.figures import Row
from benchmarks.gpu.measuring import Skipped
from benchmarks.workloads import WORKLOADS

MODELS = {
    "W1": "MLP 20-64-64-1, batch {batch_size}",
    "W3": "CNN 32-64-64 on 32×32×3, batch {batch_size}",
    "W4": "transformer, 2 layers, width 128, batch {batch_size}",
    "W9": "ResNet-18 on 32×32×3, batch {batch_size}",
}
_HEADER = (
    "| model | K | trained | compiled | model-steps/s | × tuned fit | GPU peak, MiB | mJ a model-step | start, s |",
    "|---|---|---|---|---|---|---|---|---|",
)


def write(folder: Path, about: Mapping[str, Any], rows: Sequence[Row], skipped: Sequence[Skipped]) -> tuple[Path, Path]:
    """Writes `gpu.json` and `gpu.md`, and returns both.

    Args:
        folder: for both files; it is made.
        about: the machine and the versions; `on_cpu` marks a rehearsal.
        rows: measured so far.
        skipped: not measured.
    """
    folder.mkdir(parents=True, exist_ok=True)
    content = {
        **about,
        "rows": list(rows),
        "skipped": [asdict(one) for one in skipped],
        "aims": [] if about["on_cpu"] else verdicts(rows),
    }
    as_json, page = folder / "gpu.json", folder / "gpu.md"
    as_json.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    page.write_text(markdown(about, rows, skipped), encoding="utf-8")
    return as_json, page


def markdown(about: Mapping[str, Any], rows: Sequence[Row], skipped: Sequence[Skipped]) -> str:
    """The device, the table, the aims, what failed and what was skipped."""
    lines = [_title(about), "", *_HEADER, *_table(rows)]
    lines += ["", *_notes(about, rows)]
    if not about["on_cpu"]:
        lines += ["", "Aims:", "", *(f"- {verdict}" for verdict in verdicts(rows))]
    failed = [row for row in rows if "error" in row]
    if failed:
        lines += ["", "Failed:", "", *(f"- {_label(row)}: {_last_line(row['error'])}" for row in failed)]
    if skipped:
        lines += ["", "Not measured:", "", *(f"- {one.case.label}: {one.why}" for one in skipped)]
    return "\n".join(lines) + "\n"


def _title(about: Mapping[str, Any]) -> str:
    versions = ", ".join(f"{name} {version}" for name, version in about["versions"].items())
    if about["on_cpu"]:
        return f"**Rehearsal on {about['cpus']} CPUs, of small data: these are no figures of a GPU.** {versions}."
    gpu = f"{about['gpu']} ({about['memory_mib']:,} MiB, driver {about['driver']}), {about['cpus']} CPUs"
    return f"On one {gpu}; {versions}. {about['date']}."


def _table(rows: Sequence[Row]) -> list[str]:
    groups: dict[tuple[str, int, int], list[Row]] = {}
    for row in rows:
        if "error" not in row:
            groups.setdefault((row["workload"], row["models"], WAYS.index(row["how"])), []).append(row)
    return [_line(rows, groups[key]) for key in sorted(groups)]


def _line(rows: Sequence[Row], runs: Sequence[Row]) -> str:
    """A line of the table: medians of the runs of a case."""
    first = runs[0]
    found = [row["steps_per_s"] for row in runs]
    rate = number(statistics.median(found))
    if len(runs) > 1:
        rate += f" ({number(min(found))} to {number(max(found))})"
    ratio = against(rows, (first["workload"], first["how"], first["models"]), (first["workload"], "fit", 1))
    joules = [row["joules_per_step"] for row in runs if row["joules_per_step"] is not None]
    peaks = [row["gpu_peak_mib"] for row in runs if row["gpu_peak_mib"] is not None]
    cells = (
        MODELS[first["workload"]].format(**first),
        first["models"],
        "tuned fit" if first["how"] == "fit" else first["how"],
        ", ".join(dict.fromkeys(row["compile"] for row in runs)),
        rate,
        "" if ratio is None else f"{ratio:.3g}",
        f"{max(peaks):,.0f}" if peaks else "",
        f"{statistics.median(joules) * 1000:.3g}" if joules else "",
        f"{statistics.median([row['start_s'] for row in runs]):.3g}",
    )
    return "| " + " | ".join(map(str, cells)) + " |"


def _notes(about: Mapping[str, Any], rows: Sequence[Row]) -> list[str]:
    seconds = about["seconds"]
    lines = [
        f"Rates of windows of {seconds:g} s or more after everything is compiled, of all models together; of several "
        "runs the median and the range. `fit` trains one model after another, so its rate does not depend on K; of XLA "
        "and graph it has the faster one. *start*: from workers that are there to the first such step, with the check "
        "and the loading of data for all but `fit`, for which it counts for each model again."
    ]
    if not about["on_cpu"] and rows and all(row.get("joules_per_step") is None for row in rows):
        lines.append("This GPU does not count its energy.")
    return lines


def number(value: float) -> str:
    """Three digits, and thousands with commas."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _label(row: Row) -> str:
    return f"{row['workload']} K={row['models']} {row['how']}"


def _last_line(text: str) -> str:
    return next((line.strip() for line in reversed(text.splitlines()) if line.strip()), "no message")


assert set(MODELS) <= set(WORKLOADS)
