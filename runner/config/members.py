"""Config and signatures to members: each experiment with its checked parameters, space and training settings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from runner import records
from runner.config.metrics import closest_produced, infer_goal, resolved_mode
from runner.config.names import NameChecker
from runner.config.origins import Key
from runner.config.problems import did_you_mean
from runner.config.schema import DEFAULT_RANDOM_TRIALS, Config, MemberConfig, MemberSearch, Train
from runner.config.signature import Parameter, Signature, parse_python, read_signature
from runner.config.sources import read_source
from runner.config.space import Choice, Dimension, Uniform
from runner.errors import ConfigError
from runner.records import Goal, Source, TrainSettings


@dataclass(frozen=True, kw_only=True, slots=True)
class Member:
    """One experiment of a sweep, checked.

    Args:
        name: the sweep's name where there is only one experiment.
        source: its code.
        params: fixed values, the signatures' defaults included; searched parameters are there with their defaults.
        data_params: names that `load_data` takes and whose value is known.
        model_params: names that `build_model` takes and whose value is known.
        space: what is searched: `units`, `train.batch_size`, `seed`, or `params.seed` for a parameter named seed.
        points: for the sampler `points`, each trial's values by the same names.
        sampler: how trials are drawn.
        max_trials: most trials of this member; None for no limit of its own.
        metric: metric that ranks trials; None for `val_loss` where it is produced, else `loss`.
        goal: which way the metric is better.
        train: training settings; a trial's searched ones replace them.
    """

    name: str
    source: Source
    params: Mapping[str, Any]
    data_params: tuple[str, ...]
    model_params: tuple[str, ...]
    space: Mapping[str, Dimension]
    points: tuple[Mapping[str, Any], ...]
    sampler: Literal["grid", "random", "points"]
    max_trials: int | None
    metric: str | None
    goal: Goal
    train: TrainSettings


@dataclass(frozen=True, kw_only=True, slots=True)
class _Draft:
    """A member as configured: `scope` is its place in the config, empty for a sweep of one experiment."""

    name: str
    scope: Key
    config: MemberConfig
    source: Source
    signature: Signature


def resolve_members(config: Config) -> tuple[Member, ...]:
    """Reads every experiment's signature and checks the config against it. Nothing is imported.

    Raises:
        ConfigError: listing all problems at once.
    """
    problems: list[str] = []
    drafts = _drafts(config, problems)
    members = [_member(config, draft, drafts, problems) for draft in drafts]
    # Settings for all members are checked with each of them; what they have in common is said once.
    problems = list(dict.fromkeys(problems))
    if problems:
        raise ConfigError(problems)
    return tuple(member for member in members if member is not None)


def _drafts(config: Config, problems: list[str]) -> list[_Draft]:
    wanted: dict[str, tuple[Key, MemberConfig]] = {
        name: (("members", name), member) for name, member in config.members.items()
    }
    if config.experiment is not None and not wanted:
        wanted = {config.name: ((), MemberConfig(experiment=config.experiment))}
    drafts = []
    for name, (scope, member) in wanted.items():
        try:
            source = read_source(member.experiment)
            signature = read_signature(parse_python(source.files[0][1], source.path), source.path)
            drafts.append(_Draft(name=name, scope=scope, config=member, source=source, signature=signature))
        except ConfigError as err:
            problems += _placed(err, config.origins.place(*scope, "experiment"), member.experiment)
        except (OSError, ValueError) as err:
            problems.append(f"{config.origins.place(*scope, 'experiment')}: cannot be read: {err}")
    return drafts


def _placed(err: ConfigError, place: str, path: str) -> list[str]:
    # A missing file is the config's error, anything else the file's own.
    missing = f"{path}: no"
    return [f"{place}: {problem}" if problem.startswith(missing) else problem for problem in err.problems]


def _member(config: Config, draft: _Draft, drafts: list[_Draft], problems: list[str]) -> Member | None:
    before = len(problems)
    checker = NameChecker(
        origins=config.origins,
        parameters=draft.signature.parameters,
        elsewhere=frozenset(name for other in drafts for name in other.signature.parameters),
        problems=problems,
    )
    search = draft.config.search
    own_search = bool(search.space or search.points)
    fixed = checker.params((), config.params, shared=bool(draft.scope))
    own = checker.params((*draft.scope,), draft.config.params) if draft.scope else {}
    fixed |= own
    space: dict[str, Dimension] = {}
    points: list[dict[str, Any]] = []
    shared = {} if search.points else checker.space((), config.search.space, shared=bool(draft.scope))
    # A member's own fixed value is more specific than a search for all members.
    own_train = {f"train.{name}" for name in draft.config.train.model_fields_set}
    space |= {name: found for name, found in shared.items() if name.removeprefix("params.") not in own and name not in own_train}
    if config.search.points and not own_search:
        points = checker.points((), config.search.points)
    if draft.scope:
        space |= checker.space(draft.scope, search.space)
        points = points or checker.points(draft.scope, search.points)
    _check_twice(config, draft, problems)
    settings = _search_settings(config, draft, space, points, problems)
    train = _train(config, draft, problems)
    params = _params(config, draft, fixed, space, points, problems)
    if len(problems) > before or settings is None:
        return None
    metric, goal, sampler, max_trials = settings
    return Member(
        name=draft.name,
        source=draft.source,
        params=params,
        data_params=tuple(name for name in draft.signature.load_data if _has_value(name, params, space, points)),
        model_params=tuple(name for name in draft.signature.build_model if _has_value(name, params, space, points)),
        space=space,
        points=tuple(points),
        sampler=sampler,
        max_trials=max_trials,
        metric=metric,
        goal=goal,
        train=train,
    )
