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
from runner.search.searching import LEARNING
from runner.search.space import Point, key_of
from runner.search.studies import Told

FILE = "warm_start.json"
Known = Mapping[str, Sequence[Told]]
"""Results of earlier sweeps, by member."""


def known_results(config: Config, members: Iterable[Member], root: Path) -> Known:
    """The results of the sweeps in `search.warm_start` that are of use: settings within a member's space.

    Seeds of one setting count by their mean, each with the value of its model.

    Args:
        config: of the new sweep.
        members: of it.
        root: the folder of all sweeps.

    Raises:
        ConfigError: there is no such sweep, it has nothing of use, or no sampler learns.
    """
    names, where = config.search.warm_start, config.origins.place("search", "warm_start")
    if not names:
        return {}
    learning = [member for member in members if member.sampler in LEARNING]
    if not learning:
        raise ConfigError(f"{where}: needs a sampler that learns; set search.sampler to {' or '.join(LEARNING)}")
    found: dict[str, list[Told]] = {member.name: [] for member in learning}
    for name in names:
        try:
            review = open_review(find_sweep(name, root))
        except RunnerError as err:
            raise ConfigError(f"{where}: {err}") from err
        for member in learning:
            found[member.name] += _results(review, member)
        if not any(found.values()):
            metric = learning[0].metric or review.sweep.metric
            searched = ", ".join(name for member in learning for name in member.space.dimensions)
            raise ConfigError(
                f"{where}: {review.sweep.id} has no trial with a {metric} whose values of {searched} are in the search "
                "space"
            )
    return found


def _results(review: Review, member: Member) -> Iterator[Told]:
    """What a sweep knows of a member's space."""
    metric = member.metric or review.sweep.metric
    sign = -1 if member.goal == "maximize" else 1
    costs: dict[str, list[float]] = {}
    points: dict[str, Point] = {}
    for trial in review.trials:
        point, score = _point(trial, member), trial.score(metric)
        if point is not None and score is not None and trial.ended_well:
            points.setdefault(key_of(point), point)
            costs.setdefault(key_of(point), []).append(sign * score)
    for key, point in points.items():
        yield Told(point=point, costs={1: statistics.fmean(costs[key])})


def _point(trial: TrialRecord, member: Member) -> Point | None:
    """The trial's point in the member's space; None if it lies outside."""
    values: dict[str, object] = {}
    for name, dimension in member.space.dimensions.items():
        bare = parameter_name(name)
        source = trial.trial.settings if bare is None else trial.trial.params
        value = source.get(name if bare is None else bare)
        if not dimension.has(value):
            return None
        values[name] = value
    active = member.space.active(values)
    return active if member.space.allows(active) else None


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
