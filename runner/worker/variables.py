"""Finds every variable that training changes, in an order that is the same in every process."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TypeAlias

import keras
import tensorflow as tf

Variable: TypeAlias = keras.Variable | tf.Variable
_OWNERS = (
    keras.Layer,
    keras.Loss,
    keras.Metric,
    keras.Optimizer,
    keras.random.SeedGenerator,
    tf.Module,
)


def by_role(model: keras.Model, captured: Sequence[tf.Variable]) -> dict[str, list[Variable]]:
    """Variables by role. Names differ from one build to the next, roles and order do not.

    Args:
        model: compiled. Variables that a step has not created yet are missing.
        captured: variables of the traced step. Some of them may be attributes of no object of the model.
    """
    known = {
        "trainable": list(model.trainable_variables),
        "non_trainable": list(model.non_trainable_variables),  # seed generators among them
        "optimizer": list(model.optimizer.variables) if model.optimizer else [],
        "metrics": list(model.metrics_variables),
    }
    seen = {_identity(variable) for role in known.values() for variable in role}
    others = []
    for variable in (*_attached(model, set()), *captured):
        if _identity(variable) not in seen:
            seen.add(_identity(variable))
            others.append(variable)
    return {**known, "captured": others}


def captured_by(concrete: tf.types.experimental.ConcreteFunction) -> Sequence[tf.Variable]:
    """The variables that a concrete function uses, in the order in which its trace first used them."""
    # `graph.variables` is made from a set of addresses, so that its order differs between processes.
    place = {id(handle): index for index, handle in enumerate(concrete.graph.external_captures)}
    return sorted(concrete.graph.variables, key=lambda variable: place[id(variable.handle)])


def _attached(node: object, seen: set[int]) -> Iterator[Variable]:
    """Variables in attributes and containers, such as those of a second optimizer, which Keras does not list."""
    if id(node) in seen:
        return
    seen.add(id(node))
    if isinstance(node, (keras.Variable, tf.Variable)):
        yield node
    elif isinstance(node, _OWNERS):
        yield from _attached(vars(node), seen)
    elif isinstance(node, dict):
        for child in list(node.values()):
            yield from _attached(child, seen)
    elif isinstance(node, (list, tuple)):
        for child in node:
            yield from _attached(child, seen)


def _identity(variable: Variable) -> int:
    return id(variable.value if isinstance(variable, keras.Variable) else variable)
