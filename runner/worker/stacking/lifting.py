"""A traced step as a function of values: its variables and its float constants become arguments.

Traces of trials that differ in rates, decays or seeds are equal but for such constants. Two trials may be one program
if the digests of their traces are equal: node by node the same operations, inputs, attributes and other constants.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from runner.worker.stacking.private import function_of
from runner.worker.stacking.refusal import NotVectorizableError
from runner.worker.stacking.replay import CALLS, Handle, Path, Replay
from runner.worker.variables import captured_by

_LARGEST = 256  # elements of a constant that is an argument; a larger one, such as a table, must be equal
_IGNORED = frozenset({"_class", "config_proto", "executor_type", "shared_name", "container"})


class Lifted:
    """A traced function whose variables and float constants are arguments.

    Args:
        concrete: the trace.

    Attributes:
        variables: the variables that it uses, in the order of its captures, which is the same in equal traces.
        structure: of what it returns.
        constants: its float constants.
        digest: equal for traces that differ only in the values of variables and of these constants.

    Raises:
        NotVectorizableError: it has an operation that cannot be replayed.
    """

    def __init__(self, concrete: tf.types.experimental.ConcreteFunction) -> None:
        self._graph, self.structure = concrete.graph, concrete.structured_outputs
        self.variables: Sequence[tf.Variable] = captured_by(concrete)
        numbers = {id(variable.handle): number for number, variable in enumerate(self.variables)}
        self._captured: dict[Any, Any] = {
            inner.ref(): Handle(numbers[id(outer)]) if id(outer) in numbers else outer
            for outer, inner in self._graph.captures
        }
        self._inputs = [tensor for tensor in self._graph.inputs if tensor.ref() not in self._captured]
        found = dict(_constants(self._graph, ()))
        self._names = tuple(found)
        self.constants: tuple[np.ndarray, ...] = tuple(found.values())
        self.digest = self._digest()

    def __call__(
        self, batch: Any, state: Sequence[tf.Tensor], constants: Sequence[tf.Tensor]
    ) -> tuple[list[tf.Tensor], Any]:
        """Replays the trace in the graph that is being built.

        Args:
            batch: what the traced function takes; None for one without arguments.
            state: the variables' values.
            constants: the constants' values.

        Returns:
            The variables' values afterwards, and what the function returns.
        """
        leaves = [] if batch is None else [leaf for leaf in keras.tree.flatten(batch) if leaf is not None]
        values = self._captured | {t.ref(): leaf for t, leaf in zip(self._inputs, leaves, strict=True)}
        replay = Replay(state, dict(zip(self._names, constants, strict=True)))
        replay.run(self._graph, values)
        outputs = iter([values[tensor.ref()] for tensor in self._graph.outputs])
        logs = keras.tree.map_structure(lambda leaf: None if leaf is None else next(outputs), self.structure)
        return replay.state, logs

    def _digest(self) -> str:
        captured = [
            repr((value.number,)) if isinstance(value, Handle) else _bytes(value) for value in self._captured.values()
        ]
        variables = [(variable.dtype.name, tuple(variable.shape)) for variable in self.variables]
        parts = [*captured, repr(variables), *_nodes(self._graph)]
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def _constants(graph: tf.Graph, path: Path) -> Iterator[tuple[Path, np.ndarray]]:
    """The float constants of a graph and of the functions that it calls."""
    for op in graph.get_operations():
        here = (*path, op.name)
        if op.type == "Const" and _is_argument(op):
            yield here, tf.make_ndarray(op.get_attr("value"))
        for name in CALLS.get(op.type, ()):
            inner = here if name == "f" else (*here, name)
            yield from _constants(function_of(op, name), inner)


def _is_argument(op: tf.Operation) -> bool:
    output = op.outputs[0]
    return bool(output.dtype.is_floating) and (output.shape.num_elements() or 0) <= _LARGEST


def _nodes(graph: tf.Graph) -> Iterator[str]:
    """A line for each operation: everything but its name, and but the value of a constant that is an argument."""
    operations = graph.get_operations()
    positions = {op: number for number, op in enumerate(operations)}
    yield f"graph of {len(operations)}"
    for op in operations:
        inputs = [(tensor.value_index, positions[tensor.op]) for tensor in op.inputs]
        attributes = op.node_def.attr  # made by each access
        functions = [name for name, value in attributes.items() if value.WhichOneof("value") == "func"]
        hidden = {*_IGNORED, *functions} | ({"value"} if op.type == "Const" and _is_argument(op) else set())
        shown = sorted(
            (name, value.SerializeToString(deterministic=True))
            for name, value in attributes.items()
            if name not in hidden and not name.startswith("_")
        )
        shapes = [(output.dtype.name, str(output.shape)) for output in op.outputs]
        yield repr((op.type, inputs, shown, shapes))
        for name in functions:
            yield from _nodes(function_of(op, name))
    yield repr([(tensor.value_index, positions[tensor.op]) for tensor in graph.outputs])


def _bytes(captured: tf.Tensor) -> str:
    """A captured tensor that is no variable, such as a table, by its value."""
    if not hasattr(captured, "numpy") or captured.dtype in (tf.resource, tf.variant):
        raise NotVectorizableError(f"a captured {captured.dtype.name}")
    return hashlib.sha256(np.ascontiguousarray(captured.numpy()).tobytes()).hexdigest()
