"""Finds functions and classes of an experiment that it has put into a library, where later code would call them."""

from __future__ import annotations

import ast
import sys
from collections.abc import Collection, Iterable, Iterator, Mapping
from types import FunctionType, ModuleType
from typing import Any


def may_plant(texts: Iterable[str]) -> bool:
    """Whether code assigns to an attribute of anything but `self`: other code plants nothing, and need not be watched.

    Args:
        texts: of the experiment's modules.
    """
    for text in texts:
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
                if not (isinstance(node.value, ast.Name) and node.value.id == "self"):
                    return True
            elif isinstance(node, ast.Name) and node.id in ("setattr", "vars", "patch"):
                return True
    return False


def planted(own: Collection[str]) -> frozenset[str]:
    """Names in other modules, and in their classes, that stand for a function or class of these modules.

    A function of a library under another name of a library is not found.

    Args:
        own: names of the experiment's modules.
    """
    found: set[str] = set()
    seen: set[int] = set()
    for name, module in list(sys.modules.items()):
        if name in own or not isinstance(module, ModuleType):
            continue
        for place, value in _values(vars(module)):
            if _is_of(value, own):
                found.add(f"{name}.{place}")
            elif isinstance(value, type) and id(value) not in seen:
                seen.add(id(value))
                inside = (inner for inner, part in _values(vars(value)) if _is_of(part, own))
                found |= {f"{value.__module__}.{value.__qualname__}.{inner}" for inner in inside}
    return frozenset(found)


def _values(names: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    return ((name, value) for name, value in list(names.items()) if not (name.startswith("__") and name != "__call__"))


def _is_of(value: Any, own: Collection[str]) -> bool:
    """Whether this is a function or class of one of these modules, perhaps as a method or wrapped by `functools`."""
    kind = type(value)
    if kind in (staticmethod, classmethod):
        value = value.__func__
    elif kind is property:
        value = value.fget
    if isinstance(value, FunctionType):
        return value.__globals__.get("__name__") in own
    return isinstance(value, type) and value.__module__ in own
