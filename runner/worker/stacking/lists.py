"""Lists of tensors (`tf.TensorArray`, and what a loop keeps for its gradient) as dense tensors of a fixed size.

XLA has them as such, too. The vectorizer's own lists do not go through its loops.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import tensorflow as tf

from runner.worker.stacking.private import update_slice
from runner.worker.stacking.refusal import NotVectorizableError


class DenseList(NamedTuple):
    """A list of as many items as it ever has.

    Args:
        items: `[length, ...]`.
    """

    items: tf.Tensor

    @property
    def length(self) -> tf.Tensor:
        """The number of its items."""
        return tf.constant(self.items.shape[0])


class Stack(NamedTuple):
    """A list that grows and shrinks at its end.

    Args:
        items: `[capacity, ...]`.
        length: items that it has, int32.
    """

    items: tf.Tensor
    length: tf.Tensor


AnyList: TypeAlias = DenseList | Stack


def is_of_lists(op: tf.Operation, inputs: Sequence[Any]) -> bool:
    """Whether the operation makes a list or takes one."""
    return op.type in _OPERATIONS or any(isinstance(one, AnyList) for one in inputs)


def apply(op: tf.Operation, inputs: Sequence[Any]) -> list[Any]:
    """The outputs of an operation on lists, of which each is a tensor or a list."""
    rule = (_OPERATIONS | _OF_LISTS).get(op.type)
    if rule is None:
        raise NotVectorizableError(f"{op.type} of a TensorArray ({op.name})")
    return rule(op, *inputs)


def _set(items: tf.Tensor, index: tf.Tensor, item: tf.Tensor) -> tf.Tensor:
    begin = tf.concat([[index], tf.zeros([len(items.shape) - 1], tf.int32)], 0)
    return update_slice(items, item[None], begin)


def _get(items: tf.Tensor, index: tf.Tensor) -> tf.Tensor:
    begin = tf.concat([[index], tf.zeros([len(items.shape) - 1], tf.int32)], 0)
    return tf.reshape(tf.slice(items, begin, [1, *items.shape[1:]]), items.shape[1:])


def _reserve(op: tf.Operation, shape: tf.Tensor, length: tf.Tensor) -> list[Any]:
    return [DenseList(_zeros(op, shape, length))]


def _empty(op: tf.Operation, shape: tf.Tensor, length: tf.Tensor) -> list[Any]:
    return [Stack(_zeros(op, shape, length), tf.constant(0))]


def _zeros(op: tf.Operation, shape: tf.Tensor, length: tf.Tensor) -> tf.Tensor:
    size, of_item = _static(op.inputs[1], length), _static(op.inputs[0], shape)
    if size is None or size < 0:
        raise NotVectorizableError(f"{op.type} whose length only a run shows ({op.name})")
    if of_item is None or of_item.ndim == 0 or (of_item < 0).any():
        raise NotVectorizableError(f"{op.type} of items whose shape only a run shows ({op.name})")
    return tf.zeros([int(size), *of_item], op.get_attr("element_dtype"))


def _static(traced: tf.Tensor, now: tf.Tensor) -> np.ndarray | None:
    """The value of a traced tensor if it is a constant, there or in the graph that is being built."""
    for tensor in (traced, now):
        value = tf.get_static_value(tensor)
        if value is None and tensor.op.type == "Max" and tensor.op.inputs[0].shape.rank == 0:
            value = tf.get_static_value(tensor.op.inputs[0])  # of one length, as Keras' recurrent layers have it
        if value is not None:
            return np.asarray(value)
    return None


def _push(_: tf.Operation, before: Stack, item: tf.Tensor) -> list[Any]:
    return [Stack(_set(before.items, before.length, item), before.length + 1)]


def _pop(_: tf.Operation, before: Stack, __: Any) -> list[Any]:
    last = before.length - 1
    return [Stack(before.items, last), _get(before.items, last)]


def _stack(op: tf.Operation, one: DenseList, _: Any) -> list[Any]:
    return [tf.ensure_shape(one.items, op.outputs[0].shape)]


def _element_shape(op: tf.Operation, one: AnyList) -> list[Any]:
    return [tf.constant(one.items.shape[1:].as_list(), op.get_attr("shape_type"), [len(one.items.shape) - 1])]


def _sum(_: tf.Operation, *lists: DenseList) -> list[Any]:
    return [DenseList(tf.add_n([one.items for one in lists]))]


_OPERATIONS: dict[str, Callable[..., list[Any]]] = {
    "TensorListReserve": _reserve,
    "EmptyTensorList": _empty,
    "TensorListFromTensor": lambda _, items, __: [DenseList(items)],
    "TensorListPushBack": _push,
    "TensorListPopBack": _pop,
    "TensorListSetItem": lambda _, before, index, item: [DenseList(_set(before.items, index, item))],
    "TensorListGetItem": lambda _, one, index, __: [_get(one.items, index)],
    "TensorListGather": lambda _, one, indices, __: [tf.gather(one.items, indices)],
    "TensorListStack": _stack,
    "TensorListLength": lambda _, one: [one.length],
    "TensorListElementShape": _element_shape,
}
_OF_LISTS: dict[str, Callable[..., list[Any]]] = {
    "Identity": lambda _, one: [one],
    "AddN": _sum,
    "ZerosLike": lambda _, one: [one._replace(items=tf.zeros_like(one.items))],
}
