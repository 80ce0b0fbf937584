"""Computes ratios from runs and compares them with their targets."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from benchmarks.measure import Row
from benchmarks.programs import EPOCHS
from benchmarks.workloads import WORKLOADS


@dataclass(frozen=True, kw_only=True, slots=True)
class Target:
    """A performance target.

    Args:
        name: name in the report.
        limit: the median of the values must reach it.
        at_least: True if more is better.
        values: computes the values from the runs; empty if not measured.
        rough: limit for one run on a busy machine, loose enough that noise does not miss it; None for `limit`.
    """

    name: str
    limit: float
    values: Callable[[Sequence[Row]], list[float]]
    at_least: bool = True
    rough: float | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """A target and its measured values."""

    name: str
    limit: float
    at_least: bool
    values: list[float] = field(default_factory=list)

    @property
    def median(self) -> float:
        """The median of all repeats."""
        return statistics.median(self.values)

    @property
    def met(self) -> bool:
        """Whether the median meets the limit."""
        return self.median >= self.limit if self.at_least else self.median <= self.limit


def rate(row: Row, clock: str = "seconds") -> float:
    """Returns model-steps per second by the given clock, or by `seconds` if the run lacks it."""
    return float(row["steps"] / (row[clock] if row.get(clock) is not None else row["seconds"]))


def faster(
    group: str, models: int, than: Sequence[str], clock: str = "seconds"
) -> Callable[[Sequence[Row]], list[float]]:
    """Computes the runner's rate as a multiple of the best contestant's, in each repeat.

    A contestant that lacks a repeat counts with the median of its runs.
    """

    def values(rows: Sequence[Row]) -> list[float]:
        others = [[r for r in rows if (r["group"], r["name"]) == (group, name)] for name in than]
        rates = [{r["repeat"]: rate(r, clock) for r in runs} for runs in others if runs]
        if not rates:
            return []
        return [
            rate(row, clock) / max(of.get(row["repeat"], statistics.median(of.values())) for of in rates)
            for row in _of(rows, group, "runner", models)
        ]

    return values


def sooner(than: str) -> Callable[[Sequence[Row]], list[float]]:
    """Computes how many times longer another contestant needs for the whole sweep."""

    def values(rows: Sequence[Row]) -> list[float]:
        ours = {row["repeat"]: row["wall_s"] for row in _of(rows, "W7", "runner", 16)}
        theirs = {row["repeat"]: row["wall_s"] for row in _of(rows, "W7", than, 16)}
        return [theirs[repeat] / ours[repeat] for repeat in ours if repeat in theirs]

    return values


def number(group: str, name: str) -> Callable[[Sequence[Row]], list[float]]:
    """Reads a number that a part of the runner prints."""
    return lambda rows: [row[name] for row in rows if row["group"] == group and name in row]


_ACCURACY_TOLERANCE = 0.01  # for the mean of 16 trials
_TUNED = ("tuned fit", "tuned fit, XLA")
_ALL_OTHERS = ("fit", *_TUNED, "interleaved", "processes", "processes, XLA")


def _bounds(group: str, models: int, fit: float, tuned: float, best: float | None) -> list[Target]:
    found = [
        Target(name=f"{group}, K={models}: × default `fit`", limit=fit, values=faster(group, models, ["fit"])),
        Target(
            name=f"{group}, K={models}: × tuned `fit`",
            limit=tuned,
            values=faster(group, models, _TUNED),
            rough=0.7 * tuned,
        ),
    ]
    if best is not None:
        found.append(
            Target(name=f"{group}, K={models}: × best baseline", limit=best, values=faster(group, models, _ALL_OTHERS))
        )
    return found


TARGETS = (
    Target(name="W1, K=8: × default `fit`", limit=30, values=faster("W1", 8, ["fit"]), rough=12),
    Target(name="W1, K=8: × tuned `fit`", limit=8, values=faster("W1", 8, _TUNED), rough=4),
    Target(name="W1, K=8: × Ray Tune", limit=15, values=faster("W1", 8, ["Ray Tune"], "total_s")),
    *_bounds("W2", 2, 3, 1.3, None),
    *_bounds("W3", 2, 1.0, 1.0, 0.97),
    *_bounds("W4", 2, 1.0, 1.0, 0.97),
    *_bounds("W8", 3, 1.5, 1.5, 0.97),
    Target(name="W7, whole sweep: × faster than default `fit`", limit=5, values=sooner("fit")),
    Target(name="W7, whole sweep: × faster than tuned `fit`", limit=3.5, values=sooner("tuned fit")),
    Target(name="W7, whole sweep: × faster than Ray Tune", limit=8, values=sooner("Ray Tune")),
    Target(name="lockstep tax", limit=0.03, at_least=False, values=number("barrier", "tax"), rough=0.15),
    Target(name="logging tax at 200 rows/s", limit=0.02, at_least=False, values=number("logging", "tax")),
    Target(name="rows/s into idle MLflow", limit=5000, values=number("logging", "idle_rows_per_s")),
    Target(
        name="start to first round / sum of its parts", limit=1.25, at_least=False, values=number("startup", "ratio")
    ),
    Target(name="copies of a 1 GB array", limit=1.1, at_least=False, values=number("memory", "copies")),
    Target(
        name="control of a round at K=16, ms",
        limit=20,
        at_least=False,
        values=number("control", "round_ms_16"),
        rough=60,
    ),
    Target(
        name="growth of control from K=16 to 128",
        limit=1.25,
        at_least=False,
        values=number("control", "growth_16_to_128"),
    ),
    Target(
        name="swapping, share of turns (W1)", limit=0.05, at_least=False, values=number("rotation", "swap_share_W1")
    ),
    Target(
        name="swapping, share of turns (W2)", limit=0.05, at_least=False, values=number("rotation", "swap_share_W2")
    ),
    Target(name="turns / one after another (MLP)", limit=1.05, at_least=False, values=number("turns", "ratio_W1")),
    Target(name="turns / one after another (CNN)", limit=1.05, at_least=False, values=number("turns", "ratio_W3")),
    Target(name="swapping, share of turns (MLP)", limit=0.02, at_least=False, values=number("turns", "swap_share_W1")),
    Target(name="swapping, share of turns (CNN)", limit=0.02, at_least=False, values=number("turns", "swap_share_W3")),
)


def findings(rows: Sequence[Row], rough: bool = False) -> list[Finding]:
    """Returns a finding for every target that was measured."""
    found = []
    for target in TARGETS:
        limit = target.rough if rough and target.rough is not None else target.limit
        if values := target.values(rows):
            found.append(Finding(name=target.name, limit=limit, at_least=target.at_least, values=values))
    return found


def parity_problems(rows: Sequence[Row]) -> list[str]:
    """Describes runs that did different work from the rest.

    Their final loss differs from that of `fit` after as many epochs, or there is no `fit` to compare with. In W7 their
    mean accuracy differs, or MLflow lacks epochs.
    """
    return [*_other_losses(rows), *_other_sweeps([row for row in rows if row["group"] == "W7"])]


def _other_sweeps(rows: Sequence[Row]) -> list[str]:
    reference = [statistics.mean(row["accuracies"]) for row in rows if row["name"] in ("fit", "tuned fit")]
    problems = []
    for row in rows:
        what = f"W7 {row['name']}, run {row['repeat']}"
        if (len(row["accuracies"]), row["metric_rows"]) != (row["models"], row["models"] * EPOCHS):
            problems.append(f"{what}: {len(row['accuracies'])} trials with {row['metric_rows']} epochs in MLflow")
        elif not reference:
            problems.append(f"{what}: no `fit` to compare it with")
        elif not abs(statistics.mean(row["accuracies"]) - statistics.mean(reference)) <= _ACCURACY_TOLERANCE:
            accuracy, expected = statistics.mean(row["accuracies"]), statistics.mean(reference)
            problems.append(f"{what}: mean accuracy {accuracy:.4g}, `fit` has {expected:.4g}")
    return problems


def _other_losses(rows: Sequence[Row]) -> list[str]:
    problems = []
    for group, workload in WORKLOADS.items():
        curves = [row["losses"][0] for row in rows if row["group"] == group and row["name"] in ("fit", "tuned fit")]
        for row in [row for row in rows if row["group"] == group]:
            epochs = row["epochs"]
            reference = [curve[epochs - 1] for curve in curves if len(curve) >= epochs]
            if not reference:
                problems.append(f"{group} {row['name']}: no `fit` of {epochs} epochs to compare it with")
                continue
            loss, expected = statistics.mean(c[-1] for c in row["losses"]), statistics.mean(reference)
            if not abs(loss - expected) <= workload.tolerance * expected:  # also catches NaN
                problems.append(
                    f"{group} {row['name']}: loss {loss:.4g} after {epochs} epochs, `fit` has {expected:.4g}"
                )
    return problems


def _of(rows: Sequence[Row], group: str, name: str, models: int) -> list[dict[str, Any]]:
    return [row for row in rows if (row["group"], row["name"], row["models"]) == (group, name, models)]
