"""Samplers: what they draw, and that it can be repeated."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from runner.config.space import Choice, Range
from runner.search.samplers import grid, quasi_random, random_points
from runner.search.space import Constraint, Point, Space, key_of
from runner.search.studies import StudySampler, Told

RATE = Range(1e-4, 1e-1, log=True)
UNITS = Range(8, 64, whole=True, step=8)
WHOLE = Range(1, 1000, whole=True, log=True, step=1)
PLAIN = Space(dimensions={"rate": RATE, "units": UNITS})
CONDITIONAL = Space(
    dimensions={"layers": Choice((1, 2, 3)), "units_1": Range(8, 16, whole=True, step=4)},
    when={"units_1": {"layers": (2, 3)}},
    fixed={"units_1": 8},
)
Draw = Callable[[Space, int], Iterator[Point]]


@pytest.mark.parametrize("draw", [random_points, quasi_random])
def test_points_differ_lie_in_their_ranges_and_are_repeatable(draw: Draw) -> None:
    found = list(itertools.islice(draw(PLAIN, 3), 40))
    assert found == list(itertools.islice(draw(PLAIN, 3), 40))
    assert found != list(itertools.islice(draw(PLAIN, 4), 40))
    assert len({key_of(point) for point in found}) == 40
    assert all(1e-4 <= point["rate"] <= 1e-1 and type(point["rate"]) is float for point in found)
    assert {point["units"] for point in found} == {8, 16, 24, 32, 40, 48, 56, 64}
    assert all(type(point["units"]) is int for point in found)


@pytest.mark.parametrize("draw", [random_points, quasi_random])
def test_log_integers_are_even_in_the_logarithm(draw: Draw) -> None:
    found = [point["n"] for point in itertools.islice(draw(Space(dimensions={"n": WHOLE}), 0), 200)]
    assert all(1 <= value <= 1000 for value in found)
    low = sum(value < 32 for value in found)
    assert 25 < low < 110, "half of the logarithm, of which there are only 31 different values"


def test_a_sobol_sequence_fills_every_eighth() -> None:
    space = Space(dimensions={"x": Range(0.0, 1.0), "y": Range(0.0, 1.0)})
    found = list(itertools.islice(quasi_random(space, 0), 8))
    for name in ("x", "y"):
        assert sorted(int(point[name] * 8) for point in found) == list(range(8))


def test_a_grid_has_steps_and_leaves_out_what_does_not_matter() -> None:
    assert list(grid(CONDITIONAL)) == [
        {"layers": 1},
        *({"layers": layers, "units_1": units} for layers in (2, 3) for units in (8, 12, 16)),
    ]


@pytest.mark.parametrize("draw", [random_points, quasi_random])
def test_a_space_is_drawn_to_its_end(draw: Draw) -> None:
    assert {key_of(point) for point in draw(CONDITIONAL, 0)} == {key_of(point) for point in grid(CONDITIONAL)}


def test_a_constraint_is_never_broken() -> None:
    space = Space(
        dimensions={"a": Range(1, 8, whole=True, step=1), "b": Range(1, 8, whole=True, step=1)},
        constraints=(Constraint.parse("b <= a"), Constraint.parse("a * b < 20")),
    )
    found = list(random_points(space, 0))
    assert len(found) == sum(b <= a and a * b < 20 for a in range(1, 9) for b in range(1, 9))
    sampler = StudySampler("tpe", space, 0)
    assert len(sampler.ask(100)) == len(found)


@pytest.mark.parametrize(
    ("text", "values", "holds"),
    [
        ("a < b <= 3", {"a": 1, "b": 3}, True),
        ("a < b <= 3", {"a": 1, "b": 4}, False),
        ("not a or b in [1, 2]", {"a": True, "b": 3}, False),
        ("name == 'sgd' and a % 2 == 0", {"name": "sgd", "a": 4}, True),
        ("a / b > 1", {"a": 1, "b": 0}, False),
        ("a < b", {"a": 1, "b": "x"}, False),
        ("a ** b > 1", {"a": 9, "b": 10**9}, False),
    ],
)
def test_constraints_are_relations(text: str, values: dict[str, object], holds: bool) -> None:
    assert Constraint.parse(text).holds(values) is holds


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("a <", "cannot be read"),
        ("a + b", "compares nothing"),
        ("f(a) < 1", "got 'f(a)'"),
        ("a.b < 1", "got 'a.b'"),
        ("[x for x in a] == b", "comparisons and arithmetic"),
        ("(lambda: 1) == a", "comparisons and arithmetic"),
    ],
)
def test_what_is_no_relation_is_refused(text: str, told: str) -> None:
    with pytest.raises(ValueError, match=told.replace("(", r"\(").replace(")", r"\)")):
        Constraint.parse(text)


def cost(point: Point) -> float:
    return abs(math.log10(point["rate"]) + 2) + point["units"] / 64


def search(kind: Any, waves: int, wave: int = 6, **told: Any) -> list[Point]:
    sampler, found = StudySampler(kind, PLAIN, 1), []
    for _ in range(waves):
        points = sampler.ask(wave)
        sampler.tell(Told(point=point, costs={1: cost(point)}, **told) for point in points)
        found += points
    return found


@pytest.mark.parametrize("kind", ["tpe", "cmaes"])
def test_a_sampler_learns_and_is_repeatable(kind: str) -> None:
    found = search(kind, 8)
    assert found == search(kind, 8)
    first, last = found[:12], found[-12:]
    assert sum(map(cost, last)) < 0.6 * sum(map(cost, first))


def test_results_of_stopped_settings_count_and_failed_ones_do_not() -> None:
    sampler = StudySampler("tpe", PLAIN, 1)
    points = sampler.ask(3)
    sampler.tell(
        [
            Told(point=points[0], costs={1: 1.0}, stopped=True),
            Told(point=points[1], costs={1: math.inf}),
            Told(point=points[2], costs={}, failed=True),
        ]
    )
    sampler.tell([Told(point=points[0], costs={1: 1.0, 2: 0.5})])  # told once
    states = [trial.state.name for trial in sampler._study.trials]
    assert states == ["PRUNED", "FAIL", "FAIL"]


def test_an_exhausted_space_ends_the_proposals() -> None:
    sampler = StudySampler("tpe", Space(dimensions={"n": Choice((1, 2, 3))}), 0)
    assert len(sampler.ask(2)) == 2
    assert len(sampler.ask(2)) == 1
    assert sampler.ask(2) == []
