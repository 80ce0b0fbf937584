"""What the ops of a traced step tell: whether a repetition can give the same numbers."""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from typing import Any

from tensorflow.python.framework import op_def_registry

# They draw from a state of theirs, and are not registered as stateful.
_UNMARKED = frozenset({"FractionalAvgPool", "FractionalMaxPool"})
# They have a seed and draw nothing: all classes are its sample; Keras' recurrent layers drop out by ops of their own.
_DRAWS_NOTHING = ("AllCandidateSampler", "CudnnRNN")


def stateful_random(ops: AbstractSet[str]) -> list[str]:
    """Those of the ops that draw from TensorFlow's hidden random state, which no snapshot can hold."""
    return sorted(op for op in ops if _draws(op))


def _draws(op: str) -> bool:
    definition = op_def_registry.get(op)
    if definition is None or op.startswith(_DRAWS_NOTHING):
        return False
    is_seeded = {"seed", "seed2"} <= {attribute.name for attribute in definition.attr}
    return is_seeded and (definition.is_stateful or op in _UNMARKED)


def graph_ops(concrete: Any) -> set[str]:
    """The names of all ops of a concrete function and of those that it calls."""
    definition = concrete.graph.as_graph_def()
    ops = {node.op for node in definition.node}
    return ops | {node.op for function in definition.library.function for node in function.node_def}


def drawn_from_hidden_state(ops: AbstractSet[str]) -> str:
    """Why steps with these ops cannot be repeated exactly; empty where they can."""
    found = stateful_random(ops)
    return f"{', '.join(found)} draws from TensorFlow's hidden random state; use keras.random instead" if found else ""
