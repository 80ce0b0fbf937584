"""The loop: every live trial has one turn, all wait at the barrier, the journal takes the round, and again."""

from __future__ import annotations

from collections.abc import Mapping

from runner.records import Export, Failure, Metrics, Report, Trial, Verdict, Work
from runner.schedule import Schedule
from runner.seams import Fleet, Journal, Watcher
from runner.search.stop import judge

Round = Mapping[int, tuple[Work, ...]]


def run(schedule: Schedule, fleet: Fleet, journal: Journal, watcher: Watcher) -> None:
    """Trains every trial of the schedule to its end.

    What a person sees, and what MLflow gets, follows the journal: nobody acts on a round before it is durable.

    Raises:
        FleetError: a worker could not be replaced.
    """
    histories: dict[str, list[Metrics]] = {}
    while schedule.has_work():
        work = schedule.next_round()
        journal.assign(work)
        reports = fleet.advance(work)
        verdicts = judge_all(work, reports, histories)
        exports = fleet.export(_finished(work, verdicts))
        verdicts |= failed_exports(exports)
        journal.commit(reports, verdicts, exports)
        schedule.apply(verdicts)
        watcher.show(reports, verdicts)
        _replace_dead_workers(work, {**reports, **exports}, fleet)


def judge_all(
    work: Round, reports: Mapping[str, Report | Failure], histories: dict[str, list[Metrics]]
) -> dict[str, Verdict]:
    """A verdict for every trial that had a turn; extends the histories by the epochs that ended."""
    return {trial.id: _verdict(trial, reports[trial.id], histories.setdefault(trial.id, [])) for trial in _trials(work)}


def _verdict(trial: Trial, report: Report | Failure, history: list[Metrics]) -> Verdict:
    if isinstance(report, Failure):
        return _failed(report)
    if report.epoch_metrics is not None:
        history.append(report.epoch_metrics)
    return judge(trial.train, history, report)


def failed_exports(exports: Mapping[str, Export | Failure]) -> dict[str, Verdict]:
    """The verdicts of trials whose model could not be kept: they have failed after all."""
    return {trial_id: _failed(export) for trial_id, export in exports.items() if isinstance(export, Failure)}


def _failed(failure: Failure) -> Verdict:
    return Verdict(kind="fail", reason=f"{failure.kind}: {failure.message}")


def _finished(work: Round, verdicts: Mapping[str, Verdict]) -> dict[int, tuple[tuple[Trial, bool], ...]]:
    """Trials whose model is to be kept, by slot, each with whether its best weights are asked for."""
    chosen = {
        slot: tuple(
            (item.trial, verdicts[item.trial.id].restore_best)
            for item in items
            if verdicts[item.trial.id].kind in ("complete", "stop")
        )
        for slot, items in work.items()
    }
    return {slot: trials for slot, trials in chosen.items() if trials}


def _replace_dead_workers(work: Round, answers: Mapping[str, Report | Export | Failure], fleet: Fleet) -> None:
    for slot, items in work.items():
        failures = [answers[item.trial.id] for item in items]
        if any(isinstance(failure, Failure) and failure.kind == "worker" for failure in failures):
            fleet.replace(slot)


def _trials(work: Round) -> list[Trial]:
    return [item.trial for items in work.values() for item in items]
