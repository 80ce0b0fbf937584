"""Makes trials of the points that samplers draw. The same config gives the same trials in the same order."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import replace

from runner.config import Config
from runner.config.schema import MAX_TRIALS
from runner.config.space import Choice, Range
from runner.errors import ConfigError
from runner.records import Trial
from runner.search.members import Member
from runner.search.parameters import parameter_name
from runner.search.samplers import grid, quasi_random, random_points
from runner.search.searching import LEARNING
from runner.search.space import Point

_LARGEST_GRID = 200_000  # combinations that are looked through for those that conditions and constraints leave


def propose_trials(members: Sequence[Member], config: Config) -> tuple[Trial, ...]:
    """The trials with which a sweep begins: all of them, unless the sampler learns from results.

    Raises:
        ConfigError: there would be more trials than allowed.
    """
    problems = [problem for member in members for problem in _too_many(member, config)]
    if problems:
        raise ConfigError(problems)
    trials: list[Trial] = []
    for member in members:
        points = first_points(member)
        width = max(3, len(str(len(points) * len(member.seeds) - 1)))
        trials += trials_of(member, points, 0, len(trials), prefix=bool(config.members), width=width)
    if len(trials) > MAX_TRIALS:
        raise ConfigError(f"{len(trials)} trials; a sweep has at most {MAX_TRIALS}; set search.max_trials")
    return tuple(trials)


def trials_of(
    member: Member, points: Sequence[Point], number: int, index: int, *, prefix: bool, width: int = 3
) -> list[Trial]:
    """The trials of these settings, one for each seed of a setting.

    Args:
        member: whose settings.
        points: the settings.
        number: of the first within the member.
        index: of the first within the sweep.
        prefix: ids begin with the member's name.
        width: digits of an id, at least.
    """
    chosen = [
        (point, seed, fold)
        for point in points
        for fold, seed in enumerate([point["seed"]] if "seed" in point else member.seeds)
    ]
    name = f"{member.name}-" if prefix else ""
    return [
        _trial(member, point, f"{name}{number + place:0{width}}", index + place, seed, fold)
        for place, (point, seed, fold) in enumerate(chosen)
    ]


def first_points(member: Member) -> list[Point]:
    """The points that are known before the first result; none if the sampler learns."""
    if member.sampler == "points":
        return list(member.points)
    if member.sampler in LEARNING:
        return []
    if member.sampler == "grid":
        return list(grid(member.space))
    if not member.space.dimensions:
        return [{}]
    draw = quasi_random if member.sampler == "qmc" else random_points
    return list(itertools.islice(draw(member.space, member.sampler_seed), member.max_settings or MAX_TRIALS))


def _too_many(member: Member, config: Config) -> Iterable[str]:
    count = _count(member) * len(member.seeds)
    limit = member.max_trials or MAX_TRIALS
    if count > limit:
        scope = ("members", member.name) if member.name in config.members else ()
        own = scope and config.members[member.name].search.max_trials is not None
        where = config.origins.place(*(scope if own else ()), "search", "max_trials")
        advice = "list fewer values, raise max_trials, or set search.sampler=random to draw from them"
        if member.sampler == "points":
            advice = "list fewer points or raise max_trials"
        yield f"{where}: {member.name} has {count:.6g} trials ({member.sampler}), more than {limit}; {advice}"


def _count(member: Member) -> float:
    """How many settings a listed or full search has; 0 if they are drawn until there are enough."""
    if member.sampler == "points":
        return len(member.points)
    if member.sampler != "grid":
        return 0
    if not member.space.is_plain:
        listed = _combinations(member)
        return listed if listed > _LARGEST_GRID else sum(1 for _ in grid(member.space))
    return _combinations(member)


def _combinations(member: Member) -> float:
    """How many combinations of values there are, allowed or not."""
    count = 1.0
    for dimension in member.space.dimensions.values():
        count *= len(dimension.values) if isinstance(dimension, Choice) else _size(dimension)
    return count


def _size(dimension: Range) -> float:
    return float("inf") if dimension.count is None else dimension.count


def _trial(member: Member, point: Point, trial_id: str, index: int, seed: int, fold: int) -> Trial:
    chosen = {bare: value for name, value in point.items() if (bare := parameter_name(name)) is not None}
    params = {**member.params, **chosen, **({} if member.folds is None else {"fold": fold})}
    train = {name.removeprefix("train."): value for name, value in point.items() if name.startswith("train.")}
    # Every trial of a member names the same searched keys, so that tables of trials have equal columns.
    names = (*(name for one in member.points for name in one), *member.space.dimensions)
    repeated = [*(["fold"] if member.folds is not None else []), *(["seed"] if len(member.seeds) > 1 else [])]
    searched = tuple(dict.fromkeys((*names, *repeated)))
    callbacks = member.callback_params
    inactive = () if member.points else tuple(name for name in member.space.dimensions if name not in point)
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
        seed=seed,
        inactive=inactive,
        folds=member.folds,
        callback_params=None if callbacks is None else tuple(name for name in callbacks if name in params),
    )
