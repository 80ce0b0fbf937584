"""Draws points from a space. The same space, seed and results give the same points.

Optuna proposes and never decides: its pruners judge by arrival or by completed trials, and would prune wrongly at a
barrier.
"""

from __future__ import annotations

import itertools
import math
import random
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from runner.config.space import Choice, Dimension, Range
from runner.search.space import Point, Space, key_of

if TYPE_CHECKING:
    from optuna import Study
    from optuna import Trial as OptunaTrial
    from optuna.distributions import BaseDistribution

Learning = Literal["tpe", "cmaes"]
_TRIES = 5000  # draws in a row without a new setting, after which a space counts as exhausted
_LISTED = 100_000  # settings of a space that is drawn from a list of them, so that the last ones are found at once
_PROPOSALS = 20  # proposals in a row that are known or not allowed, after which a setting is drawn at random


@dataclass(frozen=True, kw_only=True, slots=True)
class Told:
    """The result of a setting, for the sampler.

    Args:
        point: the setting.
        costs: mean of the metric by epoch, signed so that less is better; the last is the result.
        stopped: it was stopped before its end, so that only its last epoch says how good it is.
        failed: it has no result.
    """

    point: Point
    costs: Mapping[int, float]
    stopped: bool = False
    failed: bool = False


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


class StudySampler:
    """A sampler that learns from results: Optuna's TPE or CMA-ES, asked and told in waves.

    Args:
        kind: which.
        space: to draw from.
        seed: of the sampler.
        startup: settings that are drawn at random before it learns.
    """

    def __init__(self, kind: Learning, space: Space, seed: int, startup: int = 10) -> None:
        import optuna

        self._space, self._asked = space, dict[str, "OptunaTrial"]()
        self._told: set[str] = set()
        self._at_random = random_points(space, seed)
        with _quiet():
            sampler: optuna.samplers.BaseSampler
            if kind == "tpe":
                sampler = optuna.samplers.TPESampler(
                    seed=seed, multivariate=True, group=True, constant_liar=True, n_startup_trials=startup
                )
            else:
                sampler = optuna.samplers.CmaEsSampler(
                    seed=seed, warn_independent_sampling=False, consider_pruned_trials=True
                )
            self._study: Study = optuna.create_study(sampler=sampler)

    def ask(self, count: int) -> list[Point]:
        """New settings; fewer if the space has no more."""
        with _quiet():
            found = (self._proposed() or self._drawn() for _ in range(count))
            return [point for point in itertools.takewhile(lambda point: point is not None, found) if point is not None]

    def _proposed(self) -> Point | None:
        """A proposal of Optuna that is new and allowed."""
        from optuna.trial import TrialState

        for _ in range(_PROPOSALS):
            trial = self._study.ask()
            point = _suggested(self._space, trial)
            if key_of(point) not in self._asked and self._space.allows(point):
                self._asked[key_of(point)] = trial
                return point
            self._study.tell(trial, state=TrialState.FAIL)
        return None

    def _drawn(self) -> Point | None:
        """A setting at random that is new; None if there is none."""
        for point in self._at_random:
            if key_of(point) not in self._asked:
                self._enqueue(point)
                return point
        return None

    def tell(self, results: Iterable[Told]) -> None:
        """Takes the results of settings it was asked for, each once."""
        from optuna.trial import TrialState

        with _quiet():
            for told in results:
                key = key_of(told.point)
                if key in self._told:
                    continue
                self._told.add(key)
                trial, state = self._asked[key], TrialState.COMPLETE
                finite = {epoch: cost for epoch, cost in told.costs.items() if math.isfinite(cost)}
                if told.failed or not finite:
                    self._study.tell(trial, state=TrialState.FAIL)
                    continue
                for epoch, cost in finite.items():
                    trial.report(cost, epoch)
                if told.stopped:
                    self._study.tell(trial, state=TrialState.PRUNED)
                else:
                    self._study.tell(trial, finite[max(finite)], state=state)

    def adopt(self, asked: Iterable[Point], points: Iterable[Point]) -> list[Point]:
        """Takes other settings instead of those that it was asked for last; returns them."""
        from optuna.trial import TrialState

        with _quiet():
            for point in asked:
                self._study.tell(self._asked.pop(key_of(point)), state=TrialState.FAIL)
            found = list(points)
            for point in found:
                self._enqueue(point)
        return found

    def _enqueue(self, point: Point) -> None:
        self._study.enqueue_trial({name: _coded(self._space.dimensions[name], value) for name, value in point.items()})
        trial = self._study.ask()
        self._asked[key_of(_suggested(self._space, trial))] = trial


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
    return [_number(dimension, dimension.low + place * (dimension.step or 1)) for place in range(dimension.count)]


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
    for number in numbers:
        if number not in seen:
            seen.add(number)
            yield number


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

    distributions = {name: _distribution(dimension) for name, dimension in space.dimensions.items()}
    with _quiet():
        study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=seed))
    while True:
        with _quiet():
            params = study.ask(distributions).params
        yield {name: _decoded(dimension, params[name]) for name, dimension in space.dimensions.items()}


def _sobol(space: Space, seed: int) -> Iterator[Point]:
    """Points of a scrambled Sobol sequence, of all dimensions."""
    from scipy.stats import qmc

    sequence = qmc.Sobol(max(1, len(space.dimensions)), scramble=True, rng=seed)
    while True:
        with warnings.catch_warnings():  # its balance needs powers of two, and a search takes what it is given
            warnings.simplefilter("ignore", UserWarning)
            row = sequence.random(1)[0]
        yield {
            name: _at_quantile(dimension, float(place))
            for place, (name, dimension) in zip(row, space.dimensions.items(), strict=False)
        }


def _at_quantile(dimension: Dimension, place: float) -> object:
    """The value at a place from 0 to 1 (excluded)."""
    if isinstance(dimension, Choice):
        return dimension.values[int(place * len(dimension.values))]
    if dimension.log:
        low, high = math.log(dimension.low), math.log(dimension.high + dimension.whole)
        value = math.exp(low + place * (high - low))
        return min(math.floor(value + 1e-9), int(dimension.high)) if dimension.whole else min(value, dimension.high)
    if dimension.count is not None:
        return _number(dimension, dimension.low + int(place * dimension.count) * (dimension.step or 1))
    return dimension.low + place * (dimension.high - dimension.low)


def _suggested(space: Space, trial: OptunaTrial) -> Point:
    """The point of an Optuna trial: each dimension that matters is suggested, in order."""
    point: dict[str, object] = {}
    for name, dimension in space.dimensions.items():
        if name in space.active({**point, name: None}):
            point[name] = _decoded(dimension, _suggest(trial, name, dimension))
    return point


def _suggest(trial: OptunaTrial, name: str, dimension: Dimension) -> object:
    if isinstance(dimension, Choice):
        last = len(dimension.values) - 1
        is_ordered = _is_ordered(dimension)
        return trial.suggest_int(name, 0, last) if is_ordered else trial.suggest_categorical(name, range(last + 1))
    if dimension.whole:
        low, high, step = int(dimension.low), int(dimension.high), int(dimension.step or 1)
        return trial.suggest_int(name, low, high, step=step, log=dimension.log)
    return trial.suggest_float(name, dimension.low, dimension.high, step=dimension.step, log=dimension.log)


def _is_ordered(dimension: Choice) -> bool:
    """Whether its values are rising numbers, of which a sampler can learn that neighbours are alike."""
    values = dimension.values
    return all(type(value) in (int, float) for value in values) and list(values) == sorted(values)  # type: ignore[type-var]


def _distribution(dimension: Dimension) -> BaseDistribution:
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    if isinstance(dimension, Choice):  # indices, because Optuna's categories cannot be lists
        last = len(dimension.values) - 1
        return IntDistribution(0, last) if _is_ordered(dimension) else CategoricalDistribution(range(last + 1))
    if dimension.whole:
        return IntDistribution(
            int(dimension.low), int(dimension.high), log=dimension.log, step=int(dimension.step or 1)
        )
    return FloatDistribution(dimension.low, dimension.high, log=dimension.log, step=dimension.step)


def _decoded(dimension: Dimension, drawn: Any) -> object:
    return dimension.values[drawn] if isinstance(dimension, Choice) else _number(dimension, drawn)


def _coded(dimension: Dimension, value: object) -> object:
    """What Optuna knows a value by."""
    return dimension.values.index(value) if isinstance(dimension, Choice) else value


def _number(dimension: Range, value: float) -> int | float:
    return int(value) if dimension.whole else float(value)


@contextmanager
def _quiet() -> Iterator[None]:
    """Without Optuna's messages about each trial, and its warnings about features that are marked experimental."""
    import optuna

    verbosity = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            yield
    finally:
        optuna.logging.set_verbosity(verbosity)
