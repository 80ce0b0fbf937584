"""Compares two programs by runs that alternate. Pure arithmetic."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

Verdict = Literal["significantly slower", "significantly faster", "no significant difference"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Ratio:
    """The time of one program as a multiple of another's.

    Args:
        mean: geometric mean over the pairs.
        low: lower end of the confidence interval.
        high: upper end.
        pairs: their number.
    """

    mean: float
    low: float
    high: float
    pairs: int

    @property
    def verdict(self) -> Verdict:
        """What the interval shows; slower if all of it is above 1."""
        if self.low > 1:
            return "significantly slower"
        return "significantly faster" if self.high < 1 else "no significant difference"


def ratio(seconds: Sequence[float], others: Sequence[float], level: float = 0.95) -> Ratio:
    """The ratio of paired times with Student's confidence interval of its logarithm.

    Args:
        seconds: of each run.
        others: of the other program's run beside it.
        level: of the interval.

    Raises:
        ValueError: fewer than two pairs, which have no spread.
    """
    from scipy import stats

    logs = [math.log(one / other) for one, other in zip(seconds, others, strict=True)]
    if len(logs) < 2:
        raise ValueError(f"{len(logs)} pairs have no confidence interval; at least two are needed")
    mean = statistics.mean(logs)
    spread = statistics.stdev(logs) / math.sqrt(len(logs)) * float(stats.t.ppf((1 + level) / 2, len(logs) - 1))
    return Ratio(mean=math.exp(mean), low=math.exp(mean - spread), high=math.exp(mean + spread), pairs=len(logs))
