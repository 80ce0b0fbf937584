"""The loop: every live trial has one turn, all wait at the barrier, the journal takes the round, and again."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from runner.errors import TooManyFailuresError
from runner.loop.interfaces import Journal, Proposer, Watcher
from runner.loop.recovery import Recovery
from runner.loop.schedule import Schedule
from runner.records import FAILURE, Export, Failure, Report, Trial, Verdict, Work
from runner.search.rules import RuleState, judge

Round = Mapping[int, tuple[Work, ...]]
Finished = Mapping[int, tuple[tuple[Trial, bool], ...]]


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
    """Trains every trial of the schedule to its end, or to where the sweep is to stop.

    What a person sees, and what MLflow gets, follows the journal: nobody acts on a round before it is durable.

    Args:
        schedule: whose turn it is.
        recovery: the fleet.
        journal: takes every round.
        watcher: shown every round.
        pasts: what the rules remember of trials that an earlier driver has trained.
        proposer: adds trials at barriers; None for a sweep whose trials are all known.
        stopping: true once the sweep is to stop; the round is brought to an end, its interrupted turns unreported.
        max_failed_trials: how many trials may fail; None for all.

    Raises:
        FleetError: a worker could not be replaced.
        StorageError: a disk took no more; what it has kept from being done is done again by whoever resumes.
        TooManyFailuresError: more trials have failed than may.
    """
    past = dict(pasts or {})
    failed = 0
    while schedule.has_work() and not stopping():
        work = schedule.next_round()
        journal.assign(work)
        watcher.begin([trial.id for trial in _trials(work)])
        reports = recovery.advance(work)
        verdicts = judge_all(work, reports, past)
        finished = _finished(work, verdicts)
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
        failed += _check_failed(verdicts, failed, max_failed_trials)


def judge_all(work: Round, reports: Mapping[str, Report | Failure], past: dict[str, RuleState]) -> dict[str, Verdict]:
    """A verdict for every trial that has reported its turn; takes its epochs into the past."""
    verdicts: dict[str, Verdict] = {}
    for trial in (trial for trial in _trials(work) if trial.id in reports):
        report = reports[trial.id]
        if isinstance(report, Failure):
            verdicts[trial.id] = _failed(report)
        else:
            verdicts[trial.id], past[trial.id] = judge(trial.train, past.get(trial.id, RuleState()), report)
    return verdicts


def settle(
    reports: Mapping[str, Report | Failure],
    verdicts: Mapping[str, Verdict],
    finished: Finished,
    exports: Mapping[str, Export | Failure],
) -> tuple[dict[str, Report | Failure], dict[str, Verdict]]:
    """What the journal is to have of the round, now that it is known which models could be kept.

    A trial whose model could not be kept has failed after all. One whose model a stop has prevented is left out, as if
    its turn had been interrupted.
    """
    missing = {trial.id for chosen in finished.values() for trial, _ in chosen} - exports.keys()
    failures = {trial_id: _failed(export) for trial_id, export in exports.items() if isinstance(export, Failure)}
    kept = {trial_id: verdict for trial_id, verdict in {**verdicts, **failures}.items() if trial_id not in missing}
    return {trial_id: reports[trial_id] for trial_id in kept}, kept


def _failed(failure: Failure) -> Verdict:
    return Verdict(kind="fail", reason=f"{failure.kind}: {failure.message}", by=FAILURE)


def _finished(work: Round, verdicts: Mapping[str, Verdict]) -> Finished:
    """Trials whose model is to be kept, by slot, each with whether its best weights are asked for."""
    chosen = {
        slot: tuple(
            (item.trial, verdicts[item.trial.id].restore_best)
            for item in items
            if item.trial.id in verdicts and _keeps_model(verdicts[item.trial.id])
        )
        for slot, items in work.items()
    }
    return {slot: trials for slot, trials in chosen.items() if trials}


def _keeps_model(verdict: Verdict) -> bool:
    return verdict.kind in ("complete", "stop") and verdict.keeps_model


def _check_failed(verdicts: Mapping[str, Verdict], before: int, limit: int | None) -> int:
    now = [trial_id for trial_id, verdict in verdicts.items() if verdict.kind == "fail"]
    if now and limit is not None and before + len(now) > limit:
        raise TooManyFailuresError(
            f"{before + len(now)} trials have failed, recovery.max_failed_trials={limit} may; the last were "
            f"{', '.join(f'{trial_id} ({verdicts[trial_id].reason})' for trial_id in now)}"
        )
    return len(now)


def _trials(work: Round) -> list[Trial]:
    return [item.trial for items in work.values() for item in items]
