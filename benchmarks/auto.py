"""Whether `auto` is ever slower than the better of two processes and of turns in one, for whole sweeps on a CPU.

    python -m benchmarks.auto [--repeats 5] [--workload W1] [--out DIR]

Three sweeps of a workload alternate: all of `resources` left to `auto`, stacks too; `max_concurrent=2`; and one worker
in which all trials take turns; the last two without stacks. Their time is that from workers which are there to the last
exported model, with the runner's check, what `auto` measures, and the journal. The first run of each is left out, since
it compares graph and XLA for all later ones. A result is a ratio of times with its confidence interval of 95 %.
"""

from __future__ import annotations

import json
import os
import statistics
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from benchmarks.cases import Case
from benchmarks.measure import Row, measure
from benchmarks.paired import Ratio, ratio
from benchmarks.workloads import WORKLOADS

AUTO, OTHERS = "auto", ("two processes", "turns in one")
SIZES = {"W1": (16, 40), "W2": (8, 6), "W3": (6, 1)}
"""Models and epochs: half a minute of training on two cores, so that it pays to measure stacks."""


@click.command()
@click.option("--repeats", type=click.IntRange(2), default=5, show_default=True, help="Of each sweep, after the first.")
@click.option("--workload", "workloads", multiple=True, type=click.Choice(tuple(SIZES)), help="Only this; repeatable.")
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), help="Folder for auto.json; none for no file.")
def main(repeats: int, workloads: tuple[str, ...], out: Path | None) -> None:
    """Compares `auto` with both other ways to train a sweep."""
    rows: list[Row] = []
    for row in measure(cases(workloads or tuple(SIZES)), repeats + 1, click.echo):
        rows.append(row)
        if out is not None:
            out.mkdir(parents=True, exist_ok=True)
            (out / "auto.json").write_text(json.dumps({"load": os.getloadavg(), "rows": rows}, indent=1) + "\n")
    load = ", ".join(f"{one:.1f}" for one in os.getloadavg())
    click.echo(f"\n{table(rows)}\n\n{repeats} pairs of each; load average at the end {load}, {os.cpu_count()} CPUs")
    if slower := [name for name in workloads or SIZES if better(rows, name)[1].verdict == "significantly slower"]:
        raise click.ClickException(f"auto is significantly slower for {', '.join(slower)}")


def cases(workloads: Sequence[str]) -> list[Case]:
    """The sweeps of these workloads."""
    return [
        Case(
            group=workload, name=name, models=models, epochs=epochs,
            command=("-m", "benchmarks.one", "train", workload, name, str(models), str(epochs)),
        )
        for workload in workloads
        for name in (AUTO, *OTHERS)
        for models, epochs in [SIZES[workload]]
    ]  # fmt: skip


def table(rows: Sequence[Row]) -> str:
    """A line for each workload: what `auto` chose, and its time as a multiple of both others'."""
    lines = [
        f"| workload | trials | `auto` chose | auto / {OTHERS[0]} | auto / {OTHERS[1]} | against the better one |",
        "|---|---|---|---|---|---|",
    ]
    for workload in dict.fromkeys(row["group"] for row in rows):
        ratios = [shown(against(rows, workload, other)) for other in OTHERS]
        name, found = better(rows, workload)
        cells = (workload, SIZES[workload][0], choice(rows, workload), *ratios, f"{name}: {found.verdict}")
        lines.append("| " + " | ".join(map(str, cells)) + " |")
    lines += [f"- {problem}" for problem in other_losses(rows)]
    return "\n".join(lines)


def better(rows: Sequence[Row], workload: str) -> tuple[str, Ratio]:
    """The faster of the others by its mean, and `auto` against it."""
    name = min(OTHERS, key=lambda other: statistics.geometric_mean(seconds(rows, workload, other)))
    return name, against(rows, workload, name)


def against(rows: Sequence[Row], workload: str, other: str) -> Ratio:
    """The time of `auto` as a multiple of another's."""
    return ratio(seconds(rows, workload, AUTO), seconds(rows, workload, other))


def seconds(rows: Sequence[Row], workload: str, name: str) -> list[float]:
    """The times of a sweep, without its first run."""
    return [row["seconds"] for row in rows if (row["group"], row["name"]) == (workload, name) and row["repeat"] > 0]


def choice(rows: Sequence[Row], workload: str) -> str:
    """What `auto` chose in its runs."""
    mine = [row["notes"] for row in rows if (row["group"], row["name"]) == (workload, AUTO) and row["repeat"] > 0]
    return "; ".join(f"{words} ({count} of {len(mine)})" for words, count in Counter(map(_words, mine)).items())


def _words(notes: Mapping[str, Any]) -> str:
    stack = f"stacks of {notes['stack']}" if notes["stack"] > 1 else f"no stacks, {notes['compile']}"
    return f"{stack}, {notes['slots']} workers"


def shown(found: Ratio) -> str:
    """As in the table."""
    return f"{found.mean:.2f} ({found.low:.2f} to {found.high:.2f})"


def other_losses(rows: Sequence[Row]) -> list[str]:
    """Describes runs whose mean final loss differs from the median of all of their workload: they did other work."""
    problems = []
    for workload in dict.fromkeys(row["group"] for row in rows):
        found = {
            (row["name"], row["repeat"]): statistics.mean(curve[-1] for curve in row["losses"])
            for row in rows
            if row["group"] == workload
        }
        usual = statistics.median(found.values())
        problems += [
            f"{workload} {name}, run {repeat}: loss {loss:.4g}, usually {usual:.4g}"
            for (name, repeat), loss in found.items()
            if not abs(loss - usual) <= WORKLOADS[workload].tolerance * usual
        ]
    return problems


if __name__ == "__main__":
    main()
