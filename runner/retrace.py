"""What a trial's reports say of its past: its verdicts and orders depend on nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from runner.records import Metrics, Report, Trial, Verdict, Work
from runner.schedule import next_turn
from runner.search.stop import judge


@dataclass(frozen=True, kw_only=True, slots=True)
class Past:
    """What a trial has been through.

    Args:
        history: the metrics of its epochs.
        orders: of its turns so far.
        verdict: the last one; None before the first turn has ended.
    """

    history: tuple[Metrics, ...]
    orders: tuple[Work, ...]
    verdict: Verdict | None

    @property
    def next_turn(self) -> Work | None:
        """The order that comes next; None where the trial has ended, or has not begun."""
        return None if self.verdict is None else next_turn(self.orders[-1], self.verdict)


def retrace(trial: Trial, reports: Sequence[Report]) -> Past:
    """The verdicts and orders that followed these reports: they depend on nothing else."""
    history: list[Metrics] = []
    orders: list[Work] = []
    order: Work | None = Work(trial=trial, round=0)
    verdict = None
    for report in reports:
        if order is None:
            raise ValueError(f"trial {trial.id} has turns after the one that ended it, round {orders[-1].round}")
        history += [epoch.metrics for epoch in report.epochs]
        verdict = judge(trial.train, history, report)
        orders.append(replace(order, until=report.step))
        order = next_turn(order, verdict)
    return Past(history=tuple(history), orders=tuple(orders), verdict=verdict)
