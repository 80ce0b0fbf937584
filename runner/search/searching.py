"""Resolves how a member is searched: its sampler, its seeds, and its space with conditions and constraints."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Literal, TypeVar

from runner.config.kinds import MAX_SEED
from runner.config.origins import Key
from runner.config.schema import DEFAULT_TRIALS, MAX_TRIALS, Config, MemberConfig, Sampler
from runner.config.space import Choice, Dimension, Range
from runner.errors import did_you_mean
from runner.records import TrainSettings
from runner.search.brackets import full_round
from runner.search.parameters import Names, canonical, listed
from runner.search.space import Constraint, Point, Space
from runner.search.stopping import rungs_of

ResolvedSampler = Literal["grid", "random", "qmc", "tpe", "cmaes", "points"]
T = TypeVar("T")
LEARNING = ("tpe", "cmaes")  # samplers that learn from results
_MANY = 20  # trials above which `auto` learns from results


def resolve_seeds(
    config: Config, place: str, space: dict[str, Dimension], points: Sequence[Point], problems: list[str]
) -> tuple[int, ...]:
    """The seeds of each setting: `seed`, or `search.repeats` or `search.folds` from there.

    Takes a searched seed out of the space.
    """
    searched = space.pop("seed", None)
    given = config.seed if isinstance(config.seed, list) else [config.seed]
    if searched is not None:
        if isinstance(searched, Choice):
            given = [seed for seed in searched.values if isinstance(seed, int)]
        else:
            problems.append(f"{place}: seed is not drawn: each setting is trained with each seed; give a list of seeds")
    name, repeats = "repeats", config.search.repeats
    if config.search.folds is not None:
        name, repeats = "folds", config.search.folds
        if config.search.repeats > 1:
            problems.append(f"{config.origins.place('search', name)}: is the number of repeats; remove search.repeats")
    if repeats > 1:
        where = config.origins.place("search", name)
        if len(given) > 1:
            problems.append(f"{where}: seed is a list, which gives the repeats already; remove one of the two")
        elif points and any("seed" in point for point in points):
            problems.append(f"{where}: points have a seed of their own; remove one of the two")
        elif given[0] + repeats - 1 > MAX_SEED:
            problems.append(f"{where}: seed={given[0]} leaves no room for {repeats} seeds below {MAX_SEED}")
        else:
            return tuple(range(given[0], given[0] + repeats))
    if len(set(given)) < len(given):
        problems.append(f"{config.origins.place('seed')}: a seed is listed twice")
    return tuple(given)


def resolve_space(
    config: Config, draft: MemberConfig, scope: Key, dimensions: Mapping[str, Dimension],
    fixed: Mapping[str, object], names: Names,
) -> Space:  # fmt: skip
    """The space with its conditions and constraints.

    Args:
        config: of the sweep.
        draft: the member's own part of it.
        scope: the place of that part.
        dimensions: of the member.
        fixed: values of parameters that are not searched, and defaults of those that are.
        names: of the member's parameters; takes problems.
    """
    when: dict[str, Mapping[str, tuple[object, ...]]] = {}
    for place, written in _sections(scope, config.search.when, draft.search.when):
        for name, conditions in written.items():
            if canonical(name) in dimensions or place == scope or name not in names.everywhere:
                when |= _conditions(place, name, conditions, dimensions, fixed, names)
    constraints: list[Constraint] = []
    for place, texts in _sections(scope, config.search.constraints, draft.search.constraints):
        # At the top of a mixed sweep they are for the members that have these parameters.
        allowed = names.parameters.keys() if place == scope else names.everywhere
        constraints += _constraints(place, texts, allowed, (*dimensions, *fixed), names)
    ordered = _ordered(dimensions, when, names, names.origins.place(*scope, "search", "when"))
    return Space(dimensions=ordered, when=when, constraints=tuple(constraints), fixed=fixed)


def resolve_sampler(
    config: Config, own_search: MemberConfig, scope: Key, space: Space, points: Sequence[Point], problems: list[str]
) -> ResolvedSampler:
    """The sampler of a member."""
    own = own_search.search
    wanted = own.sampler or config.search.sampler
    place = config.origins.place(*(scope if own.sampler else ()), "search", "sampler")
    if own.sampler is None and (own.space or own.points) and (wanted == "points") != bool(points):
        # The sweep's sampler is for the sweep's search, which this member replaces.
        wanted = "auto"
    if points:
        if space.constraints:
            where = config.origins.place("search", "constraints")
            problems.append(f"{where}: do not go with points, which are listed one by one; remove one of the two")
        if wanted not in ("auto", "points"):
            problems.append(f"{place}: {wanted} does not go with points; remove the points, or set sampler to points")
        return "points"
    ranges = {name: found for name, found in space.dimensions.items() if isinstance(found, Range)}
    problems += (f"{place}: {text}" for text in _misfits(wanted, config, ranges))
    if wanted == "auto":
        return _automatic(config, own.max_trials or config.search.max_trials or 0, ranges)
    return "grid" if wanted == "points" else wanted


def _misfits(wanted: Sampler, config: Config, ranges: Mapping[str, Range]) -> Iterator[str]:
    """Why this sampler cannot search without a list of points, over these ranges and lists."""
    if wanted == "points":
        yield "points needs search.points, a list with one mapping for each trial"
    endless = [name for name, found in ranges.items() if not found.count]
    if wanted == "grid" and endless:
        yield f"grid cannot list every value of {listed(endless)}; give lists, or set sampler to random"
    if wanted in LEARNING and config.search.population is not None:
        yield f"{wanted} does not go with population, whose trials change; use random, qmc or lists"
    if wanted in LEARNING and config.search.stop == "median":
        yield f"{wanted} does not go with stop=median; use halving, hyperband, or sampler=random"
    if wanted == "cmaes" and not ranges:
        yield "cmaes needs ranges such as interval(low, high); for lists use tpe"


def _automatic(config: Config, max_trials: int, ranges: Collection[str]) -> ResolvedSampler:
    """Lists are gone through; ranges are drawn from, by a sampler that learns if there are many trials."""
    if not ranges:
        return "grid"
    may_learn = config.search.stop != "median" and config.search.population is None
    return "tpe" if max_trials > _MANY and may_learn else "random"


def default_trials(config: Config, train: TrainSettings, sampler: ResolvedSampler, repeats: int) -> int | None:
    """How many trials a member has if the config does not say; None for no limit."""
    if sampler in ("grid", "points"):
        return None
    if config.search.stop == "hyperband":
        rungs = rungs_of(config.search, train)
        return min(MAX_TRIALS, full_round(rungs, config.search.factor) * repeats)
    return DEFAULT_TRIALS


def _sections(scope: Key, top: T, own: T) -> Iterator[tuple[Key, T]]:
    yield (), top
    if scope:
        yield scope, own


def _conditions(
    place: Key, name: str, conditions: object, dimensions: Mapping[str, Dimension], fixed: Mapping[str, object],
    names: Names,
) -> dict[str, Mapping[str, tuple[object, ...]]]:  # fmt: skip
    where = names.origins.place(*place, "search", "when", name)
    target = canonical(name)
    if target not in dimensions:
        names.problems.append(f"{where}: is not searched; it has {listed(dimensions)}")
        return {}
    if not isinstance(conditions, dict) or not conditions:
        names.problems.append(
            f"{where}: must map other names to values, such as {{layers: [2, 3]}}; got {conditions!r}"
        )
        return {}
    if target not in fixed:
        names.problems.append(f"{where}: has no default, which it needs when it does not matter; give {name} one")
        return {}
    found: dict[str, tuple[object, ...]] = {}
    for other, values in conditions.items():
        allowed = tuple(values) if isinstance(values, list) else (values,)
        known = canonical(other) in dimensions or canonical(other) in fixed
        if not known or canonical(other) == target:
            names.problems.append(f"{where}: {other} is no other parameter; it has {listed({*dimensions, *fixed})}")
            continue
        dimension = dimensions.get(canonical(other))
        strange = [value for value in allowed if isinstance(dimension, Choice) and value not in dimension.values]
        if strange:
            names.problems.append(f"{where}: {other} is never {strange[0]!r}, as it is searched")
        found[canonical(other)] = allowed
    return {target: found}


def _constraints(
    place: Key, texts: Sequence[str], allowed: Collection[str], given: Sequence[str], names: Names
) -> Iterator[Constraint]:
    """The constraints that are the member's; of the others the wrong ones become problems.

    Args:
        place: the section that they stand in.
        texts: as they are written.
        allowed: names that constraints of this section may have.
        given: names of the member's values.
        names: of the member's parameters; takes problems.
    """
    where = names.origins.place(*place, "search", "constraints")
    known = {name.removeprefix("params.") for name in given}
    for text in texts:
        try:
            constraint = Constraint.parse(text)
        except ValueError as err:
            names.problems.append(f"{where}: {text!r} {err}")
            continue
        unknown, missing = sorted(constraint.names - set(allowed)), sorted(constraint.names - known)
        if unknown:
            hint = did_you_mean(unknown[0], allowed) or f"; it has {listed(allowed)}"
            names.problems.append(f"{where}: {text!r} names {unknown[0]!r}, which is no parameter{hint}")
        elif constraint.names <= names.parameters.keys():
            if missing:
                names.problems.append(f"{where}: {text!r} needs a value of {missing[0]}; set params.{missing[0]}")
            else:
                yield constraint


def _ordered(
    dimensions: Mapping[str, Dimension], when: Mapping[str, Mapping[str, object]], names: Names, place: str
) -> dict[str, Dimension]:
    """The dimensions, each after those that its condition names; otherwise as they were written."""
    ordered: dict[str, Dimension] = {}
    left = dict(dimensions)
    while left:
        ready = [name for name in left if all(other not in left for other in when.get(name, {}))]
        if not ready:
            names.problems.append(f"{place}: {listed(left)} depend on each other in a circle")
            return dict(dimensions)
        ordered[ready[0]] = left.pop(ready[0])
    return ordered
