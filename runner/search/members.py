"""Makes members of config and signatures: each experiment with checked parameters, space and training settings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from runner.config import hints
from runner.config.schema import Config
from runner.config.space import Dimension
from runner.errors import ConfigError
from runner.records import Goal, Source, TrainSettings
from runner.search.drafts import Draft, read_drafts
from runner.search.member_checks import given_twice, problems_of_callbacks, problems_of_folds, secrets_among
from runner.search.parameters import Names, canonical, parameter_name
from runner.search.ranking import ranking, training
from runner.search.searching import ResolvedSampler, default_trials, resolve_sampler, resolve_seeds, resolve_space
from runner.search.space import Point, Space
from runner.search.stopping import problems_of


@dataclass(frozen=True, kw_only=True, slots=True)
class Member:
    """One experiment of a sweep, checked.

    Args:
        name: the sweep's name if there is only one experiment.
        source: its code.
        params: fixed values over the signatures' defaults; the function applies a default that is not a literal.
        data_params: names that `load_data` takes.
        model_params: names that `build_model` takes.
        callback_params: names that `callbacks` takes; None if there is no such function.
        space: what is searched: `units`, `train.batch_size`, or `params.seed` for a parameter named seed.
        points: for the sampler `points`, each trial's values by the same names, and `seed`.
        sampler: how settings are drawn.
        sampler_seed: of the sampler.
        seeds: of training; each setting has one trial for each.
        folds: how many there are if each of these trials has its own; None for none.
        max_trials: most trials of this member; None for no limit.
        metric: what ranks trials; None for `val_loss` if the model produces it, else `loss`.
        goal: whether higher or lower values of the metric are better.
        train: training settings; a trial's searched ones replace them.
    """

    name: str
    source: Source
    params: Mapping[str, object]
    data_params: tuple[str, ...]
    model_params: tuple[str, ...]
    callback_params: tuple[str, ...] | None
    space: Space
    points: tuple[Point, ...]
    sampler: ResolvedSampler
    sampler_seed: int
    seeds: tuple[int, ...]
    folds: int | None
    max_trials: int | None
    metric: str | None
    goal: Goal
    train: TrainSettings

    @property
    def max_settings(self) -> int | None:
        """Most settings of this member; None for no limit."""
        return None if self.max_trials is None else max(1, self.max_trials // len(self.seeds))


def resolve_members(config: Config, sources: Mapping[str, Source] | None = None) -> tuple[Member, ...]:
    """Reads every experiment's signature and checks the config against it. Nothing is imported.

    Args:
        config: of the sweep.
        sources: the code of each member, by name; None to read it from the disk.

    Raises:
        ConfigError: listing all problems at once.
    """
    drafts = read_drafts(config, sources or {})
    everywhere = frozenset(name for draft in drafts for name in draft.signature.parameters)
    problems: list[str] = []
    members = []
    for draft in drafts:
        names = Names(
            origins=config.origins, parameters=draft.signature.parameters, everywhere=everywhere, problems=problems
        )
        members.append(_member(config, draft, names))
    problems += _mixed_determinism(config, members)
    if config.tracking.register is not None and len(members) > 1:
        problems.append(
            f"{config.origins.place('tracking', 'register')}: a sweep of several members has no one best model, as "
            "their scores do not compare; leave it out, or train each member in a sweep of its own"
        )
    if problems:
        # Every member finds the problems at the top again.
        raise ConfigError(tuple(dict.fromkeys(problems)))
    return tuple(members)


def _mixed_determinism(config: Config, members: Sequence[Member]) -> list[str]:
    """Refuses differing values: TensorFlow's op determinism is one per process, which trains several members."""
    values = {member.train.deterministic for member in members}
    if len(values) == 1:
        return []
    own = [name for name, member in config.members.items() if "deterministic" in member.train.model_fields_set]
    where = config.origins.place("members", own[0], "train", "deterministic")
    unlike = ", ".join(f"{member.name}: {str(member.train.deterministic).lower()}" for member in members)
    return [f"{where}: is for a whole sweep, and members differ ({unlike}); set train.deterministic at the top"]


def _values(
    config: Config, draft: Draft, names: Names
) -> tuple[dict[str, object], dict[str, Dimension], tuple[Point, ...]]:
    """The member's fixed values, its dimensions and its points: its own before those of the sweep."""
    top, own, scope = config.search, draft.config.search, draft.scope
    own_fixed = names.params(scope, draft.config.params) if scope else {}
    fixed = {**names.params((), config.params), **own_fixed}
    shared_space = names.space((), top.space)
    # What a member fixes for itself is more specific than a search for all members.
    fixed_here = set(own_fixed) | {f"train.{name}" for name in draft.config.train.model_fields_set}
    space = {name: found for name, found in shared_space.items() if (parameter_name(name) or name) not in fixed_here}
    points = names.points((), top.points)
    if scope:
        own_space, own_points = names.space(scope, own.space), names.points(scope, own.points)
        space = {} if own.points else {**space, **own_space}
        points = own_points if own.points or own.space else points
    return fixed, space, points


def _member(config: Config, draft: Draft, names: Names) -> Member:
    top, scope = config.search, draft.scope
    fixed, space, points = _values(config, draft, names)
    seeds = resolve_seeds(config, config.origins.place("search", "space", "seed"), space, points, names.problems)
    names.problems.extend(given_twice(config, draft))
    texts = [text for _, text in draft.source.files]
    metric, goal = ranking(config, scope, draft.config, texts, names.problems)
    train = training(config, scope, draft.config, texts, names.problems)
    searched = [*space, *(name for point in points for name in point)]
    names.problems.extend(
        problems_of(config, train, searched, config.origins.place("search", "stop"), len(seeds), [*space])
    )
    names.problems.extend(problems_of_callbacks(config, draft))
    if top.folds is not None:
        names.problems.extend(problems_of_folds(config, draft, fixed, searched))
        fixed |= {"fold": 0, "folds": top.folds}
    params = _params(draft, fixed, space, points, names)
    names.problems.extend(secrets_among(config, draft, params, space, points))
    defaults = {canonical(f"params.{name}"): value for name, value in params.items()}
    whole = resolve_space(config, draft.config, scope, space, defaults, names)
    sampler = resolve_sampler(config, draft.config, scope, whole, points, names.problems)
    max_trials = draft.config.search.max_trials or top.max_trials
    if max_trials is not None and max_trials < len(seeds):
        where = config.origins.place("search", "max_trials")
        names.problems.append(f"{where}: {max_trials} trials hold no setting with its {len(seeds)} seeds")
    return Member(
        name=draft.name,
        source=draft.source,
        params=params,
        data_params=tuple(draft.signature.load_data),
        model_params=tuple(draft.signature.build_model),
        callback_params=None if draft.signature.callbacks is None else tuple(draft.signature.callbacks),
        space=whole,
        points=points,
        sampler=sampler,
        sampler_seed=seeds[0] if top.seed is None else top.seed,
        seeds=seeds,
        folds=top.folds,
        max_trials=max_trials or default_trials(config, train, sampler, len(seeds)),
        metric=metric,
        goal=goal,
        train=train,
    )


def _params(
    draft: Draft, fixed: Mapping[str, object], space: Mapping[str, Dimension], points: Sequence[Point], names: Names
) -> dict[str, object]:
    params: dict[str, object] = {}
    searched = {parameter_name(name) for name in space}
    given = [{parameter_name(name) for name in point} for point in points]
    for name, parameter in draft.signature.parameters.items():
        if name in fixed:
            params[name] = fixed[name]
        elif parameter.known_default:
            params[name] = parameter.default
        elif parameter.required and name not in searched and not (given and all(name in point for point in given)):
            where = f"{draft.source.path}:{parameter.line}: {name}"
            missing = [f"search.points[{index}]" for index, point in enumerate(given) if name not in point][:3]
            lacks = f" ({', '.join(missing)} lack it)" if missing and any(name in point for point in given) else ""
            hint = hints.for_parameter(name) if name in draft.signature.build_model else None
            names.problems.append(f"{where}: {hint or f'has no default and no value{lacks}; set params.{name}'}")
    return params
