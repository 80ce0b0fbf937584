"""A stack: seats whose values lie stacked on the device, so that one program trains them all."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from runner.worker.data.array_feed import ArrayFeed
from runner.worker.programs.base import as_arrays
from runner.worker.seat import Seat
from runner.worker.stacking.program import StackedProgram, Values, stacked
from runner.worker.stacking.traces import Traces


class Stack:
    """Seats that train as one program. Places without a seat have copies of the first one's values.

    The program's size does not depend on the number of seats, and no model reads another's values, so that a trial's
    numbers depend on the size alone.

    Args:
        program: of its size.
        seats: at most as many as its size, each with its engine's traces.
    """

    def __init__(self, program: StackedProgram, seats: Mapping[Seat, Traces]) -> None:
        self._program = program
        self.seats = dict.fromkeys(seats)
        self._places = {seat: place for place, seat in enumerate(seats)}
        columns = [*seats.items()]
        columns += columns[:1] * (program.size - len(columns))
        traces = [of_seat for _, of_seat in columns]
        self._reset = traces[0].reset
        states = [seat.lend(self) for seat in seats]
        self._state: Values = stacked([*states, *states[:1] * (program.size - len(states))])
        self._constants = stacked([one.constants for one in traces])
        self._orders: tuple[tuple[int, ...], tf.Tensor] | None = None

    def is_of(self, program: StackedProgram) -> bool:
        """Whether its program is this one."""
        return self._program is program

    def reset_metrics(self) -> None:
        """Resets the metrics of all models."""
        for place, value in self._reset.items():
            self._state[place] = tf.repeat(value[None], self._program.size, axis=0)

    def run(self, step: int, count: int) -> dict[str, Any]:
        """Runs steps of all models; returns the last one's logs, `[models, ...]` each, when they are done.

        Args:
            step: of the first seat; all seats are at the same place in their passes.
            count: number of steps; they do not go past the end of a pass.
        """
        start = step % self._program.train_rows.batches
        self._state, logs = self._program.run(self._state, self._constants, self._row_orders(), start, count)
        return as_arrays(logs)

    def steps(self, step: int, count: int) -> None:
        """Runs steps, over as many passes as they need, in the first pass's order."""
        batches = self._program.train_rows.batches
        while count > 0:
            now = min(count, batches - step % batches)
            self.run(step, now)
            step, count = step + now, count - now

    def results(self) -> dict[str, Any]:
        """What `get_metrics_result` of each model returns, `[models, ...]` each."""
        return as_arrays(self._program.results(self._state, self._constants))

    def rates(self) -> np.ndarray | None:
        """The learning rates of all models after their last steps, `[models]`; None without optimizers."""
        rates = self._program.rates(self._state, self._constants)
        return None if rates is None else np.asarray(rates)

    def validate(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """The logs and the results of a pass over the validation data."""
        self.reset_metrics()
        self._state, logs = self._program.evaluate(self._state, self._constants)
        return as_arrays(logs), self.results()

    def place(self, seat: Seat) -> int:
        """The place of a seat among the models."""
        return self._places[seat]

    def release(self, seat: Seat) -> None:
        """Gives a seat its values; its place goes on without it."""
        place = self._places[seat]
        del self.seats[seat]
        seat.take_back([value[place] for value in self._state])

    def dissolve(self) -> None:
        """Gives all seats their values."""
        columns = [tf.unstack(value) for value in self._state]
        for seat in self.seats:
            place = self._places[seat]
            seat.take_back([column[place] for column in columns])
        self.seats.clear()

    def _row_orders(self) -> tf.Tensor:
        """Each model's order of rows in its present pass: `int64 [models, rows]`."""
        batches = self._program.train_rows.batches
        passes = {seat: seat.progress.step // batches for seat in self.seats}
        key = tuple(passes.values())
        if self._orders is None or self._orders[0] != key:
            first, number = next(iter(passes.items()))
            rows = [first.feed.place.of_pass(number)] * self._program.size
            for seat, number in passes.items():
                rows[self._places[seat]] = seat.feed.place.of_pass(number)
            self._orders = key, tf.stack(rows)
        return self._orders[1]


def array_feed(seat: Seat) -> ArrayFeed:
    """The feed of a seat that is in a stack."""
    assert isinstance(seat.feed, ArrayFeed)
    return seat.feed
