"""Whether repeated steps give the same numbers: TensorFlow's op determinism, and ops with hidden random state.

Op determinism (`train.deterministic`) is a setting of the whole process.
"""

from __future__ import annotations

from collections.abc import Set as AbstractSet

import tensorflow as tf

from runner.worker import private
from runner.worker.error_text import text_of

_REFUSALS = ("determinis", "Determinis")
# They draw from a state of their own, and TensorFlow does not register them as stateful.
_UNMARKED = frozenset({"FractionalAvgPool", "FractionalMaxPool"})
# They have a seed and draw nothing: the sample is all classes, and Keras' recurrent layers use other ops for dropout.
_DRAWS_NOTHING = ("AllCandidateSampler", "CudnnRNN")


def set_determinism(wanted: bool) -> None:
    """Makes the ops of this process deterministic, or allows them not to be.

    Side effects:
        Discards TensorFlow's kernels if this changes the setting.
    """
    if private.is_op_determinism_enabled() != wanted:
        private.set_op_determinism(wanted)


def advice(err: BaseException) -> str:
    """What to do about an op that cannot be deterministic; empty for any other error."""
    if not private.is_op_determinism_enabled() or not any(text in text_of(err) for text in _REFUSALS):
        return ""
    return " (train.deterministic=true: give such an op a seed or do without it, or set train.deterministic=false)"


def stateful_random(ops: AbstractSet[str]) -> list[str]:
    """Those of the ops that draw from TensorFlow's hidden random state, which no snapshot can hold."""
    return sorted(op for op in ops if _draws(op))


def _draws(op: str) -> bool:
    definition = private.op_definition(op)
    if definition is None or op.startswith(_DRAWS_NOTHING):
        return False
    is_seeded = {"seed", "seed2"} <= {attribute.name for attribute in definition.attr}
    return is_seeded and (definition.is_stateful or op in _UNMARKED)


def graph_ops(concrete: tf.types.experimental.ConcreteFunction) -> set[str]:
    """The names of all ops of a concrete function and of the functions that it calls."""
    definition = concrete.graph.as_graph_def()
    ops = {node.op for node in definition.node}
    return ops | {node.op for function in definition.library.function for node in function.node_def}


def drawn_from_hidden_state(ops: AbstractSet[str]) -> str:
    """Why steps with these ops cannot be repeated exactly; empty if they can."""
    found = stateful_random(ops)
    return f"{', '.join(found)} draws from TensorFlow's hidden random state; use keras.random instead" if found else ""
