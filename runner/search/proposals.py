"""Proposes the trials of members: grid, random or listed points. The same config gives the same trials in order."""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from runner.config import Config
from runner.config.schema import MAX_TRIALS
from runner.config.space import Choice, Dimension
from runner.errors import ConfigError
from runner.records import Trial
from runner.search.members import Member, Point
from runner.search.parameters import parameter_name


def propose_trials(members: Sequence[Member], config: Config) -> tuple[Trial, ...]:
    """Every trial of a sweep, member by member, in the order of its dimensions with the last varying fastest.

    Raises:
        ConfigError: there would be more trials than allowed.
    """
    problems = [problem for member in members for problem in _too_many(member, config)]
    if problems:
        raise ConfigError(problems)
    trials: list[Trial] = []
    for member in members:
        points = _points(member, config.seed)
        width = max(3, len(str(len(points) - 1)))
        prefix = f"{member.name}-" if config.members else ""
        for number, point in enumerate(points):
            trials.append(_trial(member, point, f"{prefix}{number:0{width}}", len(trials), config.seed))
    if len(trials) > MAX_TRIALS:
        raise ConfigError(f"{len(trials)} trials; a sweep has at most {MAX_TRIALS}; set search.max_trials")
    return tuple(trials)


def _too_many(member: Member, config: Config) -> Iterable[str]:
    count = _count(member)
    limit = member.max_trials or MAX_TRIALS
    if count > limit:
        scope = ("members", member.name) if member.name in config.members else ()
        own = scope and config.members[member.name].search.max_trials is not None
        where = config.origins.place(*(scope if own else ()), "search", "max_trials")
        advice = "list fewer values, raise max_trials, or set search.sampler=random to draw from them"
        if member.sampler == "points":
            advice = "list fewer points or raise max_trials"
        yield f"{where}: {member.name} has {count:.6g} trials ({member.sampler}), more than {limit}; {advice}"


def _count(member: Member) -> int:
    if member.sampler == "points":
        return len(member.points)
    if member.sampler == "random":
        return 0
    return math.prod(len(values) for values in _finite(member.space).values())


def _finite(space: Mapping[str, Dimension]) -> dict[str, tuple[object, ...]]:
    return {name: dimension.values for name, dimension in space.items() if isinstance(dimension, Choice)}


def _points(member: Member, seed: int) -> Sequence[Point]:
    if member.sampler == "points":
        return member.points
    finite = _finite(member.space)
    if member.sampler == "grid" or not member.space:
        return [dict(zip(finite, values, strict=True)) for values in itertools.product(*finite.values())]
    count = member.max_trials or MAX_TRIALS
    if len(finite) == len(member.space):
        return _without_repetition(finite, count, seed)
    return _drawn(member.space, count, seed)


def _without_repetition(finite: Mapping[str, tuple[object, ...]], count: int, seed: int) -> list[Point]:
    """Draws different points of a grid, without listing the grid."""
    total = math.prod(len(values) for values in finite.values())
    generator = random.Random(seed)
    chosen: dict[int, None] = {}
    if total <= MAX_TRIALS:
        chosen = dict.fromkeys(generator.sample(range(total), min(count, total)))
    while len(chosen) < min(count, total):
        chosen[generator.randrange(total)] = None
    return [_at(finite, number) for number in chosen]


def _at(finite: Mapping[str, tuple[object, ...]], number: int) -> Point:
    """The point at an index of the grid."""
    point: dict[str, object] = {}
    for name in reversed(list(finite)):
        values = finite[name]
        number, index = divmod(number, len(values))
        point[name] = values[index]
    return {name: point[name] for name in finite}


def _drawn(space: Mapping[str, Dimension], count: int, seed: int) -> list[Point]:
    import optuna  # here, because it takes half a second and only random sampling needs it

    distributions: dict[str, object] = {
        # An index, because Optuna's categories cannot be lists.
        name: optuna.distributions.IntDistribution(0, len(dimension.values) - 1)
        if isinstance(dimension, Choice)
        else optuna.distributions.FloatDistribution(dimension.low, dimension.high, log=dimension.log)
        for name, dimension in space.items()
    }
    verbosity = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=seed))
        drawn = [study.ask(distributions).params for _ in range(count)]
    finally:
        optuna.logging.set_verbosity(verbosity)
    return [{name: _value(dimension, params[name]) for name, dimension in space.items()} for params in drawn]


def _value(dimension: Dimension, drawn: Any) -> object:
    return dimension.values[drawn] if isinstance(dimension, Choice) else float(drawn)


def _trial(member: Member, point: Point, trial_id: str, index: int, seed: int) -> Trial:
    chosen = {bare: value for name, value in point.items() if (bare := parameter_name(name)) is not None}
    params = {**member.params, **chosen}
    train = {name.removeprefix("train."): value for name, value in point.items() if name.startswith("train.")}
    # Every trial of a member names the same searched keys, so that tables of trials have equal columns.
    searched = tuple(dict.fromkeys(name for other in (*member.points, member.space) for name in other))
    return Trial(
        id=trial_id,
        index=index,
        member=member.name,
        source=member.source,
        params=params,
        data_params=tuple(name for name in member.data_params if name in params),
        model_params=tuple(name for name in member.model_params if name in params),
        searched=searched,
        train=replace(member.train, **train),
        seed=point.get("seed", seed),
    )
