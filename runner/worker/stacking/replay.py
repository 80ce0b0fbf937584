"""Builds a traced function once more, on values in place of variables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

import tensorflow as tf

from runner.worker.stacking import lists
from runner.worker.stacking.lists import AnyList
from runner.worker.stacking.private import again, function_of
from runner.worker.stacking.refusal import NotVectorizableError
from runner.worker.stacking.vectorizing import admit

Path: TypeAlias = tuple[str, ...]
"""The names of the operations that lead to one, through the functions that they call."""
CALLS = {
    **dict.fromkeys(("PartitionedCall", "StatefulPartitionedCall"), ("f",)),
    **dict.fromkeys(("If", "StatelessIf"), ("then_branch", "else_branch")),
    **dict.fromkeys(("While", "StatelessWhile"), ("cond", "body")),
}
"""Operations that call functions, by name, and the attributes that have the functions' names."""
_NOTHING = frozenset({"NoOp", "Assert"})


class Handle(NamedTuple):
    """Stands for a variable."""

    number: int


class Replay:
    """One replay of a trace.

    Args:
        state: the variables' values at its beginning.
        constants: the values of constants that are arguments.

    Attributes:
        state: the variables' values so far.
    """

    def __init__(self, state: Sequence[tf.Tensor], constants: Mapping[Path, tf.Tensor]) -> None:
        self.state, self._constants = list(state), constants

    def run(self, graph: tf.Graph, values: dict[Any, Any], path: Path = ()) -> None:
        """Adds the values of all tensors of the graph. Operations lie in the order in which they were traced."""
        for op in graph.get_operations():
            self._add(op, values, path)

    def _add(self, op: tf.Operation, values: dict[Any, Any], path: Path) -> None:
        if op.type == "Placeholder" or op.type in _NOTHING or (op.outputs and op.outputs[0].ref() in values):
            return
        for tensor in op.inputs:
            if tensor.ref() not in values:
                self._add_early(tensor.op, values, path)
        inputs = [values[tensor.ref()] for tensor in op.inputs]
        for tensor, value in zip(op.outputs, self._outputs(op, inputs, path), strict=True):
            values[tensor.ref()] = value

    def _add_early(self, op: tf.Operation, values: dict[Any, Any], path: Path) -> None:
        """What a loop keeps for its gradient is traced after the loop."""
        if op.op_def.is_stateful or op.type in CALLS or op.type == "Placeholder":
            raise NotVectorizableError(f"{op.type} ({op.name})")
        self._add(op, values, path)

    def _outputs(self, op: tf.Operation, inputs: list[Any], path: Path) -> Sequence[Any]:
        here = (*path, op.name)
        if here in self._constants:
            return [self._constants[here]]
        if op.type in CALLS:
            return self._call(op, inputs, here)
        if inputs and isinstance(inputs[0], Handle):
            return self._use(op, inputs[0].number, inputs[1:])
        if any(isinstance(one, Handle) for one in inputs) or _calls(op):
            raise NotVectorizableError(f"{op.type} ({op.name})")
        if lists.is_of_lists(op, inputs):
            return lists.apply(op, inputs) if _is_used(op) else [None] * len(op.outputs)
        admit(op)
        return again(op, [tf.convert_to_tensor(one) for one in inputs], op.name.rsplit("/", 1)[-1])

    def _call(self, op: tf.Operation, inputs: list[Any], path: Path) -> Sequence[Any]:
        match CALLS[op.type]:
            case ("f",):
                return self._function(op, "f", inputs, path)
            case ("cond", "body"):
                return self._loop(op, inputs, path)
            case _:
                return self._branch(op, inputs[0], inputs[1:], path)

    def _function(self, op: tf.Operation, name: str, inputs: Sequence[Any], path: Path) -> list[Any]:
        inner = function_of(op, name)
        values = {tensor.ref(): value for tensor, value in zip(inner.inputs, inputs, strict=True)}
        self.run(inner, values, path)
        return [values[tensor.ref()] for tensor in inner.outputs]

    def _branch(self, op: tf.Operation, condition: tf.Tensor, inputs: list[Any], path: Path) -> Sequence[Any]:
        """Both branches, of whose values and effects those of one are taken: models may take different ones."""
        ends = []
        for name in CALLS[op.type]:
            branch = Replay(self.state, self._constants)
            ends.append((branch._function(op, name, inputs, (*path, name)), branch.state))
        (then, then_state), (other, other_state) = ends
        chosen = tf.cast(condition, tf.bool)
        self.state = [a if a is b else tf.where(chosen, a, b) for a, b in zip(then_state, other_state, strict=True)]
        return [tf.where(chosen, a, b) for a, b in zip(then, other, strict=True)]

    def _loop(self, op: tf.Operation, inputs: list[Any], path: Path) -> Sequence[Any]:
        """A loop over tensors alone: lists are dense, and the values of variables go round with the rest."""
        touched = sorted({one.number for one in inputs if isinstance(one, Handle)})
        before = [self.state[number] for number in touched]

        def inside(values: Sequence[Any], state: Sequence[tf.Tensor], name: str) -> tuple[list[Any], list[tf.Tensor]]:
            own = dict(zip(touched, state, strict=True))
            turn = Replay([own.get(number, one) for number, one in enumerate(self.state)], self._constants)
            given = [old if isinstance(old, Handle) else new for old, new in zip(inputs, values, strict=True)]
            found = turn._function(op, name, given, (*path, name))
            return found, [turn.state[number] for number in touched]

        def go_on(values: Sequence[Any], state: Sequence[tf.Tensor]) -> tf.Tensor:
            return tf.reshape(inside(values, state, "cond")[0][0], [])

        def step(values: Sequence[Any], state: Sequence[tf.Tensor]) -> tuple[list[Any], list[tf.Tensor]]:
            after, state = inside(values, state, "body")
            return [_as_before(old, new) for old, new in zip(values, after, strict=True)], state

        start = [0 if isinstance(one, Handle) else one for one in inputs]
        ends, state = tf.while_loop(go_on, step, (start, before), parallel_iterations=1)
        for number, value in zip(touched, state, strict=True):
            self.state[number] = value
        return [old if isinstance(old, Handle) else end for old, end in zip(inputs, ends, strict=True)]

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
            case "Identity":
                return [Handle(number)]
            case "AssignVariableOp":
                state[number] = tf.convert_to_tensor(inputs[0])
            case "AssignAddVariableOp":
                state[number] = state[number] + inputs[0]
            case "AssignSubVariableOp":
                state[number] = state[number] - inputs[0]
            case _:
                raise NotVectorizableError(f"{op.type} of a variable ({op.name})")
        return []


def _calls(op: tf.Operation) -> bool:
    """Whether an operation has functions."""
    return any(value.WhichOneof("value") == "func" for value in op.node_def.attr.values())


def _is_used(op: tf.Operation) -> bool:
    """False for the empty list of a `TensorArray` that is filled by `unstack`, whose shape nothing shows."""
    returned = {tensor.ref() for tensor in op.graph.outputs}
    return any(tensor.consumers() or tensor.ref() in returned for tensor in op.outputs)


def _as_before(old: Any, new: Any) -> Any:
    """A loop's value after a round, of the shape that it had before."""
    if isinstance(new, Handle):
        return old
    if isinstance(new, AnyList):
        return new._replace(items=tf.ensure_shape(new.items, old.items.shape))
    return tf.ensure_shape(new, tf.convert_to_tensor(old).shape)
