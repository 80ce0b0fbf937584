"""Everything that a trace of a model's steps can depend on, read off the model itself.

A configuration tells too little: vocabularies, adapted statistics, excluded variables, replaced methods and much else
are attributes that no config holds. So the walk takes every attribute of every object that a model reaches. It goes on
only into what it knows completely: values, arrays, containers, and instances of Keras' own classes with functions of
Keras' own code. Anything else ends it, and such a model shares its trace with no other.

One thing is not looked at: the functions that library code finds in its modules when it is called. Where an experiment
replaces one (`keras.src.backend.nn.relu = mine`) it does so for the whole process and all its trials, not for a model.
"""

from __future__ import annotations

import collections
import functools
import hashlib
import inspect
import re
import sys
from abc import ABC
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from enum import Enum
from types import BuiltinFunctionType, CodeType, EllipsisType, FunctionType, MethodType, ModuleType, NoneType
from typing import Any, Generic, Protocol

import numpy as np
import tensorflow as tf

from runner.worker import private as keras_private

_PLAIN = frozenset({NoneType, EllipsisType, bool, int, float, complex, str, bytes})
_BUILTIN_BASES = frozenset({object, ABC, Generic, Protocol, list, tuple, dict, set, frozenset, collections.OrderedDict})
_CONTAINERS = frozenset({list, tuple, dict, set, frozenset, collections.OrderedDict, collections.defaultdict})
_CODE = ("keras", "tensorflow", "numpy", "optree")  # whose functions are what they were when they were imported
_TRACKED = "tensorflow.python.trackable."  # TensorFlow's bookkeeping of checkpoints: bases and wrappers of containers
_NOT_BEHAVIOUR = frozenset({"__annotations__", "__abstractmethods__", "_abc_impl", "__doc__", "__dict__"})
_ADDRESS = re.compile(r"\d{9,}")


class _UnknownError(Exception):
    """The walk has come to something whose state it cannot read off completely."""


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """Equal for models whose traces are interchangeable and whose files differ in nothing but values of variables.

    Args:
        digest: of all that was found. Code is told apart by its address in memory.
        kept: what the digest names by address, so that no other object takes that place.
    """

    digest: str
    kept: tuple[object, ...] = field(compare=False, repr=False)


def fingerprint(model: Any, variables: Sequence[Any]) -> Fingerprint | None:
    """A model's fingerprint; None where something may be hidden.

    Args:
        model: built and compiled, not traced yet.
        variables: those whose values travel with a trial; the walk takes only their shape and place.
    """
    if model.run_eagerly or not keras_private.is_built(model):
        return None
    walk = _Walk(variables)
    try:
        walk.over([keras_private.settings_of_the_trial(), model])
    except _UnknownError:
        return None
    return walk.found()


class _Walk:
    def __init__(self, variables: Sequence[Any]) -> None:
        values = [variable.value for variable in variables]
        self._positions = {id(value): number for number, value in enumerate(values)}
        self._names = {value._unique_id: f"<variable {number}>" for number, value in enumerate(values)}
        self._tokens: list[Any] = []
        self._numbers: dict[int, int] = {}  # in the order of the walk, by address
        self._kept: list[object] = list(values)
        self._ahead: list[Any] = []

    def over(self, roots: Sequence[Any]) -> None:
        """Walks; without recursion, since a model may be a long chain."""
        self._push(roots)
        while self._ahead:
            self._visit(self._ahead.pop())

    def found(self) -> Fingerprint:
        tokens = [self._resolved(token) for token in self._tokens]
        return Fingerprint(hashlib.sha256(repr(tokens).encode()).hexdigest(), tuple(self._kept))

    def _visit(self, item: Any) -> None:
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
            raise _UnknownError(f"{kind.__module__}.{kind.__qualname__}")
        reader(self, item)

    def _push(self, items: Iterable[Any]) -> None:
        self._ahead.extend(reversed(list(items)))

    def _note(self, *token: Any) -> None:
        self._tokens.append(token)

    def _identity(self, item: Any) -> None:
        self._note("identity", id(item))

    def _text(self, item: Any) -> None:
        self._note(type(item).__name__, repr(item))

    def _function(self, function: FunctionType) -> None:
        if not _is_library_code(function):
            raise _UnknownError(f"{function.__module__}.{function.__qualname__}")
        self._kept.append(function.__code__)
        cells = [_contents(cell) for cell in function.__closure__ or ()]
        self._note("function", id(function.__code__), len(cells))
        # What TensorFlow keeps about a function of its own API is not read when the function is called.
        attributes = {name: value for name, value in vars(function).items() if not name.startswith("_tf_")}
        self._push([function.__defaults__, function.__kwdefaults__, attributes, *cells])

    def _method(self, method: MethodType) -> None:
        self._note("method")
        self._push([method.__func__, method.__self__])

    def _partial(self, partial: functools.partial[Any]) -> None:
        self._note("partial")
        self._push([partial.func, partial.args, partial.keywords, vars(partial)])

    def _signature(self, signature: inspect.Signature) -> None:
        parameters = signature.parameters.values()
        self._note("signature", *((parameter.name, int(parameter.kind)) for parameter in parameters))
        self._push(parameter.default for parameter in parameters)

    def _pattern(self, pattern: re.Pattern[Any]) -> None:
        self._note("pattern", pattern.pattern, pattern.flags)

    def _array(self, array: Any) -> None:
        if array.dtype.hasobject:
            raise _UnknownError("an array of Python objects")
        digest = hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()
        self._note(type(array).__name__, str(array.dtype), array.shape, digest)

    def _tensor(self, tensor: Any) -> None:
        if not hasattr(tensor, "numpy") or tensor.dtype in (tf.resource, tf.variant):
            raise _UnknownError(f"a tensor of {tensor.dtype}")
        values = np.asarray(tensor.numpy())
        self._note("tensor", tensor.dtype.name, values.shape)
        self._push(values.ravel().tolist() if values.dtype.hasobject else [values])

    def _variable(self, variable: Any) -> None:
        if id(variable) not in self._positions:
            raise _UnknownError("a variable whose value does not travel with the trial")
        self._note("variable", self._positions[id(variable)], tuple(variable.shape), variable.dtype.name)

    def _class(self, cls: type) -> None:
        """A class by what its methods and the containers on it are now: somebody may have changed one."""
        for base in cls.__mro__:
            if base in _BUILTIN_BASES or _is_named_tuple(base) or (base is not cls and id(base) in self._numbers):
                continue
            if not _is_library_class(base):
                raise _UnknownError(f"{base.__module__}.{base.__qualname__}")
            self._numbers.setdefault(id(base), len(self._numbers))
            values = [value for name, value in vars(base).items() if name not in _NOT_BEHAVIOUR]
            functions = [function for value in values for function in _functions_of(value)]
            if not all(map(_is_library_code, functions)):
                raise _UnknownError(f"{base.__module__}.{base.__qualname__} with a method replaced")
            codes = [function.__code__ for function in functions]
            self._kept += [base, *values, *codes]
            self._note("class", id(base), *map(id, values), *map(id, codes))
            self._push(value for value in values if type(value) in _CONTAINERS)

    def _container(self, container: Any) -> None:
        self._note(type(container).__name__, len(container))
        if isinstance(container, (set, frozenset)):
            if not all(type(item) in _PLAIN for item in container):
                raise _UnknownError("a set of objects, which has no order")
            self._tokens.append(frozenset(container))
        elif isinstance(container, dict):
            self._push(
                [getattr(container, "default_factory", None), *(part for item in container.items() for part in item)]
            )
        else:
            self._push(container)

    def _instance(self, instance: Any) -> None:
        cls = type(instance)
        attributes = keras_private.attributes_of_a_step(instance, getattr(instance, "__dict__", {}))
        for base in cls.__mro__:
            slots = base.__dict__.get("__slots__", ())
            for name in (slots,) if isinstance(slots, str) else slots:
                if name not in ("__dict__", "__weakref__") and hasattr(instance, name):
                    attributes[name] = getattr(instance, name)
        self._note("instance", id(cls), tuple(sorted(attributes)))
        self._push([cls, *(attributes[name] for name in sorted(attributes))])
        if isinstance(instance, (list, tuple, dict, set, frozenset)):
            self._container(instance)

    def _resolved(self, token: Any) -> Any:
        """Without addresses: Keras keeps tables by the addresses of layers and by the names of variables."""
        if type(token) is int:
            return token if token not in self._numbers else ("again", self._numbers[token])
        if type(token) is str:
            return self._names.get(token) or _ADDRESS.sub(self._number_of, token)
        if type(token) is frozenset:
            return sorted(repr(self._resolved(item)) for item in token)
        return token

    def _number_of(self, match: re.Match[str]) -> str:
        return f"<{self._numbers[int(match[0])]}>" if int(match[0]) in self._numbers else match[0]


_Reader = Callable[[_Walk, Any], None]
_BY_TYPE: dict[type, _Reader] = {
    FunctionType: _Walk._function,
    MethodType: _Walk._method,
    functools.partial: _Walk._partial,
    inspect.Signature: _Walk._signature,
    re.Pattern: _Walk._pattern,
    np.ndarray: _Walk._array,
    tf.DType: _Walk._text,
    tf.TensorShape: _Walk._text,
    tf.TensorSpec: _Walk._text,
    **dict.fromkeys(_CONTAINERS, _Walk._container),
}


def _reader(item: Any, kind: type) -> _Reader | None:
    """How an object's state is read; None where that is not known."""
    if kind in _BY_TYPE:
        return _BY_TYPE[kind]
    if isinstance(item, type):
        is_bare = item in _PLAIN or item in _BUILTIN_BASES or item is inspect._empty or _is_named_tuple(item)
        return _Walk._identity if is_bare else _Walk._class
    if isinstance(item, ModuleType) and _is_library(item.__name__):
        return _Walk._identity
    if (kind is BuiltinFunctionType and isinstance(item.__self__, ModuleType)) or kind is np.ufunc:
        return _Walk._identity
    if isinstance(item, np.generic):
        return _Walk._array
    if isinstance(item, np.dtype):
        return _Walk._text
    if isinstance(item, tf.Variable):
        return _Walk._variable
    if isinstance(item, tf.Tensor):
        return _Walk._tensor
    if keras_private.is_default_strategy(item) or (isinstance(item, Enum) and kind.__module__.startswith("keras.")):
        return _Walk._identity
    if kind.__module__.startswith(_TRACKED) and isinstance(item, (list, tuple, dict, set)):
        return _Walk._container
    return _Walk._instance if kind.__module__.partition(".")[0] == "keras" else None


def _is_library(module: str) -> bool:
    return module.partition(".")[0] in _CODE


def _is_library_code(function: FunctionType) -> bool:
    """Whether a function was defined by a library's own file, in whatever scope."""
    module = sys.modules.get(function.__globals__.get("__name__", ""))
    return module is not None and _is_library(module.__name__) and vars(module) is function.__globals__


def _functions_of(attribute: Any) -> list[FunctionType]:
    """The functions that a class' attribute calls."""
    if isinstance(attribute, property):
        found: list[Any] = [attribute.fget, attribute.fset, attribute.fdel]
    elif isinstance(attribute, (classmethod, staticmethod)):
        found = [attribute.__func__]
    else:
        found = [attribute]
    return [function for function in found if type(function) is FunctionType]


def _is_library_class(cls: type) -> bool:
    """Whether a class is Keras' own, or one of TensorFlow's that keep nothing beside attributes, for checkpoints."""
    if cls.__module__.startswith(_TRACKED) or cls.__module__.startswith("tensorflow.python.types."):
        return True
    if cls.__module__.partition(".")[0] != "keras":
        return False
    found: Any = sys.modules.get(cls.__module__)
    for part in cls.__qualname__.split("."):
        found = getattr(found, part, None)
    return found is cls


def _is_named_tuple(cls: type) -> bool:
    return cls.__bases__ == (tuple,) and cls.__module__.partition(".")[0] == "keras" and hasattr(cls, "_fields")


def _contents(cell: Any) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # nothing assigned yet
        return CodeType
