"""How a model's steps run: many as one compiled program, or one by one where that is impossible.

Compiled, a stretch of steps is one `tf.while_loop` around the model's own `train_step` (or `test_step`), so compiled
losses, metrics, weights and custom steps are the model's, and the numbers those of `fit`.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import keras
import tensorflow as tf

from runner.records import ProgramKind
from runner.worker.data.batches import RowOrder, Rows, Stream, empty_is_an_error
from runner.worker.ops import drawn_from_hidden_state, graph_ops
from runner.worker.variables import captured_by

_SCALAR = tf.TensorSpec([], tf.int64)
_UNEXAMINED = "run_eagerly: the steps' Python code is not examined for TensorFlow's hidden random state"
_EAGER = "the model is compiled with run_eagerly=True"


class Program(Protocol):
    """Runs one model's steps over one split. Holds no trial's place in the data: that is the `place` it is given.

    Attributes:
        kind: as `Facts.program`.
        reason: why it is not "round"; empty where it is.
        inexact: what keeps a repetition from being exact; empty for nothing.
        captured: the variables that the traced step uses; empty where there is no trace.
    """

    kind: ProgramKind
    reason: str
    inexact: str
    captured: Sequence[Any]

    def run(self, place: Any, step: int, count: int) -> Any:
        """Runs `count` steps and returns the last one's logs.

        Args:
            place: the trial's `RowOrder` or `Stream`.
            step: number of the first step since the trial began.
            count: how many.
        """


class StepFunction:
    """One step on one batch, compiled as `fit` compiles it, or eager where the model asks for that.

    Args:
        model: a compiled Keras model.
        step: its `train_step` or `test_step`.
        xla: compile by XLA, and not only where the model asks for it.
    """

    def __init__(self, model: Any, step: Callable[[Any], Any], xla: bool) -> None:
        self.eager = bool(model.run_eagerly)
        self.xla = xla and not self.eager
        # autograph=False as in `fit`: what trains there trains here, and nothing is rewritten.
        jit_compile = True if self.xla or model.jit_compile is True else None
        logged = _with_logs_of_fit(model, step)
        self._function = tf.function(logged, autograph=False, reduce_retracing=not self.xla, jit_compile=jit_compile)
        self._call = logged if self.eager else self._function

    def __call__(self, batch: Any) -> Any:
        """Logs of one step."""
        return self._call(batch)

    def trace(self, batch_spec: Any) -> Any:
        """The concrete function for batches of this spec."""
        return self._function.get_concrete_function(batch_spec)


class RoundProgram:
    """Steps over arrays in memory; batches are gathered by index inside the program.

    By XLA, batches must have one length: the partial batch that may end a pass is a step of its own.
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

    def run(self, place: Any, step: int, count: int) -> Any:
        """As `Program.run`; a call that goes past the end of a pass is split there."""
        logs = None
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

    def _trace_loop(self, start: Any, stop: Any, order: Any) -> Any:
        batch = self._rows.full_batch if self._step.xla else self._rows.batch

        def body(index: Any, _: Any) -> tuple[Any, Any]:
            return index + 1, self._step(batch(index, order))

        return _while(body, start, stop, self._initial_logs)


class StreamProgram:
    """Steps over a `tf.data` pipeline; batches are drawn inside the program."""

    kind: ProgramKind = "stream"
    reason = "a tf.data.Dataset brings its own batches"

    def __init__(self, step: StepFunction, element_spec: Any) -> None:
        self._step = step
        concrete = step.trace(element_spec)
        self.inexact, self.captured = drawn_from_hidden_state(graph_ops(concrete)), captured_by(concrete)
        self._initial_logs = _zeros_like_logs(concrete)
        signature = [tf.data.IteratorSpec(element_spec), _SCALAR]
        self._loop = tf.function(self._trace_loop, autograph=False, input_signature=signature)
        self._loop.get_concrete_function()

    def run(self, place: Any, step: int, count: int) -> Any:
        """As `Program.run`; a call that goes past the end of a pass is split there."""
        logs = None
        while count > 0:
            stretch = place.stretch(step, count)
            with empty_is_an_error():
                logs = self._loop(place.iterator(step), stretch)
            step, count = step + stretch, count - stretch
        return logs

    def _trace_loop(self, iterator: Any, count: Any) -> Any:
        def body(index: Any, _: Any) -> tuple[Any, Any]:
            return index + 1, self._step(next(iterator))

        return _while(body, tf.constant(0, tf.int64), count, self._initial_logs)


class PlainProgram:
    """Steps called one by one from Python.

    Args:
        step: the model's step.
        reason: why the steps cannot be compiled into one program.
        draw: the batch of a step number, given the trial's place.
        concrete: the traced step; None where steps are eager.
    """

    kind: ProgramKind = "plain"

    def __init__(
        self, step: StepFunction, reason: str, draw: Callable[[Any, int], Any], concrete: Any | None = None
    ) -> None:
        self._step, self.reason, self._draw = step, reason, draw
        self.inexact = _UNEXAMINED if concrete is None else drawn_from_hidden_state(graph_ops(concrete))
        self.captured: Sequence[Any] = () if concrete is None else captured_by(concrete)

    def run(self, place: Any, step: int, count: int) -> Any:
        """As `Program.run`."""
        logs = None
        for number in range(step, step + count):
            logs = self._step(self._draw(place, number))
        return logs


def rows_program(step: StepFunction, rows: Rows) -> Program:
    """The best program for arrays in memory."""

    def draw(place: RowOrder, number: int) -> Any:
        return rows.batch(number % rows.batches, place.of_pass(number // rows.batches))

    if step.eager:
        return PlainProgram(step, _EAGER, draw)
    try:
        return RoundProgram(step, rows)
    except _NotCompilableError as err:
        return PlainProgram(step, str(err), draw, err.concrete)


def stream_program(step: StepFunction, element_spec: Any) -> Program:
    """The best program for a `tf.data` pipeline."""
    if step.eager:
        return PlainProgram(step, _EAGER, Stream.batch)
    try:
        return StreamProgram(step, element_spec)
    except _NotCompilableError as err:
        return PlainProgram(step, str(err), Stream.batch, err.concrete)


class _NotCompilableError(Exception):
    """These steps cannot become one program; the message says why.

    Args:
        reason: why.
        concrete: the step, traced.
    """

    def __init__(self, reason: str, concrete: Any) -> None:
        super().__init__(reason)
        self.concrete = concrete


def _with_logs_of_fit(model: Any, step: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """The step; what it logs becomes tensors, as in `fit`, where 0.1 is a float32."""

    @functools.wraps(step)
    def logged(batch: Any) -> Any:
        logs = step(batch)
        if not isinstance(logs, dict) or not logs:
            raise TypeError(
                f"{type(model).__name__}.{step.__name__} returned {logs!r}; fit needs a dict with at least one metric: "
                'return self.get_metrics_result(), or {"loss": loss}'
            )
        return keras.tree.map_structure(lambda leaf: None if leaf is None else tf.convert_to_tensor(leaf), logs)

    return logged


def _while(body: Callable[[Any, Any], Any], start: Any, stop: Any, logs: Any) -> Any:
    return tf.while_loop(lambda index, _: index < stop, body, (start, logs), parallel_iterations=1)[1]


def _zeros_like_logs(concrete: Any) -> Any:
    outputs = concrete.structured_outputs
    leaves = keras.tree.flatten(outputs)
    if not all(isinstance(leaf, tf.Tensor) and leaf.shape.is_fully_defined() for leaf in leaves):
        raise _NotCompilableError("the step returns logs of no fixed shape", concrete)
    return keras.tree.map_structure(lambda leaf: tf.zeros(leaf.shape, leaf.dtype), outputs)
