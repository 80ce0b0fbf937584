"""Rules of the vectorizer for loops that all models leave after the same number of rounds, as recurrent layers have."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from runner.worker.stacking.private import Rule, converted, function_of, scratch, update_slice, wrap
from runner.worker.stacking.refusal import NotVectorizableError


def rules() -> dict[str, Rule]:
    """Rules by the names of their operations."""
    return {"While": _while, "StatelessWhile": _while, "XlaDynamicUpdateSlice": _update_slice}


def _while(call: Any) -> list[Any]:
    """One loop whose values are those of all models.

    A value is stacked if a model's own may differ: if it is so at the beginning, or after a round.
    """
    models = int(tf.get_static_value(call.pfor.loop_len_vector)[0])
    condition, body = (function_of(call.op, name) for name in ("cond", "body"))
    before = [call.input(number) for number in range(call.num_inputs)]
    stacked = _after_any_round(call.pfor, models, body, before)
    with scratch():
        [(_, differs, _)] = converted(call.pfor, models, condition, _placeholders(before, stacked, models))
    if differs:
        raise NotVectorizableError(f"While whose length depends on the model ({call.op.name})")
    start = [
        tf.repeat(one.t[None], models, axis=0) if now and not one.is_stacked else one.t
        for one, now in zip(before, stacked, strict=True)
    ]

    def go_on(*values: tf.Tensor) -> tf.Tensor:
        return converted(call.pfor, models, condition, _wrapped(values, stacked))[0].t

    def step(*values: tf.Tensor) -> list[tf.Tensor]:
        after = converted(call.pfor, models, body, _wrapped(values, stacked))
        rows = zip(after, values, stacked, strict=True)
        return [
            tf.ensure_shape(tf.repeat(new.t[None], models, axis=0) if now and not new.is_stacked else new.t, old.shape)
            for new, old, now in rows
        ]

    ends = tf.while_loop(go_on, step, start, parallel_iterations=1)
    return [wrap(end, now) for end, now in zip(ends, stacked, strict=True)]


def _after_any_round(parent: Any, models: int, body: tf.Graph, before: Sequence[Any]) -> list[bool]:
    """Which of a loop's values differ from model to model after some round."""
    stacked = [one.is_stacked for one in before]
    while True:
        with scratch():
            after = converted(parent, models, body, _placeholders(before, stacked, models))
        found = [now or new.is_stacked for now, new in zip(stacked, after, strict=True)]
        if found == stacked:
            return stacked
        stacked = found


def _placeholders(values: Sequence[Any], stacked: Sequence[bool], models: int) -> list[Any]:
    return [
        wrap(
            tf.compat.v1.placeholder(
                one.t.dtype, [models, *one.t.shape] if now and not one.is_stacked else one.t.shape
            ),
            now,
        )
        for one, now in zip(values, stacked, strict=True)
    ]


def _wrapped(values: Sequence[tf.Tensor], stacked: Sequence[bool]) -> list[Any]:
    return [wrap(value, now) for value, now in zip(values, stacked, strict=True)]


def _update_slice(call: Any) -> Any:
    call.stack_inputs([0, 1])
    begin = tf.concat([[0], call.unstacked_input(2)], 0)
    items, item = call.stacked_input(0), call.stacked_input(1)
    return wrap(update_slice(items, item, begin), True)
