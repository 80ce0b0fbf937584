"""Rules of the vectorizer for convolutions and resizing.

Convolutions with filters of each model's own are one grouped convolution. The groups of the models lie side by side, so
that N models with g groups each make N * g groups.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import tensorflow as tf

from runner.worker.stacking.private import Rule, again, flat_batches, wrap
from runner.worker.stacking.refusal import NotVectorizableError

_DEPTHWISE: dict[str, tuple[int, int]] = {
    "DepthwiseConv2dNative": (0, 1), "DepthwiseConv2dNativeBackpropInput": (1, 2),
    "DepthwiseConv2dNativeBackpropFilter": (0, 2),
}  # fmt: skip
_RESIZING: dict[str, tuple[int, ...]] = {
    "ResizeBilinear": (0,), "ResizeBilinearGrad": (0, 1), "ResizeNearestNeighbor": (0,),
}  # fmt: skip
"""Operations on images, and which of their inputs are batches."""


def rules(usual: Mapping[str, Rule]) -> dict[str, Rule]:
    """Rules by the names of their operations.

    Args:
        usual: TensorFlow's own.
    """
    found: dict[str, Rule] = {
        "Conv2D": partial(_forward, usual["Conv2D"]),
        "Conv2DBackpropInput": partial(_to_input, usual["Conv2DBackpropInput"]),
        "Conv2DBackpropFilter": _to_filter,
        "Conv3D": partial(_forward, None),
        "Conv3DBackpropInputV2": partial(_to_input, None),
        "Conv3DBackpropFilterV2": _to_filter,
    }
    for name, pair in _DEPTHWISE.items():
        found[name] = partial(_all_stacked, usual[name], pair)
    for name, batches in _RESIZING.items():
        found[name] = partial(flat_batches, inputs=batches)
    return found


def _all_stacked(usual: Rule, numbers: tuple[int, ...], call: Any) -> Any:
    """TensorFlow's rule lacks the case that the images are the same for all models, as they are in validation."""
    call.stack_inputs(numbers)
    return usual(call)


def _forward(usual: Rule | None, call: Any) -> Any:
    if usual is not None and not call.input(1).is_stacked:
        return usual(call)
    call.stack_inputs([0, 1])
    filters = call.stacked_input(1)
    y = _again(call.op, _to_groups(call.stacked_input(0)), _grouped_filters(filters))
    return wrap(_from_groups(y, filters.shape[0]), True)


def _to_input(usual: Rule | None, call: Any) -> Any:
    if usual is not None and not call.input(1).is_stacked:
        return usual(call)
    call.stack_inputs([1, 2])
    filters, sizes = call.stacked_input(1), call.unstacked_input(0)
    models = filters.shape[0]
    channels = models * _channels(call.op)
    sizes = tf.concat([sizes[:-1], [channels]], 0)
    x = _again(call.op, sizes, _grouped_filters(filters), _to_groups(call.stacked_input(2)))
    return wrap(_from_groups(tf.ensure_shape(x, [*[None] * (len(filters.shape) - 2), channels]), models), True)


def _to_filter(call: Any) -> Any:
    call.stack_inputs([0, 2])
    x, dy, sizes = call.stacked_input(0), call.stacked_input(2), call.unstacked_input(1)
    models, rank = x.shape[0] or dy.shape[0], len(x.shape) - 1
    outputs = sizes[-1]
    dw = _again(call.op, _to_groups(x), tf.concat([sizes[:-1], [models * outputs]], 0), _to_groups(dy))
    parts = tf.reshape(dw, tf.concat([sizes[:-1], [models, outputs]], 0))
    return wrap(tf.transpose(parts, [rank - 1, *range(rank - 1), rank]), True)


def _again(op: tf.Operation, *inputs: tf.Tensor) -> tf.Tensor:
    if op.get_attr("data_format") not in (b"NHWC", b"NDHWC"):
        raise NotVectorizableError(f"{op.type} with channels first")
    (output,) = again(op, inputs)
    return output


def _channels(op: tf.Operation) -> int:
    """Channels of a convolution's input, which its filters show only if it has one group."""
    known = op.outputs[0].shape
    if known.rank is not None and known[-1] is not None:
        return int(known[-1])
    sizes = tf.get_static_value(op.inputs[0])
    if sizes is None:
        raise NotVectorizableError(f"{op.type} of a size that only a run shows")
    return int(sizes[-1])


def _to_groups(x: tf.Tensor) -> tf.Tensor:
    """`[models, batch, *space, channels]` to `[batch, *space, models * channels]`."""
    rank = len(x.shape) - 1
    moved = tf.transpose(x, [*range(1, rank), 0, rank])
    return tf.reshape(moved, tf.concat([tf.shape(x)[1:-1], [x.shape[0] * x.shape[-1]]], 0))


def _from_groups(x: tf.Tensor, models: int) -> tf.Tensor:
    rank = len(x.shape)
    parts = tf.reshape(x, tf.concat([tf.shape(x)[:-1], [models, x.shape[-1] // models]], 0))
    return tf.transpose(parts, [rank - 1, *range(rank - 1), rank])


def _grouped_filters(w: tf.Tensor) -> tf.Tensor:
    """`[models, *space, in, out]` to `[*space, in, models * out]`."""
    rank = len(w.shape) - 1
    moved = tf.transpose(w, [*range(1, rank), 0, rank])
    return tf.reshape(moved, [*w.shape[1:-1], w.shape[0] * w.shape[-1]])
