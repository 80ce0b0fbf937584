"""Rules of the vectorizer for loops that all models leave after the same number of rounds, as recurrent layers have."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import tensorflow as tf
from tensorflow.compiler.tf2xla.ops import gen_xla_ops
from tensorflow.python.framework import func_graph
from tensorflow.python.ops.parallel_for import pfor

from runner.worker.stacking.refusal import NotVectorizableError

Rule: TypeAlias = Callable[[Any], Any]


def rules() -> dict[str, Rule]:
    """Rules by the names of their operations."""
    return {"While": _while, "StatelessWhile": _while, "XlaDynamicUpdateSlice": _update_slice}


def _while(call: Any) -> list[Any]:
    """One loop whose values are those of all models.

    A value is stacked if a model's own may differ: if it is so at the beginning, or after a round.
    """
    models = int(tf.get_static_value(call.pfor.loop_len_vector)[0])
    condition, body = (_function(call.op, name) for name in ("cond", "body"))
    before = [call.input(number) for number in range(call.num_inputs)]
    stacked = _after_any_round(call.pfor, models, body, before)
    with func_graph.FuncGraph("condition").as_default():
        [(_, differs, _)] = _converted(call.pfor, models, condition, _placeholders(before, stacked, models))
    if differs:
        raise NotVectorizableError(f"While whose length depends on the model ({call.op.name})")
    start = [
        tf.repeat(one.t[None], models, axis=0) if now and not one.is_stacked else one.t
        for one, now in zip(before, stacked, strict=True)
    ]

    def go_on(*values: tf.Tensor) -> tf.Tensor:
        return _converted(call.pfor, models, condition, _wrapped(values, stacked))[0].t

    def step(*values: tf.Tensor) -> list[tf.Tensor]:
        after = _converted(call.pfor, models, body, _wrapped(values, stacked))
        rows = zip(after, values, stacked, strict=True)
        return [
            tf.ensure_shape(tf.repeat(new.t[None], models, axis=0) if now and not new.is_stacked else new.t, old.shape)
            for new, old, now in rows
        ]

    ends = tf.while_loop(go_on, step, start, parallel_iterations=1)
    return [pfor.wrap(end, now) for end, now in zip(ends, stacked, strict=True)]


def _after_any_round(parent: Any, models: int, body: tf.Graph, before: Sequence[Any]) -> list[bool]:
    """Which of a loop's values differ from model to model after some round."""
    stacked = [one.is_stacked for one in before]
    while True:
        with func_graph.FuncGraph("round").as_default():
            after = _converted(parent, models, body, _placeholders(before, stacked, models))
        found = [now or new.is_stacked for now, new in zip(stacked, after, strict=True)]
        if found == stacked:
            return stacked
        stacked = found


def _placeholders(values: Sequence[Any], stacked: Sequence[bool], models: int) -> list[Any]:
    return [
        pfor.wrap(
            tf.compat.v1.placeholder(
                one.t.dtype, [models, *one.t.shape] if now and not one.is_stacked else one.t.shape
            ),
            now,
        )
        for one, now in zip(values, stacked, strict=True)
    ]


def _wrapped(values: Sequence[tf.Tensor], stacked: Sequence[bool]) -> list[Any]:
    return [pfor.wrap(value, now) for value, now in zip(values, stacked, strict=True)]


def _converted(parent: Any, models: int, graph: tf.Graph, inputs: Sequence[Any]) -> list[Any]:
    """What a function returns for all models, in the graph that is being built."""
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


def _function(op: tf.Operation, name: str) -> tf.Graph:
    return op.graph._get_function(op.get_attr(name).name).graph


def _update_slice(call: Any) -> Any:
    call.stack_inputs([0, 1])
    begin = tf.concat([[0], call.unstacked_input(2)], 0)
    items, item = call.stacked_input(0), call.stacked_input(1)
    return pfor.wrap(gen_xla_ops.xla_dynamic_update_slice(items, item, begin), True)
