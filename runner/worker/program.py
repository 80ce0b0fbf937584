"""How a model's steps run: many as one compiled program, or one by one where that is impossible.

Compiled, a stretch of steps is one `tf.while_loop` around the model's own `train_step` (or `test_step`), so compiled
losses, metrics, weights and custom steps are the model's, and the numbers those of `fit`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Protocol

import keras
import numpy as np
import tensorflow as tf

from runner.records import ProgramKind

# Ops that draw from TensorFlow's hidden random state, which no snapshot can hold.
_STATEFUL_RANDOM = frozenset(
    {"Multinomial", "ParameterizedTruncatedNormal", "RandomGamma", "RandomPoisson", "RandomPoissonV2", "RandomShuffle"}
    | {"RandomStandardNormal", "RandomUniform", "RandomUniformInt", "TruncatedNormal"}
)
_SCALAR = tf.TensorSpec([], tf.int64)
_ORDER = tf.TensorSpec([None], tf.int64)
_UNEXAMINED = "run_eagerly: the steps' Python code is not examined for TensorFlow's hidden random state"
_EAGER = "the model is compiled with run_eagerly=True"


class Program(Protocol):
    """Runs one model's steps over one split, in the split's order.

    Attributes:
        kind: as `Facts.program`.
        reason: why it is not "round"; empty where it is.
        inexact: what keeps a repetition from being exact; empty for nothing.
    """

    kind: ProgramKind
    reason: str
    inexact: str

    def run(self, step: int, count: int) -> Any:
        """Runs `count` steps, the first being number `step` since the trial began; returns the last one's logs."""


class StepFunction:
    """One step on one batch, compiled as `fit` compiles it, or eager where the model asks for that.

    Args:
        model: a compiled Keras model.
        step: its `train_step` or `test_step`.
    """

    def __init__(self, model: Any, step: Callable[[Any], Any]) -> None:
        self.eager = bool(model.run_eagerly)
        # autograph=False as in `fit`: what trains there trains here, and nothing is rewritten.
        self._function = tf.function(
            step, autograph=False, reduce_retracing=True, jit_compile=True if model.jit_compile is True else None
        )
        self._call = step if self.eager else self._function

    def __call__(self, batch: Any) -> Any:
        """Logs of one step."""
        return self._call(batch)

    def trace(self, batch_spec: Any) -> Any:
        """The concrete function for batches of this spec."""
        return self._function.get_concrete_function(batch_spec)


class Rows:
    """Arrays in memory as tensors, and the order in which each pass takes their rows.

    Args:
        tensors: `(x,)`, `(x, y)` or `(x, y, sample_weight)`; leaves `[rows, ...]`.
        rows: rows in every leaf.
        batch_size: rows a step; the last batch of a pass has what is left.
        shuffle_seed: each pass is a permutation from (seed, pass); None takes the rows as they lie.
    """

    def __init__(self, tensors: Any, rows: int, batch_size: int, shuffle_seed: int | None) -> None:
        self.tensors, self.rows, self.batch_size, self._seed = tensors, rows, batch_size, shuffle_seed
        self.batches = -(-rows // batch_size)
        self._cached: tuple[int, Any] | None = None

    def order(self, number: int) -> Any:
        """Row numbers of pass `number` in the order they are taken: `int64 [rows]`."""
        if self._cached is None or self._cached[0] != number:
            self._cached = (number, self._make_order(number))
        return self._cached[1]

    def _make_order(self, number: int) -> Any:
        if self._seed is None:
            return tf.range(self.rows, dtype=tf.int64)
        return tf.constant(np.random.default_rng([self._seed, number]).permutation(self.rows), tf.int64)

    def batch(self, index: Any, order: Any) -> Any:
        """Batch `index` of a pass; usable inside and outside of a graph."""
        begin = index * self.batch_size
        chosen = order[begin : tf.minimum(begin + self.batch_size, self.rows)]
        return keras.tree.map_structure(lambda leaf: tf.gather(leaf, chosen, axis=0), self.tensors)

    def batch_spec(self) -> Any:
        """What a batch looks like to a trace; its length is open, as in `fit`."""
        return keras.tree.map_structure(lambda leaf: tf.TensorSpec([None, *leaf.shape[1:]], leaf.dtype), self.tensors)


class RoundProgram:
    """Steps over arrays in memory; batches are gathered by index inside the program."""

    kind: ProgramKind = "round"
    reason = ""

    def __init__(self, step: StepFunction, rows: Rows) -> None:
        self._step, self._rows = step, rows
        concrete = step.trace(rows.batch_spec())
        self.inexact = _stateful_random(concrete)
        self._initial_logs = _zeros_like_logs(concrete.structured_outputs)
        self._loop = tf.function(self._trace_loop, autograph=False, input_signature=[_SCALAR, _SCALAR, _ORDER])
        self._loop.get_concrete_function()

    def run(self, step: int, count: int) -> Any:
        """As `Program.run`; a call that goes past the end of a pass is split there."""
        logs = None
        while count > 0:
            number, start = divmod(step, self._rows.batches)
            stop = min(start + count, self._rows.batches)
            logs = self._loop(start, stop, self._rows.order(number))
            step, count = step + stop - start, count - (stop - start)
        return logs

    def _trace_loop(self, start: Any, stop: Any, order: Any) -> Any:
        def body(index: Any, _: Any) -> tuple[Any, Any]:
            return index + 1, self._step(self._rows.batch(index, order))

        return _while(body, start, stop, self._initial_logs)


class Stream:
    """A `tf.data` pipeline that starts again when it runs out.

    A pipeline of known length gets a new iterator for each pass, as in `fit`, so that reshuffling pipelines give the
    same order here and there. One of unknown length is repeated by `tf.data` itself.

    Args:
        dataset: yields batches.
        batches: batches of a pass; None where unknown or endless.
    """

    def __init__(self, dataset: Any, batches: int | None) -> None:
        self._dataset = (dataset if batches else dataset.repeat()).prefetch(tf.data.AUTOTUNE)
        self.batches = batches
        self.element_spec = dataset.element_spec
        self._iterator: Any = None

    def iterator(self, step: int) -> Any:
        """The iterator that gives the batch of step number `step`, which comes after all before it."""
        if self._iterator is None or (self.batches and step % self.batches == 0):
            self._iterator = iter(self._dataset)
        return self._iterator

    def stretch(self, step: int, count: int) -> int:
        """How many of `count` steps from `step` the same iterator gives."""
        return min(count, self.batches - step % self.batches) if self.batches else count

    def batch(self, step: int) -> Any:
        """The batch of step number `step`.

        Raises:
            ValueError: there is none at all.
        """
        with _empty_is_an_error():
            return next(self.iterator(step))


class StreamProgram:
    """Steps over a `tf.data` pipeline; batches are drawn inside the program."""

    kind: ProgramKind = "stream"
    reason = "a tf.data.Dataset brings its own batches"

    def __init__(self, step: StepFunction, stream: Stream) -> None:
        self._step, self._stream = step, stream
        concrete = step.trace(stream.element_spec)
        self.inexact = _stateful_random(concrete)
        self._initial_logs = _zeros_like_logs(concrete.structured_outputs)
        signature = [tf.data.IteratorSpec(stream.element_spec), _SCALAR]
        self._loop = tf.function(self._trace_loop, autograph=False, input_signature=signature)
        self._loop.get_concrete_function()

    def run(self, step: int, count: int) -> Any:
        """As `Program.run`; a call that goes past the end of a pass is split there."""
        logs = None
        while count > 0:
            stretch = self._stream.stretch(step, count)
            with _empty_is_an_error():
                logs = self._loop(self._stream.iterator(step), stretch)
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
        draw: the batch of a step number.
    """

    kind: ProgramKind = "plain"

    def __init__(self, step: StepFunction, reason: str, draw: Callable[[int], Any]) -> None:
        self._step, self.reason, self._draw = step, reason, draw
        self.inexact = _UNEXAMINED if step.eager else ""

    def run(self, step: int, count: int) -> Any:
        """As `Program.run`."""
        logs = None
        for number in range(step, step + count):
            logs = self._step(self._draw(number))
        return logs


def rows_program(step: StepFunction, rows: Rows) -> Program:
    """The best program for arrays in memory."""

    def draw(number: int) -> Any:
        index = number % rows.batches
        return rows.batch(index, rows.order(number // rows.batches))

    if step.eager:
        return PlainProgram(step, _EAGER, draw)
    try:
        return RoundProgram(step, rows)
    except _NotCompilableError as err:
        return PlainProgram(step, str(err), draw)


def stream_program(step: StepFunction, stream: Stream) -> Program:
    """The best program for a `tf.data` pipeline."""
    if step.eager:
        return PlainProgram(step, _EAGER, stream.batch)
    try:
        return StreamProgram(step, stream)
    except _NotCompilableError as err:
        return PlainProgram(step, str(err), stream.batch)


class _NotCompilableError(Exception):
    """These steps cannot become one program; the message says why."""


@contextmanager
def _empty_is_an_error() -> Iterator[None]:
    try:
        yield
    except (StopIteration, tf.errors.OutOfRangeError) as err:
        raise ValueError("train data is empty: the tf.data.Dataset yields no batch") from err


def _while(body: Callable[[Any, Any], Any], start: Any, stop: Any, logs: Any) -> Any:
    return tf.while_loop(lambda index, _: index < stop, body, (start, logs), parallel_iterations=1)[1]


def _zeros_like_logs(outputs: Any) -> Any:
    leaves = keras.tree.flatten(outputs)
    if not all(isinstance(leaf, tf.Tensor) and leaf.shape.is_fully_defined() for leaf in leaves):
        raise _NotCompilableError("the step returns logs of no fixed shape")
    return keras.tree.map_structure(lambda leaf: tf.zeros(leaf.shape, leaf.dtype), outputs)


def _stateful_random(concrete: Any) -> str:
    definition = concrete.graph.as_graph_def()
    ops = [node.op for node in definition.node]
    ops += [node.op for function in definition.library.function for node in function.node_def]
    found = sorted(_STATEFUL_RANDOM.intersection(ops))
    return f"{', '.join(found)} draws from TensorFlow's hidden random state; use keras.random instead" if found else ""
