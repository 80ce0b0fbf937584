"""A trial's past, read from its reports and the decisions that followed them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby

from runner.loop.schedule import cloned_turn, next_turn
from runner.records import (
    FAILURE,
    USER,
    Clone,
    Decision,
    Failure,
    Report,
    Segment,
    Trial,
    Verdict,
    Work,
    clone_of,
    decisions_of,
    stacks_of,
    uncloned,
    verdict_of,
)
from runner.search.rules import RuleState, judge, remember


@dataclass(frozen=True, kw_only=True, slots=True)
class History:
    """What a trial has been through.

    Args:
        rules: what its rules remember of its epochs.
        orders: of its turns so far.
        verdicts: that followed each of them.
        next_turn: the order that comes next; None if the trial has ended.
    """

    rules: RuleState
    orders: tuple[Work, ...]
    verdicts: tuple[Verdict, ...]
    next_turn: Work | None

    @property
    def verdict(self) -> Verdict | None:
        """The last one; None before the first turn has ended."""
        return self.verdicts[-1] if self.verdicts else None

    @property
    def has_begun(self) -> bool:
        """Whether it has had a turn, or more than its settings says how it begins."""
        following = self.next_turn
        return bool(self.orders) or (following is not None and bool(following.clone or following.stack))

    @property
    def segments(self) -> list[Segment]:
        """Its turns under equal values; each segment but the first begins with the state of another trial."""
        found: list[list[Work]] = []
        for order in self.orders:
            if order.clone is not None or not found:
                found.append([])
            found[-1].append(order)
        return [Segment(trial=orders[0].trial, orders=tuple(orders)) for orders in found]


def read_history(trial: Trial, reports: Sequence[Report], decisions: Iterable[Decision]) -> History:
    """The orders of these turns, by what was decided after each. Judges nothing.

    Args:
        trial: as it is trained from now on.
        reports: its turns, in order.
        decisions: about it, in the order they were made.

    Raises:
        ValueError: it has turns after the one that ended it.
    """
    ordered = sorted(decisions, key=lambda decision: decision.step)  # stable: those of one step keep their order
    grouped = {step: list(group) for step, group in groupby(ordered, key=lambda decision: decision.step)}
    orders: list[Work] = []
    verdicts: list[Verdict] = []
    first = Work(trial=first_version(trial, ordered), round=0)
    order, rules = _after_clone(_in_stack(first, grouped.get(0, ())), RuleState(), clone_of(grouped.get(0, ())))
    for report in reports:
        if order is None:
            raise ValueError(f"trial {trial.id} has turns after the one that ended it, round {orders[-1].round}")
        made = grouped.get(report.step, ())
        verdicts.append(verdict_of(made))
        orders.append(replace(order, until=report.step))
        rules = remember(trial.train, [report], rules)
        following = _in_stack(next_turn(order, verdicts[-1]), made)
        order, rules = _after_clone(following, rules, clone_of(made))
    return History(rules=rules, orders=tuple(orders), verdicts=tuple(verdicts), next_turn=order)


def _in_stack(order: Work | None, made: Iterable[Decision]) -> Work | None:
    """The next order, in the size of a stack that was decided before it."""
    last = next((one for one in reversed(list(made)) if one.kind == "stack"), None)
    if order is None or last is None:
        return order
    return replace(order, stack=stacks_of([last])[0], is_whole=last.by == FAILURE)


def _after_clone(order: Work | None, rules: RuleState, clone: Clone | None) -> tuple[Work | None, RuleState]:
    """The next order, and what the rules remember, if the trial goes on from another one's state."""
    if order is None or clone is None:
        return order, rules
    return cloned_turn(order, clone), rules.cloned(clone.epoch)


def first_version(trial: Trial, decisions: Sequence[Decision]) -> Trial:
    """The trial as it began, before it took over values of others."""
    for made in reversed(decisions):
        if made.kind == "clone":
            trial = uncloned(trial, Clone.of(made.arguments))
    return trial


def turns_of(
    trial: Trial, reports: Sequence[Report], decisions: Sequence[Decision]
) -> Iterator[tuple[Report | Failure, Verdict]]:
    """A trial's turns with what was decided after each, as the barriers had them.

    A turn that failed left no report, and its decision stands at the step of the turn before it.
    """
    failures = [one for one in decisions if one.kind == "fail" and not one.arguments.get("model_lost")]
    history = read_history(trial, reports, [one for one in decisions if one not in failures])
    yield from zip(reports, history.verdicts, strict=True)
    if failures and decisions[-1] is failures[-1]:
        failure = Failure(trial_id=trial.id, kind="train", message=failures[-1].reason)
        yield failure, Verdict(kind="fail", reason=failure.message, by=failures[-1].by)


def is_paused(made: Iterable[Decision]) -> bool:
    """Whether a trial with these decisions is paused."""
    kinds = [decision.kind for decision in made if decision.kind in ("pause", "continue")]
    return bool(kinds) and kinds[-1] == "pause"


def reopen(trial: Trial, reports: Sequence[Report], made: Sequence[Decision]) -> tuple[History, tuple[Decision, ...]]:
    """The past of a trial that is to go on, and the decisions that revoke its end if it has ended.

    A trial whose last turn would have to end it again repeats that turn, so that its model is written. Otherwise that
    turn counts. If the trial had completed its epochs and has more now, what follows from the turn is decided under
    the new number.

    Args:
        trial: as it is trained from now on.
        reports: its turns, in order.
        made: the decisions about it, in order.
    """
    last = made[-1] if made else None
    if is_paused(made):
        last = next(one for one in reversed(made) if one.kind == "pause")
    if last is None or last.kind not in ("complete", "fail", "stop", "pause"):
        return read_history(trial, reports, made), ()
    if last.kind in ("stop", "pause"):
        revoked = Decision(trial_id=trial.id, step=last.step, kind="continue", by=USER)
        return read_history(trial, reports, (*made, revoked)), (revoked,)
    if last.arguments.get("model_lost"):
        return read_history(trial, reports[:-1], made), ()
    revoked = Decision(trial_id=trial.id, step=last.step, kind="continue", by=USER, reason="more epochs")
    if last.kind == "fail":
        revoked = replace(revoked, reason="failed trials are retried")
        return read_history(trial, reports, (*made, revoked)), (revoked,)
    verdict, _ = judge(trial.train, remember(trial.train, reports[:-1]), reports[-1])
    if verdict.ends:  # a rule would have stopped it there, had its epochs not been complete
        return read_history(trial, reports[:-1], made), ()
    new = (revoked, *decisions_of(trial.id, last.step, verdict))
    return read_history(trial, reports, (*made, *new)), new
