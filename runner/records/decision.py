"""Decisions about a trial at a barrier, as the journal keeps them, so that its past is read and never judged again."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby
from typing import Literal

from runner.records.cloning import Clone
from runner.records.trial import Trial
from runner.records.work import Verdict

DecisionKind = Literal[
    "add", "clone", "keep_best", "restore_best", "set", "stack", "pause", "continue", "stop", "complete", "fail"
]
USER, TRAINING, CALLBACKS, FAILURE = "user", "training", "callbacks", "failure"
TARGET, BUDGET, MAX_HOURS, MAX_SECONDS, POPULATION = "target", "budget", "max_hours", "max_seconds", "population"
COMPARING = ("halving", "hyperband", "median")  # rules that compare trials
BY_CLOCK = (MAX_HOURS, MAX_SECONDS)  # rules whose effect depends on a clock, so that a repetition may differ
FREEZING = (*COMPARING, TARGET, BUDGET, MAX_HOURS, USER)  # end trials that could have gone on


@dataclass(frozen=True, kw_only=True, slots=True)
class Decision:
    """One decision about one trial.

    Args:
        trial_id: the trial it concerns.
        step: optimizer steps the trial had taken when it was decided. Trials of a queue have rounds of their own, so
            steps are what a trial's reports and decisions share.
        kind: `add` a trial; `clone` another one's state into it; `keep_best` weights; `restore_best` weights as its
            result; `set` values before the next step; `stack` it with others in another size; `pause` it; `stop`,
            `complete` or `fail` it; `continue` one that had ended or was paused.
        arguments: what the kind needs, such as `{"learning_rate": 0.001}` for `set`.
        reason: for a person; empty if the kind says it all.
        by: who decided: a rule's name in the config, `training`, `callbacks`, `failure` or `user`.
    """

    trial_id: str
    step: int
    kind: DecisionKind
    by: str
    arguments: Mapping[str, object] = field(default_factory=dict)
    reason: str = ""


def clone_decision(trial_id: str, step: int, clone: Clone, by: str) -> Decision:
    """The decision by which a trial goes on from another one's state."""
    return Decision(trial_id=trial_id, step=step, kind="clone", by=by, arguments=clone.arguments)


def clone_of(decisions: Iterable[Decision]) -> Clone | None:
    """The last clone among these decisions."""
    clones = [made.arguments for made in decisions if made.kind == "clone"]
    return Clone.of(clones[-1]) if clones else None


def stack_decision(trial_id: str, step: int, size: int, by: str) -> Decision:
    """The decision by which a trial goes on in a stack of another size; 1 if it goes on alone."""
    return Decision(trial_id=trial_id, step=step, kind="stack", by=by, arguments={"size": size})


def stacks_of(decisions: Iterable[Decision]) -> tuple[int, ...]:
    """The sizes of a trial's stacks that were decided after it had joined the sweep, in order."""
    return tuple(int(str(made.arguments["size"])) for made in decisions if made.kind == "stack")


def proposals(trials: Sequence[Trial]) -> tuple[Decision, ...]:
    """The decisions by which a sampler's trials join a sweep; those that join together form one group."""
    return tuple(
        Decision(trial_id=one.id, step=0, kind="add", by="sampler", arguments={"group": trials[0].id}) for one in trials
    )


def in_groups(trials: Iterable[Trial], decisions: Iterable[Decision]) -> Iterator[list[Trial]]:
    """The trials in the groups in which they joined, in order; those that a sweep began with are one group."""
    groups = {made.trial_id: str(dict(made.arguments)) for made in decisions if made.kind == "add"}
    for _, group in groupby(trials, key=lambda trial: groups.get(trial.id, "")):
        yield list(group)


def decisions_of(trial_id: str, step: int, verdict: Verdict, *, model_lost: bool = False) -> tuple[Decision, ...]:
    """A verdict as the journal keeps it; none for one that only lets the trial go on.

    Args:
        trial_id: whom the verdict is about.
        step: optimizer steps that the trial has taken.
        verdict: of the barrier.
        model_lost: the trial fails because its model could not be written after a turn that had ended it.
    """
    found: list[Decision] = []
    if verdict.keep_best:
        found.append(Decision(trial_id=trial_id, step=step, kind="keep_best", by="early_stopping"))
    if verdict.learning_rate is not None:
        values = {"learning_rate": verdict.learning_rate}
        found.append(Decision(trial_id=trial_id, step=step, kind="set", arguments=values, by="reduce_lr_on_plateau"))
    if verdict.restore_best:
        found.append(Decision(trial_id=trial_id, step=step, kind="restore_best", by="early_stopping"))
    if verdict.kind != "keep":
        arguments: dict[str, object] = {} if verdict.keeps_model else {"keeps_model": False}
        if model_lost:
            arguments["model_lost"] = True
        end = Decision(trial_id=trial_id, step=step, kind=verdict.kind, by=verdict.by, arguments=arguments)
        found.append(replace(end, reason=verdict.reason))
    return tuple(found)


def verdict_of(decisions: Iterable[Decision]) -> Verdict:
    """What a trial's decisions at one step amount to, in their order; `continue` revokes an end before it."""
    verdict = Verdict(kind="keep")
    for decision in decisions:
        if decision.kind == "keep_best":
            verdict = replace(verdict, keep_best=True)
        elif decision.kind == "set":
            rate = decision.arguments["learning_rate"]
            verdict = replace(verdict, learning_rate=float(rate) if isinstance(rate, int | float) else None)
        elif decision.kind == "restore_best":
            verdict = replace(verdict, restore_best=True)
        elif decision.kind == "continue":
            verdict = Verdict(kind="keep", keep_best=verdict.keep_best, learning_rate=verdict.learning_rate)
        elif decision.kind in ("stop", "complete", "fail"):
            keeps = decision.arguments.get("keeps_model", True) is True
            ended = replace(verdict, kind=decision.kind, reason=decision.reason, by=decision.by)
            verdict = replace(ended, keeps_model=keeps)
    return verdict
