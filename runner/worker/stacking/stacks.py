"""The stacks of a worker: which of its seats may be one program, proved by their traces and by ten steps."""

from __future__ import annotations

import math
import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

import keras
import numpy as np

from runner.records import StackTrial
from runner.worker.data.array_feed import ArrayFeed
from runner.worker.metrics import as_numbers, flat
from runner.worker.oom import is_out_of_memory
from runner.worker.programs.base import as_arrays
from runner.worker.programs.engine import Engine
from runner.worker.seat import Seat
from runner.worker.stacking.program import StackedProgram, among_others, stacked
from runner.worker.stacking.refusal import NotVectorizableError
from runner.worker.stacking.stack import Stack, array_feed
from runner.worker.stacking.traces import Traces
from runner.worker.stacking.vectorizing import reason_of
from runner.worker.turn_clock import TurnClock, step_time_s

_STEPS = 10  # over which a stack is compared with the lone model
_TOLERANCE, _HALF_TOLERANCE = 1e-4, 2e-2  # relative, of the losses


@dataclass(frozen=True, slots=True)
class Tried:
    """A program of a stack after its trial.

    Args:
        program: the program.
        clock: of its turns.
        difference: the largest relative difference of a loss from the lone model's.
        reason: why it must not be used; empty if it may.
    """

    program: StackedProgram
    clock: TurnClock
    difference: float = 0.0
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Cohort:
    """Seats that may be one program.

    Args:
        tried: the program.
        seats: at most as many as its size, with their engines' traces.
    """

    tried: Tried
    seats: Mapping[Seat, Traces]


class Stacks:
    """Traces and programs of a worker's stacks, each made once."""

    def __init__(self) -> None:
        self._traces: WeakKeyDictionary[Engine, Traces | str] = WeakKeyDictionary()
        self._tried: dict[tuple[str, str, int], Tried] = {}

    def cohorts(self, sizes: Mapping[Seat, int]) -> tuple[list[Cohort], dict[Seat, str]]:
        """The seats that train together, by their traces; and why others train alone.

        Args:
            sizes: the size of the stack that each seat may be in.
        """
        groups: dict[tuple[str, str, int, int], dict[Seat, Traces]] = {}
        alone: dict[Seat, str] = {}
        for seat, size in sizes.items():
            traces = self._traces_of(seat)
            if isinstance(traces, str):
                alone[seat] = traces
                continue
            tried = self._tried_of(seat, traces, size)
            if tried.reason:
                alone[seat] = tried.reason
                continue
            groups.setdefault((traces.digest, seat.trial.data_key, size, _moment(seat)), {})[seat] = traces
        found: list[Cohort] = []
        for (digest, data, size, _), members in groups.items():
            rows = list(members.items())
            tried = self._tried[digest, data, size]
            found += [Cohort(tried, dict(rows[first : first + size])) for first in range(0, len(rows), size)]
        return found, alone

    def open(self, cohort: Cohort) -> Stack:
        """The stack of these seats; the one that they are in, if it has no others."""
        lenders = list(dict.fromkeys(seat.lender for seat in cohort.seats))
        old = lenders[0] if len(lenders) == 1 else None
        if isinstance(old, Stack) and old.seats.keys() == cohort.seats.keys() and old.is_of(cohort.tried.program):
            return old
        for lender in lenders:
            if lender is not None:
                lender.dissolve()
        return Stack(cohort.tried.program, cohort.seats)

    def try_copies(self, seat: Seat) -> StackTrial:
        """Tries a stack of copies of a seat's model. The seat is of no further use."""
        size, began = seat.trial.train.stack, time.perf_counter()
        traces = self._traces_of(seat)
        if isinstance(traces, str):
            return StackTrial(size=size, reason=traces)
        tried = self._tried_of(seat, traces, size)
        compile_s = time.perf_counter() - began
        if tried.reason:
            return StackTrial(size=size, reason=tried.reason, difference=tried.difference)
        with seat.active():
            alone_s = step_time_s(lambda count: as_arrays(seat.engine.program.run(seat.feed.place, 0, count)))
        stack = self.open(Cohort(tried, {seat: traces}))
        step_s = step_time_s(lambda count: stack.steps(0, count))
        stack.dissolve()
        return StackTrial(size=size, difference=tried.difference, step_s=step_s, alone_s=alone_s, compile_s=compile_s)

    def keep(self, data_keys: Collection[str]) -> None:
        """Forgets the programs of other data, which they would keep in memory."""
        self._tried = {key: tried for key, tried in self._tried.items() if key[1] in data_keys}

    def drop(self, data_key: str) -> None:
        """Forgets the programs of these data, which are read again."""
        self._tried = {key: tried for key, tried in self._tried.items() if key[1] != data_key}

    def _traces_of(self, seat: Seat) -> Traces | str:
        engine = seat.engine
        if engine not in self._traces:
            self._traces[engine] = _traced(seat)
        return self._traces[engine]

    def _tried_of(self, seat: Seat, traces: Traces, size: int) -> Tried:
        key = traces.digest, seat.trial.data_key, size
        if key not in self._tried:
            self._tried[key] = _compared(seat, traces, StackedProgram(traces, size))
        return self._tried[key]


def _moment(seat: Seat) -> int:
    """Equal for seats that may make the same calls: as far in their passes, epochs and turns."""
    progress, feed = seat.progress, seat.feed
    step, length = progress.step, feed.steps_per_epoch
    end = -1 if progress.turn_end is None else progress.turn_end - step
    validated = step // length % seat.trial.train.validate_every
    return hash((step % array_feed(seat).rows_of("train").batches, step % length, end, validated, length))


def _traced(seat: Seat) -> Traces | str:
    """The traces of a seat's engine; a text says why it has none."""
    feed, engine = seat.feed, seat.engine
    if not isinstance(feed, ArrayFeed):
        return "its data are no arrays in memory"
    if seat.callbacks is not None:
        return "it has callbacks"
    if engine.program.kind != "round":
        return f"its steps are called one by one: {engine.program.reason}"
    validation = feed.rows_of("validation") if "validation" in feed.splits else None
    try:
        with seat.active():
            return Traces(engine, feed.rows_of("train"), validation)
    except NotVectorizableError as err:
        return f"no stack can have {err}"
    except Exception as err:  # of the experiment's code, which raises again when the trial trains alone
        if is_out_of_memory(err):
            raise
        return f"no stack can have it: {reason_of(err)}"


def _compared(seat: Seat, traces: Traces, program: StackedProgram) -> Tried:
    """Tries a program on a seat's model among others, and compares its losses with those that it has alone."""
    try:
        with seat.active():
            before = seat.engine.read()
            try:
                difference = _difference(seat, traces, program)
            finally:
                seat.engine.write(before)
    except Exception as err:  # XLA and the vectorizer refuse operations by errors of many kinds
        if is_out_of_memory(err):
            raise
        return Tried(program, TurnClock(), reason=f"no stack can have it: {reason_of(err)}")
    most = _HALF_TOLERANCE if _is_half(seat.engine.model) else _TOLERANCE
    reason = ""
    if not difference <= most:
        reason = f"in a stack its losses differ by {difference:.1e} from its own, allowed: {most:g}"
    return Tried(program, TurnClock(), difference, reason)


def _difference(seat: Seat, traces: Traces, program: StackedProgram) -> float:
    engine = seat.engine
    engine.model.reset_metrics()
    start, order = engine.read(), seat.feed.place
    count = min(_STEPS, program.train_rows.batches)
    alone = [engine.program.run(order, step, 1) for step in range(count)]
    state, place = among_others(start, program.size), program.size // 2
    constants = stacked([traces.constants] * program.size)
    orders = np.stack([order.of_pass(0)] * program.size)
    worst = 0.0
    for step, logs in enumerate(alone):
        state, found = program.run(state, constants, orders, step, 1)
        mine = {name: np.asarray(values)[place] for name, values in flat(found).items()}
        worst = max(worst, _relative(as_numbers(flat(logs)), as_numbers(mine)))
    program.report(state, constants)
    return worst


def _relative(alone: Mapping[str, float], together: Mapping[str, float]) -> float:
    """The largest relative difference of a loss; of any metric if there is no loss."""
    names = [name for name in alone if name == "loss" or name.endswith("_loss")] or list(alone)
    worst = 0.0
    for name in names:
        a, b = alone[name], together[name]
        if a == b or (math.isnan(a) and math.isnan(b)):
            continue
        worst = max(worst, abs(a - b) / max(abs(a), abs(b))) if math.isfinite(a) and math.isfinite(b) else math.inf
    return worst


def _is_half(model: keras.Model) -> bool:
    """Whether a layer computes in half precision."""
    layers: list[Any] = [model, *model._flatten_layers()]
    return any(getattr(layer, "compute_dtype", "") in ("float16", "bfloat16") for layer in layers)
