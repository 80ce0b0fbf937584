"""Judges trials at the barrier: verdicts, which models are exported, and whether too many trials failed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from runner.errors import TooManyFailuresError
from runner.records import FAILURE, Decision, Export, Failure, Report, Trial, Verdict, Work
from runner.search import rules
from runner.search.rules import RuleState

Round = Mapping[int, tuple[Work, ...]]
Finished = Mapping[int, tuple[tuple[Trial, bool], ...]]


def judge(work: Round, reports: Mapping[str, Report | Failure], past: dict[str, RuleState]) -> dict[str, Verdict]:
    """The verdict for every trial that reported its turn; updates the state of the rules in `past`."""
    verdicts: dict[str, Verdict] = {}
    for trial in (trial for trial in trials_of(work) if trial.id in reports):
        report = reports[trial.id]
        if isinstance(report, Failure):
            verdicts[trial.id] = _failed(report)
        else:
            verdicts[trial.id], past[trial.id] = rules.judge(trial.train, past.get(trial.id, RuleState()), report)
    return verdicts


def settle(
    reports: Mapping[str, Report | Failure],
    verdicts: Mapping[str, Verdict],
    finished: Finished,
    exports: Mapping[str, Export | Failure],
) -> tuple[dict[str, Report | Failure], dict[str, Verdict]]:
    """The reports and verdicts that the journal takes, once it is known which models were exported.

    A trial whose model could not be exported has failed. A trial whose export was prevented by a stop is left out, as
    if its turn had been interrupted.
    """
    missing = {trial.id for chosen in finished.values() for trial, _ in chosen} - exports.keys()
    failures = {trial_id: _failed(export) for trial_id, export in exports.items() if isinstance(export, Failure)}
    kept = {trial_id: verdict for trial_id, verdict in {**verdicts, **failures}.items() if trial_id not in missing}
    return {trial_id: report for trial_id, report in reports.items() if trial_id in kept}, kept


def ends_now(
    work: Round,
    unbegun: Iterable[str],
    verdicts: Mapping[str, Verdict],
    ending: Mapping[str, Verdict],
    past: Mapping[str, RuleState],
) -> dict[str, Verdict]:
    """The verdicts of `ending` that can be carried out: of trials that have a seat, and of those that never began.

    Args:
        work: of the round.
        unbegun: those of `ending` that have not begun; they end without a model.
        verdicts: of their own turns and rules.
        ending: verdicts of the policy.
        past: states of the rules.
    """
    found: dict[str, Verdict] = {}
    for item in (item for items in work.values() for item in items):
        trial, own = item.trial, verdicts.get(item.trial.id, Verdict(kind="keep"))
        stands = item.idle or trial.id in verdicts  # and not in the middle of a turn that a stop has interrupted
        if trial.id in ending and stands and not own.ends:
            found[trial.id] = rules.ended(trial.train, past.get(trial.id, RuleState()), own, ending[trial.id])
    return found | {trial_id: replace(ending[trial_id], keeps_model=False) for trial_id in unbegun}


def dated(decisions: Iterable[Decision], reports: Mapping[str, Report | Failure]) -> list[Decision]:
    """The decisions with the steps that their trials have taken after this barrier's turns."""
    found = []
    for decision in decisions:
        report = reports.get(decision.trial_id)
        found.append(replace(decision, step=report.step) if isinstance(report, Report) else decision)
    return found


def _failed(failure: Failure) -> Verdict:
    return Verdict(kind="fail", reason=f"{failure.kind}: {failure.message}", by=FAILURE)


def finished_trials(work: Round, verdicts: Mapping[str, Verdict]) -> Finished:
    """Trials whose model is exported, by slot, each with whether its best weights are restored first."""
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


def check_failed(verdicts: Mapping[str, Verdict], before: int, limit: int | None) -> int:
    """How many trials failed at this barrier.

    Args:
        verdicts: of this barrier.
        before: trials that had failed before.
        limit: most that may; None for all.

    Raises:
        TooManyFailuresError: more than may.
    """
    now = [trial_id for trial_id, verdict in verdicts.items() if verdict.kind == "fail"]
    if now and limit is not None and before + len(now) > limit:
        raise TooManyFailuresError(
            f"{before + len(now)} trials have failed, recovery.max_failed_trials={limit} may; the last were "
            f"{', '.join(f'{trial_id} ({verdicts[trial_id].reason})' for trial_id in now)}"
        )
    return len(now)


def trials_of(work: Round) -> list[Trial]:
    """The trials that have a turn."""
    return [item.trial for items in work.values() for item in items]
