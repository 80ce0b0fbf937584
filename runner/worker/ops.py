"""What the ops of a traced step tell: whether a repetition can give the same numbers."""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from typing import Any

STATEFUL_RANDOM = frozenset(
    {"Multinomial", "ParameterizedTruncatedNormal", "RandomGamma", "RandomPoisson", "RandomPoissonV2", "RandomShuffle"}
    | {"RandomStandardNormal", "RandomUniform", "RandomUniformInt", "TruncatedNormal"}
)
"""Ops that draw from TensorFlow's hidden random state, which no snapshot can hold."""


def graph_ops(concrete: Any) -> set[str]:
    """The names of all ops of a concrete function and of those that it calls."""
    definition = concrete.graph.as_graph_def()
    ops = {node.op for node in definition.node}
    return ops | {node.op for function in definition.library.function for node in function.node_def}


def drawn_from_hidden_state(ops: AbstractSet[str]) -> str:
    """Why steps with these ops cannot be repeated exactly; empty where they can."""
    found = sorted(STATEFUL_RANDOM & ops)
    return f"{', '.join(found)} draws from TensorFlow's hidden random state; use keras.random instead" if found else ""
