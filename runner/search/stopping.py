"""Reads from the config how a sweep's trials are compared and when it ends."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from runner.config.schema import Config
from runner.config.schema import Search as SearchConfig
from runner.records import TrainSettings, Trial
from runner.search.brackets import Bracket, halving, hyperband, rung_epochs
from runner.search.cohorts import Cohorts, Scoring, Survive, keep_best, keep_median
from runner.search.policy import Limit, SearchPolicy, StepBudget, TargetReached, TimeBudget
from runner.search.population import Population

_ALL = 2**31  # size of a cohort that takes every setting


def problems_of(
    config: Config,
    train: TrainSettings,
    searched: Sequence[str],
    where: str,
    repeats: int = 1,
    space: Sequence[str] = (),
) -> Iterator[str]:
    """What is wrong with a stopping rule for trials that are trained like this.

    Args:
        config: of the sweep.
        train: settings of a member.
        searched: names that its trials differ in.
        where: the place of `search.stop`, for messages.
        repeats: trials of each setting.
        space: names of the search space, without those of points.
    """
    search = config.search
    if search.population is not None:
        yield from _problems_of_population(config, train, searched, repeats, space)
    if search.stop is None:
        return
    if "train.epochs" in searched:
        yield f"{where}: {search.stop} compares trials at equal epochs, and train.epochs is searched; fix train.epochs"
    if not rungs_of(search, train):
        yield (
            f"{where}: {search.stop} compares no trials before their end: train.epochs={train.epochs}, "
            f"search.min_epochs={search.min_epochs}, search.factor={search.factor}, "
            f"train.validate_every={train.validate_every}; {_remedy(search, train)}"
        )


def _problems_of_population(
    config: Config, train: TrainSettings, searched: Sequence[str], repeats: int, space: Sequence[str]
) -> Iterator[str]:
    search, rules = config.search, config.search.population
    assert rules is not None
    where = config.origins.place("search", "population")
    fixed = [name for name in dict.fromkeys(searched) if name == "seed" or name.startswith("train.")]
    if fixed:
        yield f"{where}: varies parameters of the experiment only; fix {', '.join(fixed)}"
    if not space:
        yield f"{where}: varies searched parameters, and none is; give a range or a list, not search.points"
    if search.max_trials == 1:
        yield f"{where}: a trial alone has no other to go on from; raise search.max_trials"
    if search.stop is not None:
        yield f"{where}: does not go with search.stop={search.stop}: its trials are replaced, not stopped; remove one"
    if repeats > 1:
        yield f"{where}: its trials change their values, so that repeats of one setting mean nothing; give one seed"
    if rules.interval >= train.epochs:
        yield f"{where}.interval: must be below train.epochs={train.epochs}; got {rules.interval}"
    elif rules.interval % train.validate_every:
        yield (
            f"{where}.interval: trials are compared by a validation, and train.validate_every={train.validate_every}; "
            f"give a multiple of it; got {rules.interval}"
        )
    for name in ("early_stopping", "reduce_lr_on_plateau"):
        if getattr(train, name) is not None:
            yield f"{where}: does not go with train.{name}, which follows a single trial; remove one of the two"


def _remedy(search: SearchConfig, train: TrainSettings) -> str:
    """The smallest change with which trials are compared: an earlier first comparison, or else more epochs."""
    for epoch in range(min(search.min_epochs, train.epochs), 0, -1):
        if rungs_of(search.model_copy(update={"min_epochs": epoch}), train):
            return f"set search.min_epochs to {epoch} at most"
    longer = (epochs for epochs in itertools.count(train.epochs + 1) if rungs_of(search, replace(train, epochs=epochs)))
    return f"train at least {next(longer)} epochs"


def rungs_of(search: SearchConfig, train: TrainSettings) -> tuple[int, ...]:
    """The epochs after which trials that are trained like this are compared: some of those with a validation."""
    every = train.validate_every
    if search.stop == "median":
        first = -(-search.min_epochs // every) * every
        return tuple(range(first, train.epochs, every))
    return rung_epochs(search.min_epochs, train.epochs, search.factor, every)


def first_comparison(search: SearchConfig, train: TrainSettings) -> int:
    """The epoch after which trials that are trained like this begin to be fewer; their last without comparisons."""
    rungs = () if search.stop is None else rungs_of(search, train)
    return rungs[0] if rungs else train.epochs


def brackets_of(search: SearchConfig, train: TrainSettings, *, learns: bool) -> Iterator[Bracket]:
    """The layout of the cohorts of a member.

    Args:
        search: from the config.
        train: settings of the member.
        learns: its sampler learns from results, so that brackets that leave one trial follow one another; otherwise all
            settings are one bracket, whose comparison is the fairest.
    """
    rungs = rungs_of(search, train)
    if search.stop == "hyperband":
        return hyperband(rungs, search.factor)
    return halving(rungs, search.factor ** len(rungs) if learns and search.stop == "halving" else _ALL)


def make_policy(
    search: SearchConfig,
    layouts: Mapping[str, Iterator[Bracket]],
    trials: Sequence[Trial],
    scoring: Scoring,
    spent_s: float = 0.0,
    populations: Mapping[str, Population] | None = None,
) -> SearchPolicy:
    """The policy of a sweep, which knows these trials.

    Args:
        search: from the config.
        layouts: the brackets of each member, as `brackets_of`.
        trials: of the sweep, in order.
        scoring: how they are compared.
        spent_s: seconds that earlier drivers took.
        populations: of members whose trials go on from each other's states.
    """
    cohorts = None
    if search.stop is not None:
        cohorts = Cohorts(scoring, search.stop, survive_by(search), layouts)
    policy = SearchPolicy(cohorts, tuple(_limits(search, scoring, spent_s)), populations)
    policy.add(trials)
    return policy


def survive_by(search: SearchConfig) -> Survive:
    """Who survives a comparison."""
    return keep_median if search.stop == "median" else keep_best(search.factor)


def _limits(search: SearchConfig, scoring: Scoring, spent_s: float) -> Iterator[Limit]:
    if search.target is not None:
        yield TargetReached(scoring, search.target)
    if search.max_steps is not None:
        yield StepBudget(search.max_steps)
    if search.max_hours is not None:
        yield TimeBudget(search.max_hours, spent_s)
