"""The loop: every live trial has one turn, all wait at the barrier, the journal takes the round, and again."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import KW_ONLY, dataclass, field

from runner.loop.interfaces import Control, Journal, Policy, Proposer, Watcher
from runner.loop.judge import Round, check_failed, dated, ends_now, finished_trials, judge, settle, trials_of
from runner.loop.recovery import Recovery
from runner.loop.schedule import Schedule
from runner.records import Clone, Decision, Export, Failure, Orders, Report, Trial, Verdict, in_groups, proposals
from runner.search.policy import SearchPolicy
from runner.search.rules import RuleState


@dataclass(frozen=True, kw_only=True, slots=True)
class _Barrier:
    """Everything that is decided at one barrier.

    Args:
        reports: of trials that had a turn.
        verdicts: about them, and about others that end.
        exports: of trials that end.
        compared: trials that the policy or a user ends here.
        added: trials that join the sweep.
        clones: trials that go on from the state of others.
        decisions: that follow from no verdict.
        orders: of users.
    """

    reports: Mapping[str, Report | Failure]
    verdicts: Mapping[str, Verdict]
    exports: Mapping[str, Export | Failure]
    compared: Mapping[str, Verdict]
    added: tuple[Trial, ...]
    clones: Mapping[str, Clone]
    decisions: tuple[Decision, ...]
    orders: Orders

    @property
    def ended(self) -> list[str]:
        """Trials that train no more."""
        return [trial_id for trial_id, verdict in self.verdicts.items() if verdict.ends]


@dataclass
class Loop:
    """Trains every trial of a schedule to its end, or until the sweep stops.

    The watcher and MLflow follow the journal: nothing acts on a round before it is durable.

    Args:
        schedule: decides which trials have a turn.
        recovery: the fleet, which loses no trial.
        journal: records every round.
        watcher: shows every round.
        pasts: state of the rules for trials that an earlier driver has trained.
        policy: ends trials by comparing them.
        proposer: adds trials at barriers; None for a sweep whose trials are all known.
        control: reads what users ask; None without an inbox.
        stopping: true once the sweep shall stop; the current round ends, without reports of interrupted turns.
        max_failed_trials: number of trials that may fail; None for no limit.
    """

    schedule: Schedule
    recovery: Recovery
    journal: Journal
    watcher: Watcher
    _: KW_ONLY
    pasts: Mapping[str, RuleState] = field(default_factory=dict)
    policy: Policy = field(default_factory=SearchPolicy)
    proposer: Proposer | None = None
    control: Control | None = None
    stopping: Callable[[], bool] = lambda: False
    max_failed_trials: int | None = None

    def __post_init__(self) -> None:
        self._past = dict(self.pasts)
        self._ending: dict[str, Verdict] = {}  # decided about trials that have not ended yet

    def run(self) -> None:
        """Trains until nothing is left, or until the rest waits for trials that are paused.

        Raises:
            FleetError: a worker could not be replaced.
            StorageError: a disk is full; `resume` repeats what could not be stored.
            TooManyFailuresError: more trials have failed than may.
        """
        failed = 0
        self._ending |= self.policy.decide({}, {})  # about trials that had no seat under an earlier driver
        self._clone_before()
        while self.schedule.has_work() and not self.stopping():
            self.schedule.close(self.recovery.retired)
            work = self._in_stacks(self.schedule.next_round(self._ending))
            if not work:
                return
            self.journal.assign(work)
            self.watcher.begin([trial.id for trial in trials_of(work)])
            barrier = self._decide(work, self.recovery.advance(work))
            self.journal.commit(barrier.reports, barrier.verdicts, barrier.exports, barrier.added, barrier.decisions)
            self._act(barrier)
            failed += check_failed(barrier.verdicts, failed, self.max_failed_trials)

    def _in_stacks(self, work: Round) -> Round:
        """The orders with the sizes of their stacks, which the journal has."""
        decisions = self.recovery.sizes.unrecorded(work)
        if decisions:
            self.journal.add((), decisions)
            self.recovery.sizes.take(decisions)
        return self.recovery.sizes.applied(work)

    def _clone_before(self) -> None:
        """Carries out clones that are due before the first round, because more epochs were asked for."""
        decisions = tuple(self.policy.clones().values())
        if decisions:
            self.journal.add((), decisions)
            self._clone({made.trial_id: Clone.of(made.arguments) for made in decisions})

    def _decide(self, work: Round, reports: Mapping[str, Report | Failure]) -> _Barrier:
        """Decides about every trial: its own rules first, then users and comparisons, then the sampler."""
        own = self.policy.spare(judge(work, reports, self._past))
        reports, verdicts, exports = self._export(work, reports, own, own)
        orders = Orders() if self.control is None else self.control.read(reports)
        self.policy.end(orders.ends)
        self._ending |= {**self.policy.decide(reports, verdicts), **orders.ends}
        compared = ends_now(work, self.schedule.unbegun(self._ending), verdicts, self._ending, self._past)
        self.recovery.freeze(compared)
        reports, verdicts, more = self._export(work, reports, verdicts | compared, compared)
        proposed: tuple[Trial, ...] = ()
        if self.proposer is not None and not self.policy.is_over:
            proposed = tuple(self.proposer.propose(reports, verdicts))
        decisions = (*proposals(proposed), *dated((*orders.decisions, *self.policy.clones().values()), reports))
        self.recovery.sizes.note(reports)
        ended = {trial_id: verdict for trial_id, verdict in verdicts.items() if verdict.ends}
        if compared:
            standing, policy = self.schedule.standing(), self.policy
            decisions += self.recovery.sizes.after_rung(standing, ended, self.schedule.slots, policy.next_rung)
        return _Barrier(
            reports=reports, verdicts=verdicts, exports=exports | more, compared=compared,
            added=(*proposed, *orders.added), decisions=decisions, orders=orders,
            clones={one.trial_id: Clone.of(one.arguments) for one in decisions if one.kind == "clone"},
        )  # fmt: skip

    def _act(self, barrier: _Barrier) -> None:
        """Carries out what the journal has."""
        if self.control is not None:
            self.control.obeyed(barrier.verdicts)
        self.schedule.apply(barrier.verdicts)
        self.recovery.sizes.take(barrier.decisions)
        self.schedule.add(barrier.added)
        for group in in_groups(barrier.added, barrier.decisions):
            self.policy.add(group)
        self.watcher.add(barrier.added)
        self.watcher.show(barrier.reports, barrier.verdicts)
        self.recovery.keep(self.schedule.live(), frozen=barrier.compared)
        self.recovery.forget(barrier.ended)
        self._clone(barrier.clones)
        for trial_id in barrier.ended:
            self._ending.pop(trial_id, None)
        if not self.stopping():
            self.recovery.put_aside(self.schedule.pause(barrier.orders.pauses))
            self.schedule.go_on(barrier.orders.continues)
            self.recovery.put_aside(self.schedule.give_way())
            self.recovery.renew(self.schedule.live(), self.schedule.queued)
        self.recovery.check_disks()

    def _clone(self, clones: Mapping[str, Clone]) -> None:
        """Lets trials go on from the states of others, all of which stand at this barrier."""
        turns = self.schedule.clone(clones)
        self.recovery.adopt(
            {trial_id: (turn, clones[trial_id]) for trial_id, turn in turns.items()}, self.schedule.live()
        )
        for trial_id, turn in turns.items():
            self.policy.take_clone(trial_id, clones[trial_id])
            self.watcher.clone(turn.trial, clones[trial_id])
            past = self._past.get(trial_id, RuleState())
            self._past[trial_id] = past.cloned(clones[trial_id].epoch)

    def _export(
        self,
        work: Round,
        reports: Mapping[str, Report | Failure],
        verdicts: Mapping[str, Verdict],
        ending: Mapping[str, Verdict],
    ) -> tuple[dict[str, Report | Failure], dict[str, Verdict], dict[str, Export | Failure]]:
        """Exports the models of trials that `ending` ends; returns reports and verdicts as `settle`, and exports."""
        finished = finished_trials(work, ending)
        exports = self.recovery.export(finished)
        return *settle(reports, verdicts, finished, exports), exports
