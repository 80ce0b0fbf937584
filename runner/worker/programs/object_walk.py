"""Reads the state of every object that can be reached from some roots."""

from __future__ import annotations

import collections
import functools
import hashlib
import inspect
import re
from abc import ABC
from collections.abc import Callable, Iterable, Sequence
from enum import Enum
from types import (
    BuiltinFunctionType,
    CellType,
    CodeType,
    EllipsisType,
    FunctionType,
    MethodType,
    ModuleType,
    NoneType,
)
from typing import Any, Generic, Protocol, TypeAlias

import keras
import numpy as np
import tensorflow as tf

from runner.worker import private
from runner.worker.programs.library_code import (
    functions_of,
    is_library,
    is_library_class,
    is_library_code,
    is_named_tuple,
    is_of_checkpoints,
    is_of_keras,
)

_PLAIN = frozenset({NoneType, EllipsisType, bool, int, float, complex, str, bytes})
_BUILTIN_BASES = frozenset({object, ABC, Generic, Protocol, list, tuple, dict, set, frozenset, collections.OrderedDict})
_CONTAINERS = frozenset({list, tuple, dict, set, frozenset, collections.OrderedDict, collections.defaultdict})
_NOT_BEHAVIOUR = frozenset({"__annotations__", "__abstractmethods__", "_abc_impl", "__doc__", "__dict__"})
_ADDRESS = re.compile(r"\d{9,}")


class UnknownStateError(Exception):
    """The walk has reached an object whose state it cannot read completely."""


class ObjectWalk:
    """Reads objects, each once, in an order that depends on nothing but them.

    Args:
        variables: Keras' variables of which only shape and position are read.
    """

    def __init__(self, variables: Sequence[keras.Variable]) -> None:
        values = [variable.value for variable in variables]
        self._positions = {id(value): number for number, value in enumerate(values)}
        self._names = {private.name_of_variable(value): f"<variable {number}>" for number, value in enumerate(values)}
        self._tokens: list[object] = []
        self._numbers: dict[int, int] = {}  # in the order of the walk, by address
        self._kept: list[object] = list(values)
        self._ahead: list[object] = []

    def over(self, roots: Sequence[object]) -> None:
        """Walks. Without recursion, because a model may be a long chain.

        Raises:
            UnknownStateError: some object's state cannot be read completely.
        """
        self._push(roots)
        while self._ahead:
            self._visit(self._ahead.pop())

    def digest(self) -> str:
        """A hash of all that was read."""
        tokens = [self._resolved(token) for token in self._tokens]
        return hashlib.sha256(repr(tokens).encode()).hexdigest()

    def kept(self) -> tuple[object, ...]:
        """The objects whose addresses the digest has."""
        return tuple(self._kept)

    def _visit(self, item: object) -> None:
        kind = type(item)
        if kind in _PLAIN:
            self._tokens.append(item)
            return
        if id(item) in self._numbers:
            self._tokens.append(("again", self._numbers[id(item)]))
            return
        self._numbers[id(item)] = len(self._numbers)
        self._kept.append(item)
        reader = _reader(item, kind)
        if reader is None:
            raise UnknownStateError(f"{kind.__module__}.{kind.__qualname__}")
        reader(self, item)

    def _push(self, items: Iterable[object]) -> None:
        self._ahead.extend(reversed(list(items)))

    def _note(self, *token: object) -> None:
        self._tokens.append(token)

    def _identity(self, item: object) -> None:
        self._note("identity", id(item))

    def _text(self, item: object) -> None:
        self._note(type(item).__name__, repr(item))

    def _function(self, function: FunctionType) -> None:
        if not is_library_code(function):
            raise UnknownStateError(f"{function.__module__}.{function.__qualname__}")
        self._kept.append(function.__code__)
        cells = [_contents(cell) for cell in function.__closure__ or ()]
        self._note("function", id(function.__code__), len(cells))
        # A call does not read what TensorFlow keeps about a function of its own API.
        attributes = {name: value for name, value in vars(function).items() if not name.startswith("_tf_")}
        self._push([function.__defaults__, function.__kwdefaults__, attributes, *cells])

    def _method(self, method: MethodType) -> None:
        self._note("method")
        self._push([method.__func__, method.__self__])

    def _partial(self, partial: functools.partial[object]) -> None:
        self._note("partial")
        self._push([partial.func, partial.args, partial.keywords, vars(partial)])

    def _signature(self, signature: inspect.Signature) -> None:
        parameters = signature.parameters.values()
        self._note("signature", *((parameter.name, int(parameter.kind)) for parameter in parameters))
        self._push(parameter.default for parameter in parameters)

    def _pattern(self, pattern: re.Pattern[str]) -> None:
        self._note("pattern", pattern.pattern, pattern.flags)

    def _array(self, array: np.ndarray | np.generic) -> None:
        if array.dtype.hasobject:
            raise UnknownStateError("an array of Python objects")
        digest = hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()
        self._note(type(array).__name__, str(array.dtype), array.shape, digest)

    def _tensor(self, tensor: tf.Tensor) -> None:
        if not hasattr(tensor, "numpy") or tensor.dtype in (tf.resource, tf.variant):
            raise UnknownStateError(f"a tensor of {tensor.dtype}")
        values = np.asarray(tensor.numpy())
        self._note("tensor", tensor.dtype.name, values.shape)
        self._push(values.ravel().tolist() if values.dtype.hasobject else [values])

    def _variable(self, variable: tf.Variable) -> None:
        if id(variable) not in self._positions:
            raise UnknownStateError("a variable whose value does not belong to the trial")
        self._note("variable", self._positions[id(variable)], tuple(variable.shape), variable.dtype.name)

    def _class(self, cls: type) -> None:
        """A class by its present methods and containers, because code may have changed one."""
        for base in cls.__mro__:
            if base in _BUILTIN_BASES or is_named_tuple(base) or (base is not cls and id(base) in self._numbers):
                continue
            if not is_library_class(base):
                raise UnknownStateError(f"{base.__module__}.{base.__qualname__}")
            self._numbers.setdefault(id(base), len(self._numbers))
            values = [value for name, value in vars(base).items() if name not in _NOT_BEHAVIOUR]
            functions = [function for value in values for function in functions_of(value)]
            if not all(map(is_library_code, functions)):
                raise UnknownStateError(f"{base.__module__}.{base.__qualname__} with a method replaced")
            codes = [function.__code__ for function in functions]
            self._kept += [base, *values, *codes]
            self._note("class", id(base), *map(id, values), *map(id, codes))
            self._push(value for value in values if type(value) in _CONTAINERS)

    def _container(self, container: _Container) -> None:
        self._note(type(container).__name__, len(container))
        if isinstance(container, (set, frozenset)):
            if not all(type(item) in _PLAIN for item in container):
                raise UnknownStateError("a set of objects, which has no order")
            self._tokens.append(frozenset(container))
        elif isinstance(container, dict):
            self._push(
                [getattr(container, "default_factory", None), *(part for item in container.items() for part in item)]
            )
        else:
            self._push(container)

    def _instance(self, instance: object) -> None:
        cls = type(instance)
        attributes = private.attributes_of_a_step(instance, getattr(instance, "__dict__", {}))
        for base in cls.__mro__:
            slots = base.__dict__.get("__slots__", ())
            for name in (slots,) if isinstance(slots, str) else slots:
                if name not in ("__dict__", "__weakref__") and hasattr(instance, name):
                    attributes[name] = getattr(instance, name)
        self._note("instance", id(cls), tuple(sorted(attributes)))
        self._push([cls, *(attributes[name] for name in sorted(attributes))])
        if isinstance(instance, (list, tuple, dict, set, frozenset)):
            self._container(instance)

    def _resolved(self, token: object) -> object:
        """Without addresses, because Keras keeps tables by the addresses of layers and by the names of variables."""
        if type(token) is int:
            return token if token not in self._numbers else ("again", self._numbers[token])
        if type(token) is str:
            return self._names.get(token) or _ADDRESS.sub(self._number_of, token)
        if type(token) is frozenset:
            return sorted(repr(self._resolved(item)) for item in token)
        return token

    def _number_of(self, match: re.Match[str]) -> str:
        return f"<{self._numbers[int(match[0])]}>" if int(match[0]) in self._numbers else match[0]


_Container: TypeAlias = list[object] | tuple[object, ...] | dict[object, object] | set[object] | frozenset[object]
_Reader: TypeAlias = Callable[[ObjectWalk, Any], None]
_BY_TYPE: dict[type, _Reader] = {
    FunctionType: ObjectWalk._function,
    MethodType: ObjectWalk._method,
    functools.partial: ObjectWalk._partial,
    inspect.Signature: ObjectWalk._signature,
    re.Pattern: ObjectWalk._pattern,
    np.ndarray: ObjectWalk._array,
    tf.DType: ObjectWalk._text,
    tf.TensorShape: ObjectWalk._text,
    tf.TensorSpec: ObjectWalk._text,
    **dict.fromkeys(_CONTAINERS, ObjectWalk._container),
}


def _reader(item: object, kind: type) -> _Reader | None:
    """How to read an object's state; None if that is not known."""
    if kind in _BY_TYPE:
        return _BY_TYPE[kind]
    if isinstance(item, type):
        is_bare = item in _PLAIN or item in _BUILTIN_BASES or item is inspect.Parameter.empty or is_named_tuple(item)
        return ObjectWalk._identity if is_bare else ObjectWalk._class
    if isinstance(item, ModuleType) and is_library(item.__name__):
        return ObjectWalk._identity
    if (isinstance(item, BuiltinFunctionType) and isinstance(item.__self__, ModuleType)) or kind is np.ufunc:
        return ObjectWalk._identity
    if isinstance(item, np.generic):
        return ObjectWalk._array
    if isinstance(item, np.dtype):
        return ObjectWalk._text
    if isinstance(item, tf.Variable):
        return ObjectWalk._variable
    if isinstance(item, tf.Tensor):
        return ObjectWalk._tensor
    if private.is_default_strategy(item) or (isinstance(item, Enum) and kind.__module__.startswith("keras.")):
        return ObjectWalk._identity
    if is_of_checkpoints(kind) and isinstance(item, (list, tuple, dict, set)):
        return ObjectWalk._container
    return ObjectWalk._instance if is_of_keras(kind) else None


def _contents(cell: CellType) -> object:
    try:
        contents: object = cell.cell_contents
    except ValueError:  # nothing assigned yet
        return CodeType
    return contents
