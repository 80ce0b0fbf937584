"""Reads what a user wants to add to a sweep, and checks it against the sweep's config."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from runner.config import Config, load_config
from runner.config.schema import MAX_TRIALS
from runner.errors import ConfigError
from runner.journal import JournalReader, inbox
from runner.journal.inbox import Request
from runner.search.adding import point_of
from runner.search.members import Member, resolve_members
from runner.search.parameters import canonical


def request_to_add(folder: Path, what: int | Mapping[str, object], name: str | None) -> Request:
    """The request that adds trials.

    Args:
        folder: the sweep's.
        what: how many trials of the search, or the values of one setting.
        name: of the member; None if there is only one.

    Raises:
        ConfigError: there is no such member, it has no such parameter, or the sweep would have too many trials.
    """
    config = load_config(None, [], config_dir=folder)
    with JournalReader(folder) as reader:
        trials = [record.trial for record in reader.trials()]
    members = resolve_members(config, {trial.member: trial.source for trial in trials})
    member = _chosen(members, name)
    if isinstance(what, int):
        if what < 1:
            raise ConfigError(f"{what}: adds no trial; give a number above 0, or a setting as key=value")
        most = _limit(folder, member, what)
        return Request(kind="add", arguments={"member": member.name, "max_trials": most})
    point = _point(config, member, what)
    _refuse_folds(member, point)
    return Request(kind="add", arguments={"member": member.name, "point": point})


def request_to_clone(folder: Path, trial_id: str, what: Mapping[str, object], epoch: int | None) -> Request:
    """The request that adds a trial which goes on from the state of another one.

    Args:
        folder: the sweep's.
        trial_id: whose state it is.
        what: changed values by name.
        epoch: after which the other trial had this state; None for its newest.

    Raises:
        ConfigError: the trial has not trained so far, or a value cannot be changed.
    """
    config = load_config(None, [], config_dir=folder)
    with JournalReader(folder) as reader:
        records = {record.id: record for record in reader.trials()}
    record = records[trial_id]
    if record.trial.has_callbacks:
        raise ConfigError(
            f"trial {trial_id} has callbacks, whose state cannot be copied, so that nothing can go on from it; add a "
            f"trial that trains from its beginning:  python -m runner add {folder.name} key=value ..."
        )
    if record.epochs == 0:
        raise ConfigError(f"trial {trial_id} has trained no epoch so far; there is no state to go on from")
    if record.epochs < (epoch or 0):
        raise ConfigError(f"--at-epoch {epoch}: trial {trial_id} has trained {record.epochs} epochs")
    sources = {one.member: one.trial.source for one in records.values()}
    member = _chosen(resolve_members(config, sources), record.member)
    point = {name.removeprefix("params."): value for name, value in _point(config, member, what).items()}
    _refuse_folds(member, point)
    strange = [name for name in point if name not in record.trial.params]
    if strange:
        raise ConfigError(
            f"{strange[0]}: a clone keeps its seed and training settings; change parameters of the experiment"
        )
    if (epoch or record.epochs) >= record.trial.train.epochs:
        raise ConfigError(
            f"trial {trial_id} has trained all of its {record.trial.train.epochs} epochs: nothing is left for a clone; "
            "go on from an earlier state with --at-epoch, or give all trials more with `resume --more-epochs`"
        )
    return Request(kind="clone", trial_id=trial_id, arguments={"point": point, "epoch": epoch})


def _chosen(members: Sequence[Member], name: str | None) -> Member:
    known = ", ".join(member.name for member in members)
    if name is None and len(members) > 1:
        raise ConfigError(f"the sweep has several members; add --member with one of {known}")
    for member in members:
        if name in (None, member.name):
            return member
    raise ConfigError(f"no member is called {name!r}; the sweep has {known}")


def _refuse_folds(member: Member, point: Mapping[str, object]) -> None:
    """Refuses a fold of the user's own: weights would be compared on rows that they were trained on."""
    for name in ("fold", "folds"):
        if member.folds is not None and name in point:
            raise ConfigError(f"{name}: search.folds={member.folds} gives each trial its own; leave it out")


def _limit(folder: Path, member: Member, count: int) -> int:
    """The limit of trials that this makes, in addition to requests that still wait."""
    if member.sampler in ("grid", "points"):
        raise ConfigError(f"{member.name}: {member.sampler} lists its settings, and has no more; add one as key=value")
    waiting = [one.arguments for one in inbox.asked(folder) if one.arguments.get("member") == member.name]
    asked = [most for arguments in waiting if isinstance(most := arguments.get("max_trials"), int)]
    limit = max([member.max_trials or 0, *asked]) + count
    if limit > MAX_TRIALS:
        raise ConfigError(f"{limit} trials; a sweep has at most {MAX_TRIALS}")
    return limit


def _point(config: Config, member: Member, what: Mapping[str, object]) -> dict[str, object]:
    """The setting by canonical names, with values of the parameters' types."""
    return dict(point_of(member, config.origins, {canonical(name): value for name, value in what.items()}))
