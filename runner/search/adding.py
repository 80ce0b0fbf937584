"""Trials that a user adds to a sweep: more of its search, or chosen settings."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Sequence
from dataclasses import replace

from runner.config.origins import Origins, Values
from runner.errors import ConfigError
from runner.experiment.signature import parse_python, read_signature
from runner.records import CHOSEN, Params, Trial
from runner.search.members import Member
from runner.search.parameters import Names, canonical
from runner.search.proposals import trials_of
from runner.search.proposer import decided_like
from runner.search.samplers import quasi_random, random_points
from runner.search.space import Point


def missing_trials(member: Member, max_trials: int, trials: Sequence[Trial], index: int) -> list[Trial]:
    """The trials that a member whose settings are drawn lacks of a new limit.

    Args:
        member: whose sampler does not learn; one that does proposes by itself.
        max_trials: the new limit.
        trials: of the member so far.
        index: of the first within the sweep.

    Raises:
        ConfigError: its sampler lists settings, and all are trained.
    """
    if member.sampler not in ("random", "qmc"):
        raise ConfigError(f"{member.name}: {member.sampler} lists its settings, and has no more; add one as key=value")
    begun = [trial for trial in trials if not trial.is_chosen]
    draw = quasi_random if member.sampler == "qmc" else random_points
    first, last = len(begun) // len(member.seeds), max_trials // len(member.seeds)
    points = list(itertools.islice(draw(member.space, member.sampler_seed), first, last))
    if not points:
        return []
    prefix = begun[0].id.startswith(f"{member.name}-")
    width = len(begun[0].id.removeprefix(f"{member.name}-"))
    return _alike(trials_of(member, points, len(begun), index, prefix=prefix, width=width), trials)


def chosen_trials(member: Member, point: Point, trials: Sequence[Trial], index: int) -> list[Trial]:
    """The trials of a chosen setting, one for each seed.

    Args:
        member: whose setting.
        point: by canonical name; what it leaves out has its default.
        trials: of the member so far.
        index: of the first within the sweep.
    """
    number = sum(trial.is_chosen for trial in trials)
    space = member.space
    defaults = {name: space.fixed[name] for name in space.dimensions if name in space.fixed}
    whole = {**defaults, **point}
    point = {**{name: value for name, value in point.items() if name not in whole}, **space.active(whole), **point}
    found = trials_of(member, [point], number, index, prefix=False)
    named = trials[0].id.startswith(f"{member.name}-")
    prefix = f"{member.name}-{CHOSEN}" if named else CHOSEN
    return _alike([replace(trial, id=f"{prefix}{trial.id}") for trial in found], trials)


def cloned_trial(parent: Trial, values: Params, trials: Sequence[Trial], index: int) -> Trial:
    """The trial that goes on from the state of another one.

    Args:
        parent: the other one, with the values that it had then.
        values: that change, by parameter.
        trials: of the member so far.
        index: within the sweep.
    """
    named = parent.id.startswith(f"{parent.member}-")
    number = sum(trial.is_chosen for trial in trials)
    name = f"{parent.member}-{CHOSEN}" if named else CHOSEN
    changed = {canonical(f"params.{one}") for one in values}
    inactive = tuple(one for one in parent.inactive if one not in changed)
    params = {**parent.params, **values}
    searched = tuple(dict.fromkeys((*parent.searched, *changed)))  # so that tables show what differs
    trial_id = f"{name}{number:03}"
    return replace(parent, id=trial_id, index=index, params=params, inactive=inactive, searched=searched)


def point_of(member: Member, origins: Origins, written: Values) -> Point:
    """A chosen setting, by canonical names and with values of the parameters' types.

    Args:
        member: whose setting.
        origins: of the sweep's config.
        written: values by name, as a user writes them.

    Raises:
        ConfigError: a name is none of its parameters, or a value is of another type.
    """
    signature = read_signature(parse_python(member.source.files[0][1], member.source.path), member.source.path)
    parameters, problems = signature.parameters, list[str]()
    names = Names(origins=origins, parameters=parameters, everywhere=frozenset(parameters), problems=problems)
    (point,) = names.points((), [written])
    if problems:
        raise ConfigError([problem.replace("search.points[0].", "") for problem in problems])
    return point


def is_trained(trial: Trial, trials: Collection[Trial]) -> bool:
    """Whether the sweep has a trial with these settings and this seed."""
    return any((other.member, other.settings) == (trial.member, trial.settings) for other in trials)


def _alike(added: Sequence[Trial], trials: Sequence[Trial]) -> list[Trial]:
    return [decided_like(trial, trials[0]) for trial in added]
