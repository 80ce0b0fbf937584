"""Trials that train as one program are brought back together, because one of them alone costs as much as all."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import replace

from runner.loop.interfaces import Fleet
from runner.records import Failure, Replay, Report, Work

Round = Mapping[int, tuple[Work, ...]]
Answers = Mapping[str, Report | Failure | None]
Take = Callable[[Round, Answers, bool], None]
"""Takes the answers to orders; true if the trials had their turns one after another."""


class CatchingUp:
    """Brings trials to where their turns end: each gets a seat in its newest state, and turns are repeated together.

    Args:
        fleet: open.
        replay: what is to be repeated of a trial.
        take: takes the answers.
        is_seated: whether a trial has a seat by now.
        stopping: true once the sweep shall stop.
    """

    def __init__(
        self,
        fleet: Fleet,
        replay: Callable[[Work], Replay],
        take: Take,
        is_seated: Callable[[Work], bool],
        stopping: Callable[[], bool],
    ) -> None:
        self._fleet, self._replay, self._take = fleet, replay, take
        self._is_seated, self._stopping = is_seated, stopping

    def run(self, absent: Round, live: Round, *, until_now: bool) -> dict[str, Report | Failure | None]:
        """Brings these trials back; returns the answers to their last turns, failures, and None for what is undone.

        Args:
            absent: the trials, which have no seat.
            live: all trials, which keep their seats meanwhile.
            until_now: with their present turns, unless they are idle; otherwise only to where these begin.
        """
        replays = {item.trial.id: self._replay(item) for items in absent.values() for item in items}
        idle = {item.trial.id for items in absent.values() for item in items if item.idle}
        pending = {
            trial_id: deque(replay.orders if until_now or trial_id in idle else replay.orders[:-1])
            for trial_id, replay in replays.items()
        }
        answers = self._seat(absent, replays)
        for trial_id in answers:
            pending[trial_id].clear()
        while not self._stopping() and (turns := self._turns(absent, pending)):
            for trial_id, answer in self._advance(turns, live).items():
                pending[trial_id].popleft()
                if not isinstance(answer, Report):  # interrupted, or lost with others, which are absent again
                    pending[trial_id].clear()
                if not pending[trial_id]:
                    answers[trial_id] = answer
        return answers | {trial_id: None for trial_id, orders in pending.items() if orders}

    def _turns(self, absent: Round, pending: Mapping[str, deque[Work]]) -> dict[int, tuple[Work, ...]]:
        """The next turn of each trial that is behind, by slot, unless it has lost its new seat again."""
        turns: dict[int, tuple[Work, ...]] = {}
        for slot, items in absent.items():
            for item in items:
                orders = pending[item.trial.id]
                if orders and (self._is_seated(item) or (orders[0].round == 0 and orders[0].clone is None)):
                    turns[slot] = (*turns.get(slot, ()), orders[0])
        return turns

    def _seat(self, absent: Round, replays: Mapping[str, Replay]) -> dict[str, Report | Failure | None]:
        """Gives trials seats in their newest states, but those that begin with their first turns; returns failures."""
        seats, items = dict[int, tuple[Replay, ...]](), dict[int, tuple[Work, ...]]()
        for slot, there in absent.items():
            chosen = tuple(item for item in there if not _begins(replays[item.trial.id]))
            if chosen:
                items[slot] = chosen
                seats[slot] = tuple(replace(replays[item.trial.id], orders=()) for item in chosen)
        found = self._fleet.restore(seats) if seats else {}
        self._take(items, found, True)
        return {trial_id: answer for trial_id, answer in found.items() if isinstance(answer, Failure)}

    def _advance(self, turns: Round, live: Round) -> dict[str, Report | Failure | None]:
        """The answers to these turns; None for one that was interrupted."""
        behind = {order.trial.id for orders in turns.values() for order in orders}
        # An idle order keeps a seat, unless it is of a first round, in which no trial has one yet.
        # All slots have one, because they may share a worker.
        waiting = {
            slot: tuple(
                replace(item, idle=True, round=max(1, item.round))
                for item in items
                if item.trial.id not in behind and self._is_seated(item)
            )
            for slot, items in live.items()
        }
        orders = {slot: (*turns.get(slot, ()), *idle) for slot, idle in waiting.items()}
        found = self._fleet.advance({slot: items for slot, items in orders.items() if items})
        self._take(turns, found, False)
        return {order.trial.id: found.get(order.trial.id) for orders in turns.values() for order in orders}


def _begins(replay: Replay) -> bool:
    """Whether a trial needs no seat before its first turn."""
    return replay.snapshot is None and not replay.ancestors and bool(replay.orders)
