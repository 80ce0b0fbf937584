"""Makes the trials that a user's requests add to a sweep: more of its search, chosen settings, and clones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from runner.driver.lineage import state_of
from runner.errors import ConfigError
from runner.journal.inbox import Request
from runner.records import USER, Clone, Decision, Failure, Report, Trial, clone_decision
from runner.search.adding import chosen_trials, cloned_trial, is_trained, missing_trials
from runner.search.members import Member
from runner.search.proposer import WaveProposer
from runner.views.progress import Progress


@dataclass(kw_only=True)
class Adder:
    """Adds trials to a sweep.

    Args:
        members: of the sweep.
        progress: has all trials of the sweep so far.
        proposer: of members whose samplers learn; None if there is none.
        joining: trials that join at the present barrier, which `progress` does not have yet.
    """

    members: Sequence[Member]
    progress: Progress
    proposer: WaveProposer | None
    joining: list[Trial] = field(default_factory=list)

    @property
    def trials(self) -> list[Trial]:
        """All trials of the sweep, with those that join."""
        return [*(row.trial for row in self.progress.rows.values()), *self.joining]

    def obey(
        self, request: Request, folder: Path, reports: Mapping[str, Report | Failure]
    ) -> tuple[list[Trial], list[Decision]]:
        """The trials that join by a request, and the decisions that add them.

        Args:
            request: to `add` or `clone`.
            folder: the sweep's.
            reports: of the present barrier, which the journal does not have yet.

        Raises:
            ConfigError: there is no such member or state, or no more settings.
        """
        if request.kind == "clone":
            trial, clone = self._clone(request, folder, reports)
            return [trial], [*_added([trial], request), clone_decision(trial.id, 0, clone, USER)]
        joined = self._add(request)
        return joined, _added(joined, request)

    def _add(self, request: Request) -> list[Trial]:
        """The trials that join now; a sampler that learns proposes its own later."""
        arguments = request.arguments
        member = self._member(arguments.get("member"))
        trials = self.trials
        own = [trial for trial in trials if trial.member == member.name]
        point, most = arguments.get("point"), arguments.get("max_trials")
        if isinstance(point, dict):
            found = chosen_trials(member, point, own, len(trials))
            if all(is_trained(trial, trials) for trial in found):
                raise ConfigError(f"{request_text(request)}: the sweep has a trial with these settings")
        elif not isinstance(most, int) or (self.proposer is not None and self.proposer.extend(member.name, most)):
            found = []
        else:
            found = missing_trials(member, most, own, len(trials))
        return found

    def _clone(self, request: Request, folder: Path, reports: Mapping[str, Report | Failure]) -> tuple[Trial, Clone]:
        """The trial that goes on from the state of another one, and that state."""
        epoch, values = request.arguments.get("epoch"), request.arguments.get("point")
        assert request.trial_id is not None
        assert isinstance(values, dict)
        newest = reports.get(request.trial_id)
        parent, clone = state_of(folder, request.trial_id, epoch, newest if isinstance(newest, Report) else None)
        trials = self.trials
        own = [trial for trial in trials if trial.member == parent.member]
        return cloned_trial(parent, values, own, len(trials)), clone

    def _member(self, name: object) -> Member:
        for member in self.members:
            if name in (None, member.name):
                return member
        raise ConfigError(f"no member is called {name!r}")


def _added(trials: Sequence[Trial], request: Request) -> list[Decision]:
    """The decisions that add these trials."""
    arguments: Mapping[str, int] = {"request": request.number}
    return [Decision(trial_id=one.id, step=0, kind="add", by=USER, arguments=arguments) for one in trials]


def request_text(request: Request) -> str:
    """A request for a message."""
    return " ".join(filter(None, (request.kind, request.trial_id)))
