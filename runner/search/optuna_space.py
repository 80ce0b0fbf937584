"""Dimensions as Optuna knows them."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from runner.config.space import Choice, Dimension, Range
from runner.search.space import Point, Space

if TYPE_CHECKING:
    from optuna import Trial as OptunaTrial
    from optuna.distributions import BaseDistribution


def suggested(space: Space, trial: OptunaTrial) -> Point:
    """The point of an Optuna trial: each dimension that matters is suggested, in order."""
    point: dict[str, object] = {}
    for name, dimension in space.dimensions.items():
        if name in space.active({**point, name: None}):
            point[name] = decoded(dimension, _suggest(trial, name, dimension))
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


def distribution(dimension: Dimension) -> BaseDistribution:
    """The distribution that Optuna draws a dimension from."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    if isinstance(dimension, Choice):  # indices, because Optuna's categories cannot be lists
        last = len(dimension.values) - 1
        return IntDistribution(0, last) if _is_ordered(dimension) else CategoricalDistribution(range(last + 1))
    if dimension.whole:
        return IntDistribution(
            int(dimension.low), int(dimension.high), log=dimension.log, step=int(dimension.step or 1)
        )
    return FloatDistribution(dimension.low, dimension.high, log=dimension.log, step=dimension.step)


def decoded(dimension: Dimension, drawn: Any) -> object:
    """The value that Optuna has drawn."""
    return dimension.values[drawn] if isinstance(dimension, Choice) else number(dimension, drawn)


def coded(dimension: Dimension, value: object) -> object:
    """What Optuna knows a value by."""
    return dimension.values.index(value) if isinstance(dimension, Choice) else value


def number(dimension: Range, value: float) -> int | float:
    """The number as the dimension has it: whole or a float."""
    return int(value) if dimension.whole else float(value)


@contextmanager
def quiet() -> Iterator[None]:
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
