"""The loop: every live trial has one turn, all wait at the barrier, the journal takes the round, and again."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from runner.loop.interfaces import Journal, Proposer, Watcher
from runner.loop.judge import check_failed, finished_trials, judge, settle, trials_of
from runner.loop.recovery import Recovery
from runner.loop.schedule import Schedule
from runner.search.rules import RuleState


def run(
    schedule: Schedule,
    recovery: Recovery,
    journal: Journal,
    watcher: Watcher,
    *,
    pasts: Mapping[str, RuleState] | None = None,
    proposer: Proposer | None = None,
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
        proposer: adds trials at barriers; None for a sweep whose trials are all known.
        stopping: true once the sweep shall stop; the current round ends, without reports of interrupted turns.
        max_failed_trials: number of trials that may fail; None for no limit.

    Raises:
        FleetError: a worker could not be replaced.
        StorageError: a disk is full; `resume` repeats what could not be stored.
        TooManyFailuresError: more trials have failed than may.
    """
    past = dict(pasts or {})
    failed = 0
    while schedule.has_work() and not stopping():
        work = schedule.next_round()
        journal.assign(work)
        watcher.begin([trial.id for trial in trials_of(work)])
        reports = recovery.advance(work)
        verdicts = judge(work, reports, past)
        finished = finished_trials(work, verdicts)
        exports = recovery.export(finished)
        reports, verdicts = settle(reports, verdicts, finished, exports)
        added = () if proposer is None else tuple(proposer.propose(reports, verdicts))
        journal.commit(reports, verdicts, exports, added)
        schedule.apply(verdicts)
        schedule.add(added)
        watcher.add(added)
        watcher.show(reports, verdicts)
        recovery.keep(schedule.live())
        recovery.check_disks()
        failed += check_failed(verdicts, failed, max_failed_trials)
