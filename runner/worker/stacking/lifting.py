"""A traced step as a function of values: its variables and its float constants become arguments.

Traces of trials that differ in rates, decays or seeds are equal but for such constants. Two trials may be one program
if the digests of their traces are equal: node by node the same operations, inputs, attributes and other constants.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

import keras
import numpy as np
import tensorflow as tf

from runner.worker.stacking.vectorizing import NotVectorizableError, again, function_of
from runner.worker.variables import captured_by

Path: TypeAlias = tuple[str, ...]
"""The names of the operations that lead to one, through the functions that they call."""
_LARGEST = 256  # elements of a constant that is an argument; a larger one, such as a table, must be equal
_CALLS = frozenset({"PartitionedCall", "StatefulPartitionedCall"})
_BRANCHES = frozenset({"If", "StatelessIf"})
_IGNORED = frozenset({"_class", "config_proto", "executor_type", "shared_name", "container"})
_NOTHING = frozenset({"NoOp", "Assert"})


class _Handle(NamedTuple):
    """Stands for a variable in a replay."""

    number: int


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
            inner.ref(): _Handle(numbers[id(outer)]) if id(outer) in numbers else outer
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
        replay = _Replay(list(state), dict(zip(self._names, constants, strict=True)))
        replay.run(self._graph, values, ())
        outputs = iter([values[tensor.ref()] for tensor in self._graph.outputs])
        logs = keras.tree.map_structure(lambda leaf: None if leaf is None else next(outputs), self.structure)
        return replay.state, logs

    def _digest(self) -> str:
        captured = [
            repr((value.number,)) if isinstance(value, _Handle) else _bytes(value) for value in self._captured.values()
        ]
        variables = [(variable.dtype.name, tuple(variable.shape)) for variable in self.variables]
        parts = [*captured, repr(variables), *_nodes(self._graph)]
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()


class _Replay:
    """One replay of a trace: the variables' values so far, and the values of constants."""

    def __init__(self, state: list[tf.Tensor], constants: Mapping[Path, tf.Tensor]) -> None:
        self.state, self._constants = state, constants

    def run(self, graph: tf.Graph, values: dict[Any, Any], path: Path) -> None:
        """Adds the values of all tensors of the graph. Operations lie in the order in which they were traced."""
        for op in graph.get_operations():
            if op.type == "Placeholder" or op.type in _NOTHING:
                continue
            if any(tensor.ref() not in values for tensor in op.inputs):  # of a loop's accumulator
                raise NotVectorizableError(f"{op.type} ({op.name})")
            inputs = [values[tensor.ref()] for tensor in op.inputs]
            for tensor, value in zip(op.outputs, self._outputs(op, inputs, path), strict=True):
                values[tensor.ref()] = value

    def _outputs(self, op: tf.Operation, inputs: list[Any], path: Path) -> Sequence[Any]:
        here = (*path, op.name)
        if here in self._constants:
            return [self._constants[here]]
        if op.type in _CALLS:
            inner = function_of(op.graph, op.get_attr("f").name)
            values = {tensor.ref(): value for tensor, value in zip(inner.inputs, inputs, strict=True)}
            self.run(inner, values, here)
            return [values[tensor.ref()] for tensor in inner.outputs]
        if op.type in _BRANCHES:
            return self._branch(op, inputs[0], inputs[1:], here)
        if inputs and isinstance(inputs[0], _Handle):
            return self._use(op, inputs[0].number, inputs[1:])
        if any(isinstance(one, _Handle) for one in inputs) or _functions(op):
            raise NotVectorizableError(f"{op.type} ({op.name})")
        return again(op, [tf.convert_to_tensor(one) for one in inputs], op.name.rsplit("/", 1)[-1])

    def _branch(self, op: tf.Operation, condition: tf.Tensor, inputs: list[Any], path: Path) -> Sequence[Any]:
        """Both branches, of whose values and effects those of one are taken: models may take different ones."""
        ends = []
        for name in ("then_branch", "else_branch"):
            inner = function_of(op.graph, op.get_attr(name).name)
            branch = _Replay(list(self.state), self._constants)
            values = {tensor.ref(): value for tensor, value in zip(inner.inputs, inputs, strict=True)}
            branch.run(inner, values, (*path, name))
            ends.append(([values[tensor.ref()] for tensor in inner.outputs], branch.state))
        (then, then_state), (other, other_state) = ends
        chosen = tf.cast(condition, tf.bool)
        self.state = [a if a is b else tf.where(chosen, a, b) for a, b in zip(then_state, other_state, strict=True)]
        return [tf.where(chosen, a, b) for a, b in zip(then, other, strict=True)]

    def _use(self, op: tf.Operation, number: int, inputs: list[Any]) -> list[Any]:
        """An operation on a variable, as one on its value."""
        state = self.state
        match op.type:
            case "ReadVariableOp":
                return [state[number]]
            case "ResourceGather":
                return [tf.gather(state[number], inputs[0], batch_dims=op.get_attr("batch_dims"))]
            case "VariableShape":
                return [tf.shape(state[number], out_type=op.get_attr("out_type"))]
            case "AssignVariableOp":
                state[number] = tf.convert_to_tensor(inputs[0])
            case "AssignAddVariableOp":
                state[number] = state[number] + inputs[0]
            case "AssignSubVariableOp":
                state[number] = state[number] - inputs[0]
            case _:
                raise NotVectorizableError(f"{op.type} of a variable ({op.name})")
        return []


def _constants(graph: tf.Graph, path: Path) -> Iterator[tuple[Path, np.ndarray]]:
    """The float constants of a graph and of the functions that it calls."""
    for op in graph.get_operations():
        here = (*path, op.name)
        if op.type == "Const" and _is_argument(op):
            yield here, tf.make_ndarray(op.get_attr("value"))
        elif op.type in _CALLS:
            yield from _constants(function_of(graph, op.get_attr("f").name), here)
        elif op.type in _BRANCHES:
            for name in ("then_branch", "else_branch"):
                yield from _constants(function_of(graph, op.get_attr(name).name), (*here, name))


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
        hidden = {*_IGNORED, *_functions(op)} | ({"value"} if op.type == "Const" and _is_argument(op) else set())
        attributes = sorted(
            (name, value.SerializeToString(deterministic=True).hex())
            for name, value in op.node_def.attr.items()
            if name not in hidden and not name.startswith("_")
        )
        shapes = [(output.dtype.name, str(output.shape)) for output in op.outputs]
        yield repr((op.type, inputs, attributes, shapes))
        for name in _functions(op):
            yield from _nodes(function_of(graph, op.get_attr(name).name))
    yield repr([(tensor.value_index, positions[tensor.op]) for tensor in graph.outputs])


def _functions(op: tf.Operation) -> list[str]:
    return [name for name, value in op.node_def.attr.items() if value.WhichOneof("value") == "func"]


def _bytes(captured: tf.Tensor) -> str:
    """A captured tensor that is no variable, such as a table, by its value."""
    if not hasattr(captured, "numpy") or captured.dtype in (tf.resource, tf.variant):
        raise NotVectorizableError(f"a captured {captured.dtype.name}")
    return hashlib.sha256(np.ascontiguousarray(captured.numpy()).tobytes()).hexdigest()
