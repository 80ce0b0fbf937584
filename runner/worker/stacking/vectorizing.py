"""Runs a function of one model over a stack of models, by TensorFlow's vectorizer and what that lacks.

The vectorizer (`tf.vectorized_map`, parallel-for) rewrites each operation into one over all models. It has no rule for
some operations. This module adds rules for those that models have most, such as random draws by a key; of the others
there is one for each model.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import tensorflow as tf
from tensorflow.python.framework import ops
from tensorflow.python.ops.parallel_for import pfor

from runner.worker.stacking import convolving, loops
from runner.worker.stacking.refusal import NotVectorizableError

_UNROLLED = 16  # models for which there are separate operations; for more they are a loop, which compiles faster


def vectorized(function: Callable[[Any], Any], stacked: Any) -> Any:
    """The function of every model at once.

    Args:
        function: of one model's values.
        stacked: its argument with all leaves stacked along a new first axis.

    Returns:
        What the function returns, stacked.

    Raises:
        NotVectorizableError: an operation cannot be vectorized.
    """
    _register()
    try:
        with _without_dumps():
            return tf.vectorized_map(function, stacked, fallback_to_while_loop=False)
    except (ValueError, NotImplementedError, TypeError, tf.errors.InvalidArgumentError) as err:
        raise NotVectorizableError(reason_of(err)) from err


def again(op: tf.Operation, inputs: Sequence[tf.Tensor], name: str | None = None) -> Sequence[tf.Tensor]:
    """The same operation on other inputs, in the graph that is being built."""
    attributes = {key: value for key, value in op.node_def.attr.items() if not key.startswith("_")}
    dtypes = [output.dtype for output in op.outputs]
    graph = ops.get_default_graph()
    made = graph.create_op(op.type, list(inputs), dtypes, attrs=attributes, op_def=op.op_def, name=name)
    outputs: Sequence[tf.Tensor] = made.outputs
    return outputs


def admit(op: tf.Operation) -> None:
    """Adds a rule for an operation without one, if it depends on its inputs alone: one operation for each model."""
    _register()
    opaque = (tf.resource, tf.variant, tf.string)
    if op.op_def.is_stateful or any(one.dtype in opaque for one in (*op.inputs, *op.outputs)):
        return
    pfor._pfor_converter_registry.setdefault(op.type, _one_by_one)


def function_of(graph: tf.Graph, name: str) -> tf.Graph:
    """The graph of a function that an operation of this graph calls."""
    found = graph._get_function(name)  # the public API has no way to a graph's functions
    if found is None:
        raise NotVectorizableError(f"function {name}")
    inner: tf.Graph = found.graph
    return inner


def reason_of(err: BaseException) -> str:
    """What an error of a trace says, in one line. TensorFlow puts the lines of the code before it."""
    lacking = re.search(r"No pfor vectorization defined for (\w+)", str(err))
    if lacking is not None:
        return lacking[1]
    lines = [line.strip() for line in str(err).splitlines() if line.strip()] or [type(err).__name__]
    line = lines[-1] if lines[0].startswith("in user code") else lines[0]
    return line.removeprefix("NotVectorizableError: ")[:200]


@contextmanager
def _without_dumps() -> Iterator[None]:
    """The vectorizer prints an operation that it refuses with all its attributes; the reason says enough."""
    logger = logging.getLogger("tensorflow")
    before = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(before)


def _register() -> None:
    registry = pfor._pfor_converter_registry
    if "Bitcast" in registry:
        return
    registry["Bitcast"] = _bitcast
    registry.update(convolving.rules(registry) | loops.rules())


def _bitcast(call: Any) -> Any:
    return pfor.wrap(tf.raw_ops.Bitcast(input=call.stacked_input(0), type=call.op.get_attr("type")), True)


def _one_by_one(call: Any) -> list[Any]:
    """An operation without a batched form, once for each model."""
    inputs = [call.input(number) for number in range(len(call.inputs))]
    models = next(int(one.t.shape[0]) for one in inputs if one.is_stacked)
    if models <= _UNROLLED:
        rows = [again(call.op, [one.t[k] if one.is_stacked else one.t for one in inputs]) for k in range(models)]
        return [pfor.wrap(tf.stack(column), True) for column in zip(*rows, strict=True)]
    return _in_a_loop(call.op, inputs)


def _in_a_loop(op: tf.Operation, inputs: Sequence[Any]) -> list[Any]:
    moving = [one.t for one in inputs if one.is_stacked]

    def draw(values: Sequence[tf.Tensor]) -> tuple[tf.Tensor, ...]:
        rest = iter(values)
        return tuple(again(op, [next(rest) if one.is_stacked else one.t for one in inputs]))

    specs = tuple(tf.TensorSpec(output.shape, output.dtype) for output in op.outputs)
    found = tf.map_fn(draw, tuple(moving), fn_output_signature=specs, parallel_iterations=1)
    return [pfor.wrap(one, True) for one in found]
