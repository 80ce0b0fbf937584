"""Layouts of halving and Hyperband, against published tables."""

from __future__ import annotations

import itertools

import pytest

from runner.driver.plan import PlannedCohort
from runner.search.brackets import (
    Bracket,
    contenders,
    cut,
    full_round,
    halving,
    hyperband,
    rung_epochs,
    survivors_of,
)


@pytest.mark.parametrize(
    ("min_epochs", "max_epochs", "factor", "every", "rungs"),
    [
        (1, 81, 3, 1, (1, 3, 9, 27)),  # Li et al. 2018, Table 1, with the last column being the end of a trial
        (1, 27, 3, 1, (1, 3, 9)),
        (3, 27, 3, 1, (3, 9)),
        (1, 100, 3, 1, (1, 3, 11, 33)),
        (1, 100, 4, 1, (1, 6, 25)),
        (1, 10, 3, 1, (1, 3)),
        (1, 2, 2, 1, (1,)),
        (1, 2, 3, 1, ()),
        (1, 27, 3, 2, (2, 4, 10)),  # moved up to the epochs with a validation
        (1, 4, 2, 4, ()),
    ],
)
def test_rungs_divide_the_epochs_from_the_top(
    min_epochs: int, max_epochs: int, factor: int, every: int, rungs: tuple[int, ...]
) -> None:
    assert rung_epochs(min_epochs, max_epochs, factor, every) == rungs


def test_hyperbands_brackets_are_those_of_the_paper() -> None:
    rungs = rung_epochs(1, 81, 3)
    layout = list(itertools.islice(hyperband(rungs, 3), 5))
    assert [bracket.size for bracket in layout] == [81, 27, 9, 6, 5]
    assert [bracket.rungs for bracket in layout] == [(1, 3, 9, 27), (3, 9, 27), (9, 27), (27,), ()]
    assert full_round(rungs, 3) == 128


def test_hyperband_begins_again_after_its_last_bracket() -> None:
    layout = list(itertools.islice(hyperband((1, 3), 3), 7))
    assert [bracket.size for bracket in layout] == [9, 3, 3, 9, 3, 3, 9]


def test_one_in_factor_survives_rounded_up() -> None:
    assert [survivors_of(size, 3) for size in (1, 2, 3, 4, 9, 10)] == [1, 1, 1, 2, 3, 4]


def test_halving_repeats_one_bracket() -> None:
    assert [bracket.size for bracket in itertools.islice(halving((1, 3), 9), 2)] == [9, 9]


def test_a_plan_counts_the_epochs_between_rungs() -> None:
    cohort = PlannedCohort(epochs=(1, 3, 9, 27), settings=contenders(Bracket(27, (1, 3, 9)), 3))
    assert cohort.settings == (27, 9, 3, 1)
    assert cohort.trained == 27 * 1 + 9 * 2 + 3 * 6 + 1 * 18
    assert PlannedCohort(epochs=(27,), settings=(5,)).trained == 5 * 27


def test_the_last_bracket_has_what_is_left() -> None:
    assert [bracket.size for bracket in cut(hyperband((1, 3), 3), 14)] == [9, 3, 2]
