"""What stacks use of TensorFlow's vectorizer and of XLA's operations that has no public name."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any, TypeAlias

import tensorflow as tf
from tensorflow.compiler.tf2xla.ops import gen_xla_ops
from tensorflow.python.framework import func_graph, ops
from tensorflow.python.ops.parallel_for import pfor

Rule: TypeAlias = Callable[[Any], Any]
"""Converts one operation: takes the call with its converted inputs, returns `wrap` of each output."""
RULES: dict[str, Rule] = pfor._pfor_converter_registry
"""The vectorizer's rules by the names of their operations."""
wrap = pfor.wrap
"""A converted tensor, and whether it is stacked."""
update_slice = gen_xla_ops.xla_dynamic_update_slice
"""A tensor with a part replaced, in place if XLA can."""


def again(op: tf.Operation, inputs: Sequence[tf.Tensor], name: str | None = None) -> Sequence[tf.Tensor]:
    """The same operation on other inputs, in the graph that is being built."""
    attributes = {key: value for key, value in op.node_def.attr.items() if not key.startswith("_")}
    dtypes = [output.dtype for output in op.outputs]
    graph = ops.get_default_graph()
    made = graph.create_op(op.type, list(inputs), dtypes, attrs=attributes, op_def=op.op_def, name=name)
    outputs: Sequence[tf.Tensor] = made.outputs
    return outputs


def function_of(op: tf.Operation, attribute: str) -> tf.Graph:
    """The graph of a function that an operation calls."""
    inner: tf.Graph = op.graph._get_function(op.get_attr(attribute).name).graph
    return inner


def scratch() -> AbstractContextManager[tf.Graph]:
    """A graph for what is only looked at."""
    found: AbstractContextManager[tf.Graph] = func_graph.FuncGraph("scratch").as_default()
    return found


def flat_batches(call: Any, inputs: Sequence[int]) -> Any:
    """Converts an operation that treats each row of a batch alike: the models' batches become one.

    Args:
        call: the call.
        inputs: numbers of the inputs that are batches.
    """
    return pfor._convert_flatten_batch(call, call.op_type, list(inputs))


def converted(parent: Any, models: int, graph: tf.Graph, inputs: Sequence[Any]) -> list[Any]:
    """What a function returns for all models, in the graph that is being built.

    Args:
        parent: of the call.
        models: number of models.
        graph: of the function.
        inputs: its arguments, each as `wrap` returns it.
    """
    converter = pfor.PFor(
        loop_var=parent.loop_var,
        loop_len=models,
        pfor_ops=graph.get_operations(),
        fallback_to_while_loop=False,
        pfor_config=parent.pfor_config,
    )
    for inner, value in zip(graph.inputs, inputs, strict=True):
        converter._add_conversion(inner, value)
    return [converter._convert_helper(output) for output in graph.outputs]
