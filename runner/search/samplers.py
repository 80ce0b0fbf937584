"""Draws points from a space. The same space and seed give the same points."""

from __future__ import annotations

import itertools
import math
import random
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence

from runner.config.space import Choice, Dimension
from runner.search.optuna_space import decoded, distribution, number, quiet
from runner.search.space import Point, Space, key_of

_TRIES = 5000  # draws in a row without a new setting, after which a space counts as exhausted
_LISTED = 100_000  # settings of a space that is drawn from a list of them, so that the last ones are found at once


def grid(space: Space) -> Iterator[Point]:
    """Every setting, in the order of the dimensions with the last varying fastest."""
    values = [[(name, value) for value in _listed(dimension)] for name, dimension in space.dimensions.items()]
    return _new(space, map(dict, itertools.product(*values)), math.inf)


def random_points(space: Space, seed: int) -> Iterator[Point]:
    """Different settings at random; ends when there are no more."""
    if all(isinstance(one, Choice) or (one.count and not one.log) for one in space.dimensions.values()):
        return _new(space, _without_repetition(space, seed), _LISTED)
    return _new(space, _drawn(space, seed))


def quasi_random(space: Space, seed: int) -> Iterator[Point]:
    """Different settings that fill the space evenly: a scrambled Sobol sequence."""
    return _new(space, _sobol(space, seed))


def _new(space: Space, points: Iterable[Point], tries: float = _TRIES) -> Iterator[Point]:
    """The points that are allowed and differ in what matters; ends after too many in a row that do not."""
    seen: set[str] = set()
    refused = 0
    for point in points:
        active = space.active(point)
        if key_of(active) in seen or not space.allows(active):
            refused += 1
            if refused > tries:
                return
            continue
        refused = 0
        seen.add(key_of(active))
        yield active


def _listed(dimension: Dimension) -> Sequence[object]:
    """The values of a dimension that has finitely many."""
    if isinstance(dimension, Choice):
        return dimension.values
    assert dimension.count is not None
    steps = (dimension.low + place * (dimension.step or 1) for place in range(dimension.count))
    return [number(dimension, min(value, dimension.high)) for value in steps]  # a sum of floats may pass the end


def _without_repetition(space: Space, seed: int) -> Iterator[Point]:
    """Draws different points of a grid, without listing the grid."""
    values = {name: _listed(dimension) for name, dimension in space.dimensions.items()}
    total = math.prod(map(len, values.values()))
    generator = random.Random(seed)
    if total <= _LISTED:
        numbers: Iterable[int] = generator.sample(range(total), total)
    else:
        numbers = iter(lambda: generator.randrange(total), -1)
    return (_at(values, number) for number in _unique(numbers))


def _unique(numbers: Iterable[int]) -> Iterator[int]:
    seen: set[int] = set()
    for one in numbers:
        if one not in seen:
            seen.add(one)
            yield one


def _at(values: Mapping[str, Sequence[object]], number: int) -> Point:
    """The point at an index of the grid."""
    point: dict[str, object] = {}
    for name in reversed(list(values)):
        number, index = divmod(number, len(values[name]))
        point[name] = values[name][index]
    return {name: point[name] for name in values}


def _drawn(space: Space, seed: int) -> Iterator[Point]:
    """Points at random, of all dimensions."""
    import optuna

    distributions = {name: distribution(dimension) for name, dimension in space.dimensions.items()}
    with quiet():
        study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=seed))
    while True:
        with quiet():
            params = study.ask(distributions).params
        yield {name: decoded(dimension, params[name]) for name, dimension in space.dimensions.items()}


def _sobol(space: Space, seed: int) -> Iterator[Point]:
    """Points of a scrambled Sobol sequence, of all dimensions."""
    from scipy.stats import qmc

    sequence = qmc.Sobol(max(1, len(space.dimensions)), scramble=True, rng=seed)
    while True:
        with warnings.catch_warnings():  # its balance needs powers of two, and a search takes what it is given
            warnings.simplefilter("ignore", UserWarning)
            row = sequence.random(1)[0]
        yield {
            name: at_quantile(dimension, float(place))
            for place, (name, dimension) in zip(row, space.dimensions.items(), strict=False)
        }


def at_quantile(dimension: Dimension, place: float) -> object:
    """The value at a place from 0 to 1 (excluded)."""
    if isinstance(dimension, Choice):
        return dimension.values[int(place * len(dimension.values))]
    if dimension.log:
        low, high = math.log(dimension.low), math.log(dimension.high + dimension.whole)
        value = math.exp(low + place * (high - low))
        return min(math.floor(value + 1e-9), int(dimension.high)) if dimension.whole else min(value, dimension.high)
    if dimension.count is not None:
        return number(dimension, dimension.low + int(place * dimension.count) * (dimension.step or 1))
    return dimension.low + place * (dimension.high - dimension.low)
