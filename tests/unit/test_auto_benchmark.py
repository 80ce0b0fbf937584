"""The benchmark of `auto`: ratios of alternating runs with their intervals, and what they show."""

from __future__ import annotations

from typing import Any

import pytest

from benchmarks.auto import AUTO, OTHERS, better, cases, other_losses, table
from benchmarks.paired import ratio


def test_a_ratio_has_the_interval_of_student_of_its_logarithms() -> None:
    found = ratio([2.0, 8.0], [2.0, 2.0])
    assert found.mean == pytest.approx(2)
    assert found.high / found.mean == pytest.approx(2**12.7062, rel=1e-3), "t of one degree of freedom"
    assert found.mean / found.low == pytest.approx(found.high / found.mean)
    assert found.pairs == 2
    with pytest.raises(ValueError, match="1 pairs have no confidence interval"):
        ratio([1.0], [1.0])


@pytest.mark.parametrize(
    ("seconds", "verdict"),
    [
        ([1.1, 1.11, 1.09], "significantly slower"),
        ([0.8, 0.81, 0.79], "significantly faster"),
        ([0.8, 1.2, 1.1], "no significant difference"),
    ],
)
def test_a_verdict_needs_all_of_the_interval(seconds: list[float], verdict: str) -> None:
    assert ratio(seconds, [1.0, 1.0, 1.0]).verdict == verdict


def rows(**seconds: list[float]) -> list[dict[str, Any]]:
    """Runs of W1; the first of each is an outlier."""
    notes = {"stack": 8, "compile": "xla", "slots": 2}
    names = dict(zip(seconds, (AUTO, *OTHERS), strict=True))
    return [
        {"group": "W1", "name": names[key], "repeat": i, "seconds": one, "losses": [[1.0, 0.5]], "notes": notes}
        for key, of in seconds.items()
        for i, one in enumerate([99.0, *of])
    ]


def test_auto_is_compared_with_the_faster_of_the_others_without_first_runs() -> None:
    found = rows(auto=[10.0, 10.1, 9.9], processes=[20.0, 20.0, 20.0], turns=[9.0, 9.0, 9.0])
    name, against = better(found, "W1")
    assert name == "turns in one"
    assert against.mean == pytest.approx(10 / 9, rel=1e-3)
    assert table(found).splitlines()[-1].endswith("| turns in one: significantly slower |")
    assert "| W1 | 16 | stacks of 8, 2 workers (3 of 3) | 0.50 (" in table(found)


def test_runs_with_other_losses_are_named() -> None:
    found = rows(auto=[1.0, 1.0], processes=[1.0, 1.0], turns=[1.0, 1.0])
    assert other_losses(found) == []
    found[1]["losses"] = [[1.0, 0.9]]
    assert other_losses(found) == ["W1 auto, run 1: loss 0.9, usually 0.5"]


def test_the_three_sweeps_of_a_workload_alternate() -> None:
    assert [(one.group, one.name) for one in cases(["W2"])] == [("W2", name) for name in (AUTO, *OTHERS)]
