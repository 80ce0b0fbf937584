"""What the figures should come to. Pure arithmetic."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from benchmarks.gpu.cases import Way
from benchmarks.gpu.figures import Row


@dataclass(frozen=True, kw_only=True, slots=True)
class Aim:
    """An aim.

    Args:
        name: for a reader.
        at_least: the least ratio that meets it.
        ratio: computes it; None if a row that it needs was not measured.
    """

    name: str
    at_least: float
    ratio: Callable[[Sequence[Row]], float | None]

    def verdict(self, rows: Sequence[Row]) -> str:
        """One line: the ratio, and whether it meets the aim."""
        ratio = self.ratio(rows)
        if ratio is None:
            return f"{self.name}: not measured (aimed at {self.at_least:g})"
        return (
            f"{self.name}: {ratio:.3g}, aimed at {self.at_least:g}: {'met' if ratio >= self.at_least else '**missed**'}"
        )


def rate(rows: Sequence[Row], workload: str, how: Way, models: int) -> float | None:
    """The median rate of a case; None if it was not measured."""
    return statistics.median(found) if (found := rates(rows, workload, how, models)) else None


def rates(rows: Sequence[Row], workload: str, how: Way, models: int) -> list[float]:
    """The rate of each run of a case."""
    key = (workload, how, models)
    return [
        row["steps_per_s"] for row in rows if "error" not in row and (row["workload"], row["how"], row["models"]) == key
    ]


def against(rows: Sequence[Row], row: tuple[str, Way, int], base: tuple[str, Way, int]) -> float | None:
    """The rate of one case as a multiple of another's."""
    one, other = rate(rows, *row), rate(rows, *base)
    return None if one is None or other is None else one / other


def _against_fit(workload: str, how: Way, models: int) -> Callable[[Sequence[Row]], float | None]:
    return lambda rows: against(rows, (workload, how, models), (workload, "fit", 1))


def _best_against_fit(workload: str) -> Callable[[Sequence[Row]], float | None]:
    ways: tuple[tuple[Way, int], ...] = (
        *(("stacked", models) for models in (8, 64)),
        *(("in turns", models) for models in (8, 64)),
        ("MPS", 8),
    )

    def best(rows: Sequence[Row]) -> float | None:
        found = [against(rows, (workload, how, models), (workload, "fit", 1)) for how, models in ways]
        return max((ratio for ratio in found if ratio is not None), default=None)

    return best


AIMS = (
    Aim(name="W1: 64 in a stack / tuned fit", at_least=20, ratio=_against_fit("W1", "stacked", 64)),
    Aim(
        name="W1: 64 in a stack / 8 processes through MPS",
        at_least=4,
        ratio=lambda rows: against(rows, ("W1", "stacked", 64), ("W1", "MPS", 8)),
    ),
    Aim(name="W3 (CNN): the best way / tuned fit, one after another", at_least=3, ratio=_best_against_fit("W3")),
    Aim(name="W9 (ResNet-18): 2 in turns / tuned fit", at_least=0.95, ratio=_against_fit("W9", "in turns", 2)),
)


def verdicts(rows: Sequence[Row]) -> list[str]:
    """A line for each aim."""
    return [aim.verdict(rows) for aim in AIMS]
