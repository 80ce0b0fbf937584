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
from functools import partial
from typing import Any

import tensorflow as tf

from runner.worker.stacking import convolving, loops
from runner.worker.stacking.private import RULES, Rule, again, wrap
from runner.worker.stacking.refusal import NotVectorizableError

_UNROLLED = 16  # models for which there are separate operations; for more they are a loop, which compiles faster

_OF_CONSTANTS = ("OneHot", "PadV2", "AdjustContrastv2")


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


def admit(op: tf.Operation) -> None:
    """Adds a rule for an operation without one, if it depends on its inputs alone: one operation for each model."""
    _register()
    opaque = (tf.resource, tf.variant, tf.string)
    if op.op_def.is_stateful or any(one.dtype in opaque for one in (*op.inputs, *op.outputs)):
        return
    RULES.setdefault(op.type, _one_by_one)


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
    if "Bitcast" not in RULES:
        RULES.update(convolving.rules(RULES) | loops.rules() | {"Bitcast": _bitcast})
        RULES.update({name: partial(_with_own_constants, RULES[name]) for name in _OF_CONSTANTS})


def _bitcast(call: Any) -> Any:
    return wrap(tf.raw_ops.Bitcast(input=call.stacked_input(0), type=call.op.get_attr("type")), True)


def _with_own_constants(usual: Rule, call: Any) -> Any:
    """TensorFlow's rule if the models have a constant in common; here, float constants are arguments."""
    floats = [one for one in (call.input(number) for number in range(1, call.num_inputs)) if one.t.dtype.is_floating]
    return _one_by_one(call) if any(one.is_stacked for one in floats) else usual(call)


def _one_by_one(call: Any) -> list[Any]:
    """An operation without a batched form, once for each model."""
    inputs = [call.input(number) for number in range(len(call.inputs))]
    models = next(int(one.t.shape[0]) for one in inputs if one.is_stacked)
    if models <= _UNROLLED:
        rows = [again(call.op, [one.t[k] if one.is_stacked else one.t for one in inputs]) for k in range(models)]
        return [wrap(tf.stack(column), True) for column in zip(*rows, strict=True)]
    return _in_a_loop(call.op, inputs)


def _in_a_loop(op: tf.Operation, inputs: Sequence[Any]) -> list[Any]:
    moving = [one.t for one in inputs if one.is_stacked]

    def draw(values: Sequence[tf.Tensor]) -> tuple[tf.Tensor, ...]:
        rest = iter(values)
        return tuple(again(op, [next(rest) if one.is_stacked else one.t for one in inputs]))

    specs = tuple(tf.TensorSpec(output.shape, output.dtype) for output in op.outputs)
    found = tf.map_fn(draw, tuple(moving), fn_output_signature=specs, parallel_iterations=1)
    return [wrap(one, True) for one in found]
