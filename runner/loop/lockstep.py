"""The loop: every live trial has one turn, all wait at the barrier, the journal takes the round, and again."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from runner.loop.interfaces import Control, Journal, Policy, Proposer, Watcher
from runner.loop.judge import Round, check_failed, dated, ends_now, finished_trials, judge, settle, trials_of
from runner.loop.recovery import Recovery
from runner.loop.schedule import Schedule
from runner.records import Export, Failure, Orders, Report, Verdict, in_groups, proposals
from runner.search.policy import SearchPolicy
from runner.search.rules import RuleState


def run(
    schedule: Schedule,
    recovery: Recovery,
    journal: Journal,
    watcher: Watcher,
    *,
    pasts: Mapping[str, RuleState] | None = None,
    policy: Policy | None = None,
    proposer: Proposer | None = None,
    control: Control | None = None,
    stopping: Callable[[], bool] = lambda: False,
    max_failed_trials: int | None = None,
) -> None:
    """Trains every trial of the schedule to its end, or until the sweep stops.

    The watcher and MLflow follow the journal: nothing acts on a round before it is durable.

    Args:
        schedule: decides which trials have a turn.
        recovery: the fleet, which loses no trial.
        journal: records every round.
        watcher: shows every round.
        pasts: state of the rules for trials that an earlier driver has trained.
        policy: ends trials by comparing them; None if none is compared.
        proposer: adds trials at barriers; None for a sweep whose trials are all known.
        control: reads what users ask; None without an inbox.
        stopping: true once the sweep shall stop; the current round ends, without reports of interrupted turns.
        max_failed_trials: number of trials that may fail; None for no limit.

    Raises:
        FleetError: a worker could not be replaced.
        StorageError: a disk is full; `resume` repeats what could not be stored.
        TooManyFailuresError: more trials have failed than may.
    """
    past = dict(pasts or {})
    failed = 0
    policy = policy or SearchPolicy()
    ending = dict(policy.decide({}, {}))  # what an earlier driver decided about trials that had no seat
    while schedule.has_work() and not stopping():
        schedule.close(recovery.retired)
        work = schedule.next_round(ending)
        if not work:  # what is left waits for trials that are paused
            return
        journal.assign(work)
        watcher.begin([trial.id for trial in trials_of(work)])
        reports = recovery.advance(work)
        verdicts = judge(work, reports, past)
        reports, verdicts, exports = _export(recovery, work, reports, verdicts, verdicts)
        orders = Orders() if control is None else control.read()
        policy.end(orders.ends)
        ending |= {**policy.decide(reports, verdicts), **orders.ends}
        compared = ends_now(work, schedule.unbegun(ending), verdicts, ending, past)
        recovery.freeze(compared)
        reports, verdicts, more = _export(recovery, work, reports, verdicts | compared, compared)
        proposed = () if proposer is None or policy.is_over else tuple(proposer.propose(reports, verdicts))
        added = (*proposed, *orders.added)
        decisions = (*proposals(proposed), *dated(orders.decisions, reports))
        journal.commit(reports, verdicts, exports | more, added, decisions)
        if control is not None:
            control.obeyed(verdicts)
        schedule.apply(verdicts)
        schedule.add(added)
        for group in in_groups(added, decisions):
            policy.add(group)
        watcher.add(added)
        watcher.show(reports, verdicts)
        recovery.keep(schedule.live(), frozen=compared)
        ended = [trial_id for trial_id, verdict in verdicts.items() if verdict.ends]
        recovery.forget(ended)
        ending = {trial_id: verdict for trial_id, verdict in ending.items() if trial_id not in ended}
        if not stopping():
            recovery.put_aside(schedule.pause(orders.pauses))
            schedule.go_on(orders.continues)
            recovery.put_aside(schedule.give_way())
        recovery.check_disks()
        failed += check_failed(verdicts, failed, max_failed_trials)


def _export(
    recovery: Recovery,
    work: Round,
    reports: Mapping[str, Report | Failure],
    verdicts: Mapping[str, Verdict],
    ending: Mapping[str, Verdict],
) -> tuple[dict[str, Report | Failure], dict[str, Verdict], dict[str, Export | Failure]]:
    """Exports the models of trials that `ending` ends; returns reports and verdicts as `settle` does, and exports."""
    finished = finished_trials(work, ending)
    exports = recovery.export(finished)
    return *settle(reports, verdicts, finished, exports), exports
