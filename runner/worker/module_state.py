"""The state of an experiment's own modules, by which a worker finds out whether it is still that after their import.

Two states of one process are compared, so objects that cannot change are compared by their address. An object of a kind
that may change and cannot be read counts as changed.
"""

from __future__ import annotations
import __future__

import collections
import functools
import hashlib
import logging
import random
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date, time, timedelta
from decimal import Decimal
from enum import Enum
from fractions import Fraction
from pathlib import PurePath
from types import (
    BuiltinFunctionType,
    CellType,
    FunctionType,
    GenericAlias,
    GetSetDescriptorType,
    MemberDescriptorType,
    MethodType,
    ModuleType,
    UnionType,
)
from typing import Any, TypeAlias

import numpy as np
import tensorflow as tf

_PLAIN = (type(None), bool, int, float, complex, str, bytes)
_UNCHANGING = (
    *(ModuleType, GenericAlias, UnionType, GetSetDescriptorType, MemberDescriptorType),
    *(Enum, PurePath, re.Pattern, range, slice),
    *(date, time, timedelta, Decimal, Fraction, np.dtype, np.ufunc, tf.DType, tf.TensorShape, __future__._Feature),
    logging.Logger,  # its level and handlers are not read: they change what is printed, and no number
)
_TYPING = ("typing", "typing_extensions")
_CONTAINERS = (list, tuple, dict, set, frozenset, collections.OrderedDict, collections.defaultdict, collections.deque)
_NOT_STATE = frozenset({
    *("__dict__", "__weakref__", "__doc__", "__annotations__", "__abstractmethods__", "_abc_impl"),
    *("__dataclass_fields__", "__dataclass_params__"),
})  # fmt: skip
_SEEDED = tuple(getattr(one, "__self__", None) for one in (random.random, np.random.random_sample))  # by every trial
_LARGEST = 64 * 1024 * 1024  # bytes of an array that is read
_MOST_TOKENS = 100_000
_Tokens: TypeAlias = tuple[object, ...]


@dataclass(frozen=True, slots=True)
class ModuleState:
    """The state of modules at one moment.

    Args:
        names: for each global, as `module.name`, what was read of it; None if that is not its whole state.
        kept: the objects that were read, so that no other one gets the address of one of them.
    """

    names: Mapping[str, _Tokens | None]
    kept: tuple[object, ...] = field(repr=False)

    def clear_caches(self) -> None:
        """Empties the `functools.cache` of each function that was read: none was called before."""
        for item in self.kept:
            if isinstance(item, functools._lru_cache_wrapper):
                item.cache_clear()

    @classmethod
    def of(cls, modules: Mapping[str, ModuleType]) -> ModuleState:
        """The present state of these modules, by name."""
        reader = _Reader(frozenset(modules))
        names = {
            f"{module}.{name}": reader.read(value)
            for module, found in modules.items()
            for name, value in list(vars(found).items())
            if not name.startswith("__")
        }
        return cls(names, tuple(reader.kept))

    def changes(self, now: ModuleState) -> Iterator[str]:
        """What is not certainly the same now, for a person."""
        for name in sorted(self.names.keys() | now.names.keys()):
            if self.names.get(name) is None or now.names.get(name) is None:
                what = "is of a kind that cannot be compared" if name in self.names else "is new"
                yield f"its global {name} {what}"
            elif self.names[name] != now.names[name]:
                yield f"its global {name} has changed"


class _UnknownError(Exception):
    """An object of a kind that may change and cannot be read."""


class _Reader:
    """Reads objects that can be reached from the globals of modules.

    Args:
        own: names of these modules; functions and classes of others are not read.
    """

    def __init__(self, own: frozenset[str]) -> None:
        self._own = own
        self.kept: list[object] = []

    def read(self, value: object) -> _Tokens | None:
        """All that can be reached from a value; None if some of it cannot be read."""
        tokens: list[object] = []
        seen: dict[int, int] = {}
        ahead = [value]
        try:
            while ahead:
                ahead.extend(reversed(list(self._visit(ahead.pop(), tokens, seen))))
                if len(tokens) > _MOST_TOKENS:
                    return None
        except _UnknownError:
            return None
        return tuple(tokens)

    def _visit(self, item: Any, tokens: list[object], seen: dict[int, int]) -> list[Any]:
        """Notes an item; returns what it consists of."""
        kind = type(item)
        if kind in _PLAIN:
            tokens.append((kind, repr(item) if kind in (float, complex) else item))
            return []
        if id(item) in seen:
            tokens.append(("again", seen[id(item)]))
            return []
        seen[id(item)] = len(seen)
        self.kept.append(item)
        tokens.append((kind, id(item)))
        if self._is_foreign(item) or isinstance(item, _UNCHANGING) or kind.__module__ in _TYPING:
            return []
        content = _content(item, tokens)
        if content is None:
            content = self._attributes(item)
        return content

    def _is_foreign(self, item: Any) -> bool:
        """Whether it is a function or a class of another module."""
        return isinstance(item, (FunctionType, type)) and item.__module__ not in self._own

    def _attributes(self, item: Any) -> list[Any]:
        """The attributes of an instance of one of the modules' own classes.

        Raises:
            _UnknownError: the instance is of another class, or may have a state besides.
        """
        kind = type(item)
        bases = [base for base in kind.__mro__ if base is not object]
        if any(base.__module__ not in self._own for base in bases):
            raise _UnknownError
        slots = [name for base in bases for name in _slots(base) if hasattr(item, name)]
        return [getattr(item, "__dict__", None), *(part for name in slots for part in (name, getattr(item, name)))]


def _content(item: Any, tokens: list[object]) -> list[Any] | None:
    """What an object of a known kind consists of; None for any other kind."""
    if isinstance(item, FunctionType):
        tokens.append(id(item.__code__))
        cells = [_cell(cell) for cell in item.__closure__ or ()]
        return [item.__code__.co_name, item.__defaults__, item.__kwdefaults__, vars(item), *cells]
    if isinstance(item, type):
        return [part for name, value in vars(item).items() if name not in _NOT_STATE for part in (name, value)]
    if isinstance(item, property):
        return [item.fget, item.fset, item.fdel]
    if isinstance(item, (classmethod, staticmethod)):
        return [item.__func__]
    if type(item) is functools.partial:
        return [item.func, item.args, item.keywords]
    if isinstance(item, functools._lru_cache_wrapper):  # what it has cached is cleared: see `clear_caches`
        return [item.__wrapped__]
    if isinstance(item, (BuiltinFunctionType, MethodType)):
        return _bound(item)
    if type(item) in _CONTAINERS:
        return _parts(item)
    return _numbers(item, tokens)


def _bound(method: Any) -> list[Any]:
    """What a method of an instance is bound to: `rng.normal` has the state of its generator."""
    owner = method.__self__
    if owner is None or isinstance(owner, (ModuleType, type)) or any(owner is one for one in _SEEDED):
        return []
    function = getattr(method, "__func__", None)
    return [owner, function] if isinstance(function, FunctionType) else [owner]


def _parts(container: Any) -> list[Any]:
    if isinstance(container, (set, frozenset)):
        if not all(type(item) in _PLAIN for item in container):
            raise _UnknownError
        return [len(container), *sorted(container, key=repr)]
    if isinstance(container, dict):
        factory = getattr(container, "default_factory", None)
        return [len(container), factory, *(part for item in list(container.items()) for part in item)]
    return [len(container), *container]


def _numbers(item: Any, tokens: list[object]) -> list[Any] | None:
    """Arrays and generators of random numbers; None for any other kind."""
    if isinstance(item, np.generic) or type(item) is np.ndarray:
        if item.dtype.hasobject or item.nbytes > _LARGEST:
            raise _UnknownError
        digest = hashlib.sha256(np.ascontiguousarray(item).tobytes()).hexdigest()
        tokens.append((str(item.dtype), item.shape, digest))
        return []
    if isinstance(item, np.random.Generator):
        return [repr(item.bit_generator.state)]
    if isinstance(item, np.random.RandomState):
        return [repr(item.get_state())]
    if type(item) is random.Random:
        return [repr(item.getstate())]
    return None


def _slots(cls: type) -> tuple[str, ...]:
    slots = vars(cls).get("__slots__", ())
    return (slots,) if isinstance(slots, str) else tuple(slots)


def _cell(cell: CellType) -> object:
    try:
        return cell.cell_contents
    except ValueError:  # nothing assigned yet
        return None
