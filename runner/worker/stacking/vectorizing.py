"""Runs a function of one model over a stack of models, by TensorFlow's vectorizer and what that lacks.

The vectorizer (`tf.vectorized_map`, parallel-for) rewrites each operation into one over all models. It has no rule for
random draws by a key and for convolutions whose filters differ from model to model; this module adds them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import tensorflow as tf
from tensorflow.python.framework import ops
from tensorflow.python.ops.parallel_for import pfor

_UNROLLED = 16  # models for which draws are separate operations; for more they are a loop, which compiles faster
_DRAWS = (
    "StatelessRandomGetKeyCounter", "StatelessRandomUniformV2", "StatelessRandomNormalV2",
    "StatelessRandomUniformIntV2", "StatelessRandomUniformFullIntV2", "StatelessTruncatedNormalV2",
)  # fmt: skip


class NotVectorizableError(Exception):
    """An operation has no form over several models; the message has its name."""


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


def _register() -> None:
    registry = pfor._pfor_converter_registry
    if "Bitcast" in registry:
        return
    registry["Bitcast"] = _bitcast
    for name in _DRAWS:
        registry.setdefault(name, _one_by_one)
    for name, rule in (("Conv2D", _conv2d), ("Conv2DBackpropInput", _conv2d_to_input)):
        registry[name] = partial(rule, registry[name])
    registry["Conv2DBackpropFilter"] = _conv2d_to_filter


def _bitcast(call: Any) -> Any:
    return pfor.wrap(tf.raw_ops.Bitcast(input=call.stacked_input(0), type=call.op.get_attr("type")), True)


def _one_by_one(call: Any) -> list[Any]:
    """An operation without a batched form, once for each model: draws from the models' own seeds."""
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


# Convolutions with filters of each model's own are one grouped convolution: a group is a model.


def _to_groups(x: tf.Tensor) -> tf.Tensor:
    """`[models, batch, height, width, channels]` to `[batch, height, width, models * channels]`."""
    shape = tf.shape(x)
    channels = x.shape[0] * x.shape[4]
    return tf.reshape(tf.transpose(x, [1, 2, 3, 0, 4]), [shape[1], shape[2], shape[3], channels])


def _from_groups(x: tf.Tensor, models: int) -> tf.Tensor:
    shape = tf.shape(x)
    parts = tf.reshape(x, [shape[0], shape[1], shape[2], models, x.shape[3] // models])
    return tf.transpose(parts, [3, 0, 1, 2, 4])


def _grouped_filters(w: tf.Tensor) -> tf.Tensor:
    """`[models, height, width, in, out]` to `[height, width, in, models * out]`."""
    return tf.reshape(tf.transpose(w, [1, 2, 3, 0, 4]), [*w.shape[1:4], w.shape[0] * w.shape[4]])


def _convolution(op: tf.Operation) -> Mapping[str, Any]:
    if op.get_attr("data_format") != b"NHWC":
        raise NotVectorizableError(f"{op.type} with channels first")
    names = ("strides", "padding", "explicit_paddings", "dilations", "data_format")
    return {name: op.get_attr(name) for name in names}


def _conv2d(usual: Callable[[Any], Any], call: Any) -> Any:
    filters = call.input(1)
    if not filters.is_stacked:
        return usual(call)
    attributes = _convolution(call.op)
    call.stack_inputs([0])
    _one_group(call.stacked_input(0).shape[4], filters.t.shape[3], call.op)
    x, w = _to_groups(call.stacked_input(0)), _grouped_filters(filters.t)
    y = tf.raw_ops.Conv2D(input=x, filter=w, **attributes)
    return pfor.wrap(_from_groups(y, filters.t.shape[0]), True)


def _one_group(channels: int, of_filter: int, op: tf.Operation) -> None:
    if channels != of_filter:
        raise NotVectorizableError(f"{op.type} with groups")


def _conv2d_to_input(usual: Callable[[Any], Any], call: Any) -> Any:
    filters = call.input(1)
    if not filters.is_stacked:
        return usual(call)
    attributes = _convolution(call.op)
    call.stack_inputs([2])
    models, sizes = filters.t.shape[0], call.unstacked_input(0)
    x = tf.raw_ops.Conv2DBackpropInput(
        input_sizes=tf.concat([sizes[:3], [models * filters.t.shape[3]]], 0),
        filter=_grouped_filters(filters.t),
        out_backprop=_to_groups(call.stacked_input(2)),
        **attributes,
    )
    channels = models * filters.t.shape[3]
    return pfor.wrap(_from_groups(tf.ensure_shape(x, [None, None, None, channels]), models), True)


def _conv2d_to_filter(call: Any) -> Any:
    attributes = _convolution(call.op)
    call.stack_inputs([0, 2])
    x, dy, sizes = call.stacked_input(0), call.stacked_input(2), call.unstacked_input(1)
    models = x.shape[0] or dy.shape[0]
    height, width, inputs, outputs = tf.unstack(sizes, num=4)
    dw = tf.raw_ops.Conv2DBackpropFilter(
        input=_to_groups(x),
        filter_sizes=tf.stack([height, width, inputs, models * outputs]),
        out_backprop=_to_groups(dy),
        **attributes,
    )
    parts = tf.reshape(dw, [height, width, inputs, models, outputs])
    return pfor.wrap(tf.transpose(parts, [3, 0, 1, 2, 4]), True)
