"""What the ops of a traced step or of a pipeline tell: whether a repetition can give the same numbers."""

from __future__ import annotations

from typing import Any

# Ops that draw from TensorFlow's hidden random state, which no snapshot can hold.
_STATEFUL_RANDOM = frozenset(
    {"Multinomial", "ParameterizedTruncatedNormal", "RandomGamma", "RandomPoisson", "RandomPoissonV2", "RandomShuffle"}
    | {"RandomStandardNormal", "RandomUniform", "RandomUniformInt", "TruncatedNormal"}
)
_PYTHON = frozenset({"EagerPyFunc", "PyFunc", "PyFuncStateless"})


def graph_ops(concrete: Any) -> set[str]:
    """The names of all ops of a concrete function and of those that it calls."""
    definition = concrete.graph.as_graph_def()
    ops = {node.op for node in definition.node}
    return ops | {node.op for function in definition.library.function for node in function.node_def}


def pipeline_ops(dataset: Any) -> set[str]:
    """The names of all ops in the functions of a `tf.data` pipeline: `map`, `filter`, `from_generator` and the like."""
    ops: set[str] = set()
    parts = [dataset]
    for part in parts:
        parts += part._inputs()
        for function in part._functions():
            ops |= graph_ops(function.function)
    return ops


def drawn_from_hidden_state(ops: set[str]) -> str:
    """Why steps with these ops cannot be repeated exactly; empty where they can."""
    found = sorted(_STATEFUL_RANDOM & ops)
    return f"{', '.join(found)} draws from TensorFlow's hidden random state; use keras.random instead" if found else ""


def pipeline_inexact(dataset: Any) -> str:
    """Why a pipeline may not give the same batches again; empty where it does.

    A pipeline is continued by drawing again what was drawn before. A shuffle repeats itself, with a seed of its own or
    with the one that the trial sets.
    """
    ops = pipeline_ops(dataset)
    if found := sorted(_STATEFUL_RANDOM & ops):
        return (
            f"the pipeline: {', '.join(found)} draws from TensorFlow's hidden random state; use tf.random.stateless_* "
            "with seeds from tf.data.Dataset.random(seed) instead"
        )
    if _PYTHON & ops:
        return "the pipeline calls Python code (from_generator, py_function), which may not give the same again"
    return ""
