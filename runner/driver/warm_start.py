"""What samplers know from earlier sweeps: read once, when a sweep begins, and kept beside its journal for `resume`."""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from runner.config import Config
from runner.errors import ConfigError, RunnerError
from runner.journal import TrialRecord, own_file, write_durably
from runner.records import decode, encode
from runner.review.catalog import Review, find_sweep, open_review
from runner.search.members import Member
from runner.search.parameters import parameter_name
from runner.search.space import Point, key_of
from runner.search.studies import Told
from runner.search.waves import STARTUP

FILE = "warm_start.json"
Known = Mapping[str, Sequence[Told]]
"""Results of earlier sweeps, by member."""


def with_sweeps(config: Config, root: Path) -> Config:
    """The config with the ids of the sweeps in `search.warm_start`, so that it says the same later.

    Raises:
        ConfigError: there is no such sweep.
    """
    if not config.search.warm_start:
        return config
    try:
        ids = [find_sweep(name, root).name for name in config.search.warm_start]
    except RunnerError as err:
        raise ConfigError(f"{config.origins.place('search', 'warm_start')}: {err}") from err
    search = config.search.model_copy(update={"warm_start": ids})
    return config.model_copy(update={"search": search}).with_origins(config.origins)


def known_results(config: Config, members: Iterable[Member], root: Path) -> Known:
    """The results of the sweeps in `search.warm_start` that are of use: settings within a member's space.

    Seeds of one setting count by their mean, each with the value of its model.

    Args:
        config: of the new sweep.
        members: of it.
        root: the folder of all sweeps.

    Raises:
        ConfigError: there is no such sweep, it has nothing of use, or no sampler learns from it.
    """
    names, where = config.search.warm_start, config.origins.place("search", "warm_start")
    learning = [member for member in members if member.sampler == "tpe"]
    if names and not learning:
        raise ConfigError(f"{where}: needs search.sampler=tpe; CMA-ES learns from its own generations only")
    found: dict[str, list[Told]] = {}
    for name in names:
        try:
            review = open_review(find_sweep(name, root))
        except RunnerError as err:
            raise ConfigError(f"{where}: {err}") from err
        of_use = {member.name: list(_results(review, member)) for member in learning}
        if not any(of_use.values()):
            metric = _metric(review, learning[0])
            searched = ", ".join(dict.fromkeys(name for member in learning for name in member.space.dimensions))
            raise ConfigError(
                f"{where}: {review.sweep.id} has no trial of use: one with {metric} whose values of {searched} are in "
                "the search space"
            )
        for member, results in of_use.items():
            found.setdefault(member, []).extend(results)
    return found


def lines(known: Known) -> Iterator[str]:
    """What samplers begin with, for a person."""
    for member, results in known.items():
        few = (
            ""
            if len(results) >= STARTUP
            else f"; its first settings are random, because it needs {STARTUP} to learn from"
        )
        yield f"{member}: tpe begins with {len(results)} settings of earlier sweeps{few}"


def _metric(review: Review, member: Member) -> str:
    """The metric by which the new sweep will rank its trials, as far as the earlier one can tell."""
    if member.metric is not None:
        return member.metric
    return "val_loss" if any("val_loss" in trial.metrics for trial in review.trials) else "loss"


def _results(review: Review, member: Member) -> Iterator[Told]:
    """What a sweep knows of a member's space."""
    metric, sign = _metric(review, member), -1 if member.goal == "maximize" else 1
    costs: dict[str, list[float]] = {}
    points: dict[str, Point] = {}
    for trial in _alike(review, member):
        point, score = _point(trial, member), trial.score(metric)
        if point is not None and score is not None and trial.ended_well:
            points.setdefault(key_of(point), point)
            costs.setdefault(key_of(point), []).append(sign * score)
    for key, point in points.items():
        yield Told(point=point, costs={1: statistics.fmean(costs[key])})


def _alike(review: Review, member: Member) -> list[TrialRecord]:
    """The trials of the same member: of its name, or of its experiment; all of a sweep that has one member only."""
    trials = list(review.trials)
    named = [trial for trial in trials if trial.member == member.name]
    same = [trial for trial in trials if trial.trial.source.path == member.source.path]
    return named or same or (trials if len({trial.member for trial in trials}) == 1 else [])


def _point(trial: TrialRecord, member: Member) -> Point | None:
    """The trial's point in the member's space; None if it lies outside."""
    values: dict[str, object] = {}
    for name in member.space.dimensions:
        bare = parameter_name(name)
        source = trial.trial.settings if bare is None else trial.trial.params
        values[name] = source.get(name if bare is None else bare)
    active = member.space.active(values)
    inside = all(member.space.dimensions[name].has(value) for name, value in active.items())
    return active if inside and member.space.allows(active) else None


def write_known(folder: Path, known: Known) -> None:
    """Writes the results into the sweep's folder; no file if there are none."""
    if known:
        plain = {
            member: [{"point": encode(dict(one.point)), "cost": one.costs[1]} for one in results]
            for member, results in known.items()
        }
        write_durably(own_file(folder, FILE), json.dumps(plain, indent=1).encode())


def read_known(folder: Path) -> Known:
    """The results that `write_known` wrote; empty if there is no file."""
    file = own_file(folder, FILE)
    if not file.exists():
        return {}
    plain = json.loads(file.read_text(encoding="utf-8"))
    return {
        member: [Told(point=decode(one["point"]), costs={1: one["cost"]}) for one in results]
        for member, results in plain.items()
    }
