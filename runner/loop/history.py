"""What a trial's reports say of its past: its verdicts and orders depend on nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from runner.loop.schedule import next_turn
from runner.records import Report, Trial, Verdict, Work
from runner.search.rules import RuleState, judge


@dataclass(frozen=True, kw_only=True, slots=True)
class Past:
    """What a trial has been through.

    Args:
        rules: what its rules remember of its epochs.
        orders: of its turns so far.
        verdict: the last one; None before the first turn has ended.
    """

    rules: RuleState
    orders: tuple[Work, ...]
    verdict: Verdict | None

    @property
    def next_turn(self) -> Work | None:
        """The order that comes next; None where the trial has ended, or has not begun."""
        return None if self.verdict is None else next_turn(self.orders[-1], self.verdict)


def retrace(trial: Trial, reports: Sequence[Report]) -> Past:
    """The verdicts and orders that followed these reports: they depend on nothing else."""
    rules = RuleState()
    orders: list[Work] = []
    order: Work | None = Work(trial=trial, round=0)
    verdict = None
    for report in reports:
        if order is None:
            raise ValueError(f"trial {trial.id} has turns after the one that ended it, round {orders[-1].round}")
        verdict, rules = judge(trial.train, rules, report)
        orders.append(replace(order, until=report.step))
        order = next_turn(order, verdict)
    return Past(rules=rules, orders=tuple(orders), verdict=verdict)
