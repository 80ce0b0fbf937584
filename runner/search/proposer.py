"""Proposes trials in waves, to samplers that learn from results.

A wave follows from the config, the seed and the results of the waves before it, never from timing: with equal results
the same trials are proposed, whatever the number of slots and however often the driver died.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType

from runner.config.schema import Config
from runner.config.schema import Search as SearchConfig
from runner.records import Failure, Report, Trial, Verdict
from runner.search.brackets import Bracket
from runner.search.cohorts import Scoring
from runner.search.members import Member
from runner.search.population import Population
from runner.search.searching import LEARNING
from runner.search.stopping import brackets_of, survive_by
from runner.search.studies import StudySampler, Told
from runner.search.waves import STARTUP, MemberProposer, Turn


class WaveProposer:
    """Proposes the trials of all members whose samplers learn; others have all of theirs from the beginning.

    Args:
        proposers: of these members.
        count: trials that the sweep has without them.
    """

    def __init__(self, proposers: Sequence[MemberProposer], count: int) -> None:
        self._proposers, self._count = list(proposers), count
        self._scoring: Scoring | None = None
        self._like: dict[str, Trial] = {}

    def first(self) -> list[Trial]:
        """The first wave of every member."""
        return self._due()

    def settle(self, trials: Iterable[Trial], scoring: Scoring, wave: int) -> None:
        """Takes what was decided before the first round.

        Args:
            trials: with every `auto` decided; later trials of their members are decided alike.
            scoring: how results are compared.
            wave: settings of a wave if the config leaves that open.
        """
        self._scoring = scoring
        for trial in trials:
            self._like.setdefault(trial.member, trial)
        for proposer in self._proposers:
            proposer.wave = proposer.wave or wave

    def replay(
        self, trials: Iterable[Trial], turns_of: Callable[[Trial], Sequence[Turn]], ended: Container[str]
    ) -> bool:
        """Repeats the proposals of earlier drivers, whose results the sampler must know.

        Args:
            trials: that the journal has.
            turns_of: the reports of a trial, each with its verdict.
            ended: trials that have ended.

        Returns:
            Whether the proposals are those that the journal has. Another version of Optuna may draw others; the sampler
            then goes on from those of the journal.
        """
        known = {trial.id: trial for trial in trials}
        self._count = len(known)
        same = [proposer.replay(known, turns_of, ended, self._scores) for proposer in self._proposers]
        return all(same)

    def propose(self, reports: Mapping[str, Report | Failure], verdicts: Mapping[str, Verdict]) -> Sequence[Trial]:
        """As `loop.interfaces.Proposer.propose`."""
        for proposer in self._proposers:
            for trial_id, verdict in verdicts.items():
                if not proposer.owns(trial_id):
                    continue
                if trial_id in reports:
                    proposer.take(trial_id, reports[trial_id], verdict, self._scores)
                elif verdict.ends:
                    proposer.end([trial_id])
        return [decided_like(trial, self._like[trial.member]) for trial in self._due()]

    def extend(self, member: str, max_trials: int) -> bool:
        """Raises the limit of a member; returns whether its sampler is one of these."""
        for proposer in self._proposers:
            if proposer.member.name == member:
                proposer.member = replace(proposer.member, max_trials=max_trials)
                return True
        return False

    def exhausted(self) -> Iterator[str]:
        """A sentence for each member whose space has no more settings, although more trials were wanted."""
        for one in self._proposers:
            if one.is_exhausted:
                yield exhaustion(one.member, one.trials)

    @property
    def _scores(self) -> Scoring:
        assert self._scoring is not None, "settle comes before the first report"
        return self._scoring

    def _due(self) -> list[Trial]:
        found: list[Trial] = []
        for proposer in self._proposers:
            if proposer.is_due:
                found += proposer.next_wave(self._count + len(found))
        self._count += len(found)
        return found


def decided_like(trial: Trial, like: Trial) -> Trial:
    """The trial with every `auto` decided as for another one of its member."""
    names = ["compile", "steps_per_round", "epochs_per_round"]
    if "train.epochs" not in trial.searched:
        names.append("epochs")  # which a user may have raised since
    if trial.likely_program == like.likely_program:  # others would be few in a stack of that size
        names += ["stack", "stack_refused"]
    return replace(trial, train=replace(trial.train, **{name: getattr(like.train, name) for name in names}))


def make_proposer(
    search: SearchConfig,
    members: Sequence[Member],
    count: int,
    *,
    prefix: bool,
    known: Mapping[str, Sequence[Told]] = MappingProxyType({}),
) -> WaveProposer | None:
    """The proposer of a sweep; None if no sampler learns from results.

    Args:
        search: from the config.
        members: of the sweep.
        count: trials that the sweep has without it.
        prefix: ids begin with the member's name.
        known: results of earlier sweeps, by member.
    """
    proposers = []
    for member in members:
        if member.sampler == "tpe" or member.sampler == "cmaes":
            sampler = StudySampler(member.sampler, member.space, member.sampler_seed, STARTUP)
            sampler.learn(known.get(member.name, ()))
            brackets = None if search.stop is None else brackets_of(search, member.train, learns=True)
            wave = None if search.wave == "auto" else search.wave
            proposers.append(
                MemberProposer(
                    member=member,
                    sampler=sampler,
                    wave=wave,
                    brackets=brackets,
                    survive=survive_by(search),
                    prefix=prefix,
                )
            )
    return WaveProposer(proposers, count) if proposers else None


def with_wave(config: Config, wave: int) -> Config:
    """The config with the size of a wave decided, as it is recorded."""
    if config.search.wave != "auto":
        return config
    return config.model_copy(update={"search": config.search.model_copy(update={"wave": wave})})


def exhaustion(member: Member, trials: int) -> str:
    """A sentence for a member whose space has fewer settings than were wanted."""
    return f"{member.name}: the space has no more settings; {trials} of search.max_trials={member.max_trials} trials"


def populations_of(search: SearchConfig, members: Iterable[Member], scoring: Scoring) -> dict[str, Population]:
    """The population of each member; empty if trials do not go on from each other's states."""
    if search.population is None:
        return {}
    return {
        one.name: Population(
            rules=search.population,
            space=one.space,
            scoring=scoring,
            seed=one.sampler_seed,
            epochs=one.train.epochs,
        )
        for one in members
    }


def layouts_of(search: SearchConfig, members: Iterable[Member]) -> dict[str, Iterator[Bracket]]:
    """The brackets of each member; empty if no rule compares trials."""
    if search.stop is None:
        return {}
    return {one.name: brackets_of(search, one.train, learns=one.sampler in LEARNING) for one in members}
