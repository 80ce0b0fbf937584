"""Turns of a stack: its trials train step by step together, and each has the reports that it would have alone."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Any

import keras
import numpy as np

from runner.records import Epoch, Report, Work
from runner.worker import memory
from runner.worker.metrics import as_numbers, flat
from runner.worker.seat import Seat
from runner.worker.stacking.stack import Stack, array_feed
from runner.worker.training import begin_turn, has_diverged, report_of, turn_of
from runner.worker.turn_clock import TurnClock


def begin(seat: Seat, work: Work) -> None:
    """Begins a trial's turn before its seat joins a stack. An interrupted turn goes on."""
    if seat.progress.turn_end is None:
        touches = work.keep_best or work.learning_rate is not None
        with seat.active() if touches else nullcontext():
            begin_turn(seat, work)
    if work.until is not None:
        seat.progress.turn_end = work.until


@dataclass
class StackTurn:
    """One turn of all trials of a stack, which `begin` has begun.

    Args:
        stack: of their seats, all of which may make the same calls.
        clock: of the program's turns.
        works: the trials' orders.
        began_s: when the work on the turn began, by the clock; what came before the first step is exchange of values.
        stopping: called between two calls; interrupts the turn if true.
    """

    stack: Stack
    clock: TurnClock
    works: Mapping[Seat, Work]
    began_s: float
    stopping: Callable[[], bool] = lambda: False
    _running: dict[Seat, dict[str, float]] = field(default_factory=dict)

    def run(self) -> dict[Seat, Report | None]:
        """Runs the turn; a trial whose turn was interrupted has no report."""
        clock, seats = self.clock, list(self.works)
        swap_s = clock.now() - self.began_s
        started = time.time() - swap_s
        memory.reset_gpu_peak()
        clock.begin(is_limited=all(work.until is None for work in self.works.values()))
        while (open_ := self._open) and not self.stopping():
            self._call(open_)
        turn = turn_of(clock, started, swap_s, share=1 / len(seats))
        return {
            seat: report_of(seat, self.works[seat], turn, self._running[seat])
            if seat.progress.turn_end is None
            else None
            for seat in seats
        }

    @property
    def _open(self) -> list[Seat]:
        """Seats whose turn has not ended."""
        return [seat for seat in self.works if seat.progress.turn_end is not None]

    def _call(self, seats: list[Seat]) -> None:
        """One call of some steps, which are the same for all seats."""
        first, clock = seats[0], self.clock
        progress, feed, began_s = first.progress, first.feed, clock.now()
        assert progress.turn_end is not None
        done, batches = progress.step % feed.steps_per_epoch, array_feed(first).rows_of("train").batches
        if done == 0:
            self.stack.reset_metrics()
        to_pass_end = batches - progress.step % batches
        left = min(progress.turn_end - progress.step, feed.steps_per_epoch - done, to_pass_end)
        count = min(clock.steps_of_call(), left)
        steps_began_s = clock.now()
        logs = self.stack.run(progress.step, count)
        ended_s = clock.now()
        clock.add_call(count, steps_s=ended_s - steps_began_s, whole_s=ended_s - began_s)
        for seat in seats:
            seat.progress.step += count
        if count == left:
            self._end_call(seats, logs)

    def _end_call(self, seats: list[Seat], logs: dict[str, Any]) -> None:
        """Takes the metrics where an epoch or the turn ends."""
        first = seats[0]
        is_turn_end = first.progress.step >= (first.progress.turn_end or 0)
        is_epoch_end = first.progress.step % first.feed.steps_per_epoch == 0
        if not (is_turn_end or is_epoch_end):
            return  # the end of a pass
        found = shown(logs, self.stack.results())
        self._running |= {seat: as_numbers(flat(self._of(seat, found))) for seat in seats}
        if is_epoch_end:
            self._end_epoch(seats)
        for seat in seats:
            diverged = is_epoch_end and has_diverged(self._running[seat])
            if is_turn_end or diverged or (is_epoch_end and self.clock.is_overdue):
                seat.progress.turn_end = None
            if diverged and not is_turn_end:
                self.stack.release(seat)  # with the values that it has now

    def _end_epoch(self, seats: list[Seat]) -> None:
        """Adds the epoch that has ended, validated if that is due."""
        first, began_s, rates = seats[0], self.clock.now(), self.stack.rates()
        validates = "validation" in first.feed.splits and first.epoch % first.trial.train.validate_every == 0
        validation = shown(*self.stack.validate()) if validates else {}
        for seat in seats:
            place = self.stack.place(seat)
            rate = None if rates is None else float(rates[place])
            metrics = dict(self._running[seat])
            if validates:
                values = as_numbers(flat(self._of(seat, validation)))
                metrics |= {f"val_{name}": value for name, value in values.items()}
            if seat.trial.train.reduce_lr_on_plateau is not None and rate is not None:
                metrics["learning_rate"] = rate  # as Keras' callback adds it to History
            epoch = Epoch(number=seat.epoch, metrics=metrics, ended_s=time.time(), learning_rate=rate)
            seat.progress.epochs.append(epoch)
        self.clock.add_validation(self.clock.now() - began_s)

    def _of(self, seat: Seat, values: dict[str, Any]) -> dict[str, Any]:
        place = self.stack.place(seat)
        found: dict[str, Any] = keras.tree.map_structure(lambda leaf: np.asarray(leaf[place]), values)
        return found


def shown(logs: dict[str, Any], results: dict[str, Any]) -> dict[str, Any]:
    """What `fit` shows of a step's logs: the metrics' results if the logs have the same names."""
    return results if logs.keys() == results.keys() else logs
