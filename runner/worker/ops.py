"""What the ops of a traced step or of a pipeline tell: whether a repetition can give the same numbers."""

from __future__ import annotations

from typing import Any

# Ops that draw from TensorFlow's hidden random state, which no snapshot can hold.
_STATEFUL_RANDOM = frozenset(
    {"Multinomial", "ParameterizedTruncatedNormal", "RandomGamma", "RandomPoisson", "RandomPoissonV2", "RandomShuffle"}
    | {"RandomStandardNormal", "RandomUniform", "RandomUniformInt", "TruncatedNormal"}
)
# Of tf.data's kinds those that pass through what they are made of once.
_ONCE_A_PASS = frozenset(
    {"_TensorDataset", "_TensorSliceDataset", "_RangeDataset", "_ShuffleDataset", "_BatchDataset", "_ShardDataset"}
    | {"_ParallelBatchDataset", "_PaddedBatchDataset", "_MapDataset", "_ParallelMapDataset", "_FilterDataset"}
    | {"_PrefetchDataset", "_TakeDataset", "_SkipDataset", "_ZipDataset", "_OptionsDataset"}
)
_PYTHON = frozenset({"EagerPyFunc", "PyFunc", "PyFuncStateless"})


def graph_ops(concrete: Any) -> set[str]:
    """The names of all ops of a concrete function and of those that it calls."""
    definition = concrete.graph.as_graph_def()
    ops = {node.op for node in definition.node}
    return ops | {node.op for function in definition.library.function for node in function.node_def}


def pipeline_ops(dataset: Any) -> set[str]:
    """The names of all ops in the functions of a `tf.data` pipeline: `map`, `filter`, `from_generator` and the like."""
    functions = [function for part in _parts(dataset) for function in part._functions()]
    return {op for function in functions for op in graph_ops(function.function)}


def seeded_by_iterators(dataset: Any) -> bool:
    """Whether each new iterator advances the pipeline's seeds, and drawing from it does not.

    So it is where a shuffle is not repeated within a pass (`repeat`, `interleave`, `cache` and the like).
    """
    return {type(part).__name__ for part in _parts(dataset)} <= _ONCE_A_PASS


def _parts(dataset: Any) -> list[Any]:
    parts = [dataset]
    for part in parts:
        parts += part._inputs()
    return parts


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
