"""Examines a `tf.data` pipeline: whether it gives the same batches again, whether it ends, how to continue it.

Source: tensorflow 2.21, `tensorflow/core/grappler/optimizers/data/make_deterministic.cc`, which decides in the same way
what cannot run in parallel when ops must be deterministic.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import tensorflow as tf
from tensorflow.core.framework import dataset_options_pb2

from runner.worker import private
from runner.worker.determinism import graph_ops, stateful_random

if TYPE_CHECKING:
    from tensorflow.core.framework import function_pb2, graph_pb2, node_def_pb2

# Kinds of datasets that give the same elements in each pass if their inputs do.
_IN_ORDER = frozenset(
    {"_TensorDataset", "_TensorSliceDataset", "_RangeDataset", "_BatchDataset", "_ShardDataset", "_CacheDataset"}
    | {"_ParallelBatchDataset", "_PaddedBatchDataset", "_MapDataset", "_ParallelMapDataset", "_FilterDataset"}
    | {"_PrefetchDataset", "_TakeDataset", "_SkipDataset", "_ZipDataset", "_OptionsDataset"}
)
# Kinds of datasets that make one iterator of each input in each pass.
_ONCE_A_PASS = (_IN_ORDER - {"_CacheDataset"}) | {"_ShuffleDataset"}
# Kinds that end when their input ends, and not before.
_AS_LONG_AS_INPUT = frozenset(
    {"_BatchDataset", "_ParallelBatchDataset", "_PaddedBatchDataset", "_MapDataset", "_ParallelMapDataset"}
    | {"_FilterDataset", "_FlatMapDataset", "_InterleaveDataset", "_ParallelInterleaveDataset", "_ShuffleDataset"}
    | {"_PrefetchDataset", "_OptionsDataset", "_UnbatchDataset", "_IgnoreErrorsDataset", "_CacheDataset"}
)
_PARALLEL = frozenset({"_ParallelMapDataset", "_ParallelInterleaveDataset", "_MapAndBatchDataset"})
_PARALLEL |= {"ParallelInterleaveDataset", "_ParallelBatchDataset"}
_PARALLEL_NODE = re.compile(r"(Experimental|Legacy)?(Parallel(Map|Interleave|Batch|Filter)|MapAndBatch)Dataset(V\d)?")
_PYTHON = frozenset({"EagerPyFunc", "PyFunc", "PyFuncStateless"})
# Ops that TensorFlow registers as stateful but that change nothing that another call could see.
_HARMLESS = re.compile(
    r"ReadVariableOp|ResourceGather(Nd)?|VariableShape|VarIsInitializedOp|VarHandleOp|Assert|Print(V2)?"
    r"|LookupTable(Find|Size|Export)(V2)?|(Anonymous)?(Mutable)?HashTable.*|InitializeTable.*|NoOp|Placeholder.*"
    r"|(Stateful)?PartitionedCall|If|While|Case|TensorArray.*|Stack.*|.*Dataset(V\d)?"
    r"|(Anonymous|Dummy|Delete)(Random)?(SeedGenerator|MemoryCache|IterationCounter).*"
)
_UNKNOWN = "?"  # the kind of a stage that cannot be examined
_ADVICE = "; leave num_parallel_calls out, or set train.deterministic=true"


def pipeline_inexact(dataset: tf.data.Dataset, deterministic: bool) -> str:
    """Why a pipeline may not give the same batches again; empty if it does.

    To continue a pipeline, the batches before are drawn again. A shuffle repeats itself, with a seed of its own or with
    the one that the trial sets.

    Args:
        dataset: the pipeline.
        deterministic: ops are deterministic (`train.deterministic`), so that TensorFlow runs in order what could race.
    """
    stages = list(_stages(dataset))
    ops = frozenset[str]().union(*(stage.ops for stage in stages))
    if found := stateful_random(ops):
        return (
            f"the pipeline: {', '.join(found)} draws from TensorFlow's hidden random state; use tf.random.stateless_* "
            "with seeds from tf.data.Dataset.random(seed) instead"
        )
    if _PYTHON & ops:
        return "the pipeline calls Python code (from_generator, py_function), which may not give the same again"
    if "Timestamp" in ops:
        return "the pipeline reads the clock (tf.timestamp)"
    if any("DataService" in stage.kind for stage in stages):
        return "the pipeline reads from tf.data's service, which gives batches in the order of its workers"
    if any(stage.kind == _UNKNOWN for stage in stages):
        return "the pipeline: a function reads a pipeline made outside of it that TensorFlow cannot describe"
    return "" if deterministic else _race(dataset, stages)


def _race(dataset: tf.data.Dataset, stages: list[_Stage]) -> str:
    """What depends on the order in time of parallel calls; empty for nothing."""
    for stage in stages:
        if stage.parallel and (found := _changing(stage.ops)):
            return f"the pipeline: a parallel {stage.kind} changes state ({', '.join(found)}) in any order{_ADVICE}"
    loose = dataset.options().deterministic is False or any(stage.loose_options for stage in stages)
    for stage in stages:
        if stage.order == "false" or (loose and stage.parallel and stage.order == "default"):
            return f"the pipeline: {stage.kind} with deterministic=False gives its elements in any order{_ADVICE}"
    for index, stage in enumerate(stages):
        if found := _changing(stage.ops):
            others = (other for place, other in enumerate(stages) if place != index)
            if any(stage.resources & other.resources for other in others):
                return (
                    f"the pipeline: state that {stage.kind} changes ({', '.join(found)}) is used in another of its "
                    "parts too, at no certain time; use it in one part alone, or set train.deterministic=true"
                )
    return ""


def is_seeded_by_iterators(dataset: tf.data.Dataset) -> bool:
    """Whether a new iterator advances the pipeline's seeds and drawing from it does not.

    True if no shuffle is repeated within a pass (`repeat`, `interleave`, `cache` and the like) and no function changes
    anything that outlives the pass, such as the seed of a layer.
    """
    return _kinds(dataset) <= _ONCE_A_PASS and not _changes_state(dataset)


def is_the_same_each_pass(dataset: tf.data.Dataset) -> bool:
    """Whether no pass depends on those before it."""
    return _kinds(dataset) <= _IN_ORDER and not _changes_state(dataset)


def stateful_parts(dataset: tf.data.Dataset) -> list[tuple[str, tf.data.Dataset | tf.Tensor]]:
    """Names and objects whose state decides what the next pass gives: shuffles, and variables that functions change."""
    found: list[tuple[str, tf.data.Dataset | tf.Tensor]] = []
    for part in _parts(dataset):
        if private.is_random_each_pass(part):
            found.append((_name(type(part).__name__), part))
        for function in private.functions_of(part):
            if _changing(frozenset(graph_ops(function))):
                resources = (tensor for tensor in function.captured_inputs if tensor.dtype == tf.resource)
                found += [(f"state that {_name(type(part).__name__)} changes", tensor) for tensor in resources]
    return found


def is_endless(dataset: tf.data.Dataset) -> bool:
    """Whether the pipeline certainly never ends, even if it does not know its length (`repeat().filter(...)`)."""
    cardinality = int(dataset.cardinality())
    if cardinality != tf.data.UNKNOWN_CARDINALITY:
        return bool(cardinality == tf.data.INFINITE_CARDINALITY)
    return type(dataset).__name__ in _AS_LONG_AS_INPUT and any(is_endless(part) for part in private.inputs_of(dataset))


def _kinds(dataset: tf.data.Dataset) -> set[str]:
    return {type(part).__name__ for part in _parts(dataset)}


def _changes_state(dataset: tf.data.Dataset) -> bool:
    return any(_changing(stage.ops) for stage in _stages(dataset))


def _changing(ops: frozenset[str]) -> list[str]:
    """Those of the ops that change state which outlives their call."""
    definitions = {op: private.op_definition(op) for op in ops if not _is_harmless(op)}
    return sorted(op for op, definition in definitions.items() if definition and definition.is_stateful)


def _is_harmless(op: str) -> bool:
    return _HARMLESS.fullmatch(op) is not None


@dataclass(frozen=True, slots=True)
class _Stage:
    """One part of a pipeline, or of a pipeline that a function of it makes.

    Args:
        kind: its name in messages, such as `map`.
        parallel: makes several elements at a time.
        order: whether it keeps the order of elements: "true", "false", or "default" (the pipeline's options).
        ops: names of the ops of its functions, and of those that they call.
        resources: variables and tables that its functions use, by identity.
        loose_options: the stage is an option that lets a part change the order.
    """

    kind: str
    parallel: bool = False
    order: str = "true"
    ops: frozenset[str] = frozenset()
    resources: frozenset[int] = frozenset()
    loose_options: bool = False


def _parts(dataset: tf.data.Dataset) -> list[tf.data.Dataset]:
    parts = [dataset]
    for part in parts:
        parts += private.inputs_of(part)
    return list({id(part): part for part in parts}.values())


def _stages(dataset: tf.data.Dataset) -> Iterator[_Stage]:
    for part in _parts(dataset):
        functions = private.functions_of(part)
        captured = [tensor for function in functions for tensor in function.captured_inputs]
        parallel = type(part).__name__ in _PARALLEL and private.parallel_calls(part) != 1
        yield _Stage(
            kind=_name(type(part).__name__),
            parallel=parallel,
            order=_order(part) if parallel else "true",
            ops=frozenset[str]().union(*map(graph_ops, functions)),
            resources=frozenset(id(tensor) for tensor in captured if tensor.dtype == tf.resource),
        )
        for function in functions:
            yield from _stages_of_graph(function.graph.as_graph_def())
        for tensor in captured:
            if tensor.dtype == tf.variant:  # a pipeline made outside of the function that reads it
                definition = private.graph_of(tensor)
                yield from [_Stage(kind=_UNKNOWN)] if definition is None else _stages_of_graph(definition)


def _order(part: tf.data.Dataset) -> str:
    argument = private.argument_deterministic(part)
    if argument is not None:
        return argument
    if type(part).__name__ != "_ParallelInterleaveDataset":
        return "default"
    # It keeps its argument only in the graph, which is small: such a part reads names of files, seldom arrays.
    definition = private.graph_of(part)
    nodes = [] if definition is None else definition.node
    orders = [_order_of_node(node) for node in nodes if _PARALLEL_NODE.fullmatch(node.op)]
    return "false" if "false" in orders else "default"


def _stages_of_graph(definition: graph_pb2.GraphDef) -> Iterator[_Stage]:
    """The parts of the pipelines that a graph and its functions make."""
    functions = {function.signature.name: function for function in definition.library.function}
    for node in [*definition.node, *(node for function in functions.values() for node in function.node_def)]:
        if _PARALLEL_NODE.fullmatch(node.op):
            ops = frozenset(_ops_called(node, functions))
            yield _Stage(kind=_name(node.op), parallel=True, order=_order_of_node(node), ops=ops)
        elif node.op == "OptionsDataset":
            options = dataset_options_pb2.Options.FromString(node.attr["serialized_options"].s)
            loose = options.WhichOneof("optional_deterministic") is not None and not options.deterministic
            yield _Stage(kind="options", loose_options=loose)
        elif node.op.endswith("Dataset") or re.fullmatch(r".*DatasetV\d", node.op):
            yield _Stage(kind=_name(node.op), ops=frozenset(_ops_called(node, functions)))


def _order_of_node(node: node_def_pb2.NodeDef) -> str:
    if "sloppy" in node.attr:
        return "false" if node.attr["sloppy"].b else "true"
    return node.attr["deterministic"].s.decode() or "default" if "deterministic" in node.attr else "default"


def _ops_called(node: node_def_pb2.NodeDef, functions: Mapping[str, function_pb2.FunctionDef]) -> set[str]:
    """The ops of the functions that a node calls, and of those that they call."""
    wanted, seen, ops = _functions_of(node), set[str](), set[str]()
    while wanted:
        name = wanted.pop()
        if name in seen or name not in functions:
            continue
        seen.add(name)
        for inner in functions[name].node_def:
            ops.add(inner.op)
            wanted += _functions_of(inner)
    return ops


def _functions_of(node: node_def_pb2.NodeDef) -> list[str]:
    lists = [name.name for value in node.attr.values() for name in value.list.func]
    return lists + [value.func.name for value in node.attr.values() if value.func.name]


def _name(kind: str) -> str:
    """`_ParallelMapDataset` and `ParallelMapDatasetV2` as `map`."""
    bare = re.sub(r"^_?(Experimental|Legacy)?(Parallel)?|Dataset(V\d)?$", "", kind)
    return re.sub(r"(?<!^)(?=[A-Z])", "_", bare).lower()
