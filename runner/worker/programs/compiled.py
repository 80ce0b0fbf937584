"""Many steps as one compiled program: a `tf.while_loop` around the model's own `train_step` or `test_step`.

Compiled losses, metrics, weights and custom steps are therefore the model's, and the numbers are those of `fit`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import keras
import tensorflow as tf

from runner.records import ProgramKind
from runner.worker.data.batches import Batch, RowOrder, Rows, Stream, empty_is_an_error
from runner.worker.determinism import drawn_from_hidden_state, graph_ops
from runner.worker.programs.base import Logs, Program, StepFunction
from runner.worker.programs.plain import PlainProgram
from runner.worker.variables import captured_by

_SCALAR = tf.TensorSpec([], tf.int64)
_EAGER = "the model is compiled with run_eagerly=True"
_LoopBody: TypeAlias = Callable[[tf.Tensor, Logs], tuple[tf.Tensor, Logs]]


class RoundProgram:
    """Steps over arrays in memory; the program itself gathers each batch by index.

    XLA needs batches of one length. With it, the partial batch that may end a pass is a step of its own.
    """

    kind: ProgramKind = "round"
    reason = ""

    def __init__(self, step: StepFunction, rows: Rows) -> None:
        self._step, self._rows = step, rows
        concrete = step.trace(rows.spec(rows.batch_size if step.xla else None))
        self.inexact, self.captured = drawn_from_hidden_state(graph_ops(concrete)), captured_by(concrete)
        self._initial_logs = _zeros_like_logs(concrete)
        self._in_loop = rows.full_batches if step.xla else rows.batches
        order = tf.TensorSpec([rows.rows if step.xla else None], tf.int64)
        self._loop = tf.function(
            self._trace_loop, autograph=False, jit_compile=step.xla or None, input_signature=[_SCALAR, _SCALAR, order]
        )
        self._loop.get_concrete_function()

    def run(self, place: RowOrder, step: int, count: int) -> Logs:
        """As `Program.run`; splits a call that goes past the end of a pass."""
        logs: Logs = {}
        while count > 0:
            number, start = divmod(step, self._rows.batches)
            order = place.of_pass(number)
            if start < self._in_loop:
                stop = min(start + count, self._in_loop)
                logs = self._loop(start, stop, order)
            else:
                stop = start + 1
                logs = self._step(self._rows.batch(start, order))
            step, count = step + stop - start, count - (stop - start)
        return logs

    def _trace_loop(self, start: tf.Tensor, stop: tf.Tensor, order: tf.Tensor) -> Logs:
        batch = self._rows.full_batch if self._step.xla else self._rows.batch

        def body(index: tf.Tensor, _: Logs) -> tuple[tf.Tensor, Logs]:
            return index + 1, self._step(batch(index, order))

        return _while(body, start, stop, self._initial_logs)


class StreamProgram:
    """Steps over a `tf.data` pipeline; the program itself draws each batch."""

    kind: ProgramKind = "stream"
    reason = "a tf.data.Dataset brings its own batches"

    def __init__(self, step: StepFunction, element_spec: tf.TypeSpec) -> None:
        self._step = step
        concrete = step.trace(element_spec)
        self.inexact, self.captured = drawn_from_hidden_state(graph_ops(concrete)), captured_by(concrete)
        self._initial_logs = _zeros_like_logs(concrete)
        signature = [tf.data.IteratorSpec(element_spec), _SCALAR]
        self._loop = tf.function(self._trace_loop, autograph=False, input_signature=signature)
        self._loop.get_concrete_function()

    def run(self, place: Stream, step: int, count: int) -> Logs:
        """As `Program.run`; splits a call that goes past the end of a pass."""
        logs: Logs = {}
        while count > 0:
            stretch = place.stretch(step, count)
            with empty_is_an_error():
                logs = self._loop(place.iterator(step), stretch)
            step, count = step + stretch, count - stretch
        return logs

    def _trace_loop(self, iterator: tf.data.Iterator, count: tf.Tensor) -> Logs:
        def body(index: tf.Tensor, _: Logs) -> tuple[tf.Tensor, Logs]:
            return index + 1, self._step(next(iterator))

        return _while(body, tf.constant(0, tf.int64), count, self._initial_logs)


def rows_program(step: StepFunction, rows: Rows, why_stepwise: str = "") -> Program:
    """The program for arrays in memory: compiled if that is possible and there is no reason against it, else plain."""

    def draw(place: RowOrder, number: int) -> Batch:
        return rows.batch(number % rows.batches, place.of_pass(number // rows.batches))

    if step.eager:
        return PlainProgram(step, _EAGER, draw)
    if why_stepwise:
        return PlainProgram(step, why_stepwise, draw, step.trace(rows.spec(rows.batch_size if step.xla else None)))
    try:
        return RoundProgram(step, rows)
    except _NotCompilableError as err:
        return PlainProgram(step, str(err), draw, err.concrete)


def stream_program(step: StepFunction, element_spec: tf.TypeSpec, why_stepwise: str = "") -> Program:
    """The program for a `tf.data` pipeline, as `rows_program`."""
    if step.eager:
        return PlainProgram(step, _EAGER, Stream.batch)
    if why_stepwise:
        return PlainProgram(step, why_stepwise, Stream.batch, step.trace(element_spec))
    try:
        return StreamProgram(step, element_spec)
    except _NotCompilableError as err:
        return PlainProgram(step, str(err), Stream.batch, err.concrete)


class _NotCompilableError(Exception):
    """These steps cannot become one program.

    Args:
        reason: why.
        concrete: the traced step.
    """

    def __init__(self, reason: str, concrete: tf.types.experimental.ConcreteFunction) -> None:
        super().__init__(reason)
        self.concrete = concrete


def _while(body: _LoopBody, start: tf.Tensor, stop: tf.Tensor, logs: Logs) -> Logs:
    _, last = tf.while_loop(lambda index, _: index < stop, body, (start, logs), parallel_iterations=1)
    found: Logs = last
    return found


def _zeros_like_logs(concrete: tf.types.experimental.ConcreteFunction) -> Logs:
    """Logs to enter the loop with, of the shapes and dtypes that a step returns."""
    outputs = concrete.structured_outputs
    leaves = keras.tree.flatten(outputs)
    if not all(isinstance(leaf, tf.Tensor) and leaf.shape.is_fully_defined() for leaf in leaves):
        raise _NotCompilableError("the step returns logs of no fixed shape", concrete)
    zeros: Logs = keras.tree.map_structure(lambda leaf: tf.zeros(leaf.shape, leaf.dtype), outputs)
    return zeros
