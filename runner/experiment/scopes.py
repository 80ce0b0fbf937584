"""What the names of a function or a class mean where it was defined."""

from __future__ import annotations

import ast
import builtins
import inspect
import sys
from collections import ChainMap
from collections.abc import Collection, Iterator, Mapping
from types import FunctionType

from runner.experiment.definitions import Definition


def unwrapped(value: object) -> object:
    """The function below decorators that keep it as `functools.wraps` does; any other value unchanged."""
    seen: set[int] = set()
    while id(value) not in seen and not isinstance(value, type):
        seen.add(id(value))
        value = inspect.getattr_static(value, "__wrapped__", value)
    return value


def namespace_of(value: FunctionType | type) -> Mapping[str, object]:
    """The variables of the module in which a function or a class was defined."""
    if isinstance(value, FunctionType):
        return value.__globals__
    return vars(sys.modules[value.__module__]) if value.__module__ in sys.modules else {}


def meanings(value: FunctionType | type) -> ChainMap[str, object]:
    """Each name that its code may look up, with its value: of functions around it, and of its module."""
    functions = [value] if isinstance(value, FunctionType) else list(_methods(value))
    around = dict(pair for function in functions for pair in _closure(function))
    return ChainMap(around, dict(namespace_of(value)))


def known(scope: Mapping[str, object], closure: Collection[str], around: Collection[str]) -> Mapping[str, object]:
    """What names mean, without the variables of a function around that the code did not keep."""
    return {name: value for name, value in scope.items() if name in closure or name not in around}


def evaluated(value: FunctionType | type, definition: Definition) -> Mapping[str, object]:
    """Names that are default values or base classes, with the values that they had when the definition was executed.

    A local variable of a function around it may be known by this alone.
    """
    return dict(_defaults(value, definition) if isinstance(value, FunctionType) else _bases(value, definition))


def is_builtin(name: str) -> bool:
    """Whether every Python has this name; notebooks add functions of their own to the built-in ones."""
    return not isinstance(getattr(builtins, name, meanings), FunctionType)


def stands_for_builtin(name: str, value: object) -> bool:
    """Whether a value is what IPython puts in the place of a built-in function, such as `open`."""
    if not isinstance(value, FunctionType) or not is_builtin(name) or unwrapped(value) is not getattr(builtins, name):
        return False
    return str(value.__globals__.get("__name__", "")).partition(".")[0] == "IPython"


def _closure(function: FunctionType) -> Iterator[tuple[str, object]]:
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        try:
            if name != "__class__":
                yield name, cell.cell_contents
        except ValueError:  # the function around it has not assigned it yet
            continue


def _methods(value: type) -> Iterator[FunctionType]:
    for part in vars(value).values():
        parts = (part.fget, part.fset, part.fdel) if isinstance(part, property) else (part, getattr(part, "func", None))
        for one in parts:
            function = unwrapped(getattr(one, "__func__", one))
            if isinstance(function, FunctionType) and function.__qualname__.startswith(f"{value.__qualname__}."):
                yield function


def _defaults(function: FunctionType, definition: Definition) -> Iterator[tuple[str, object]]:
    if isinstance(definition.node, ast.ClassDef):
        return
    arguments = definition.node.args
    yield from _named(arguments.defaults, function.__defaults__ or ())
    by_name = function.__kwdefaults__ or {}
    for argument, node in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True):
        if argument.arg in by_name:
            yield from _named([node], (by_name[argument.arg],))


def _bases(value: type, definition: Definition) -> Iterator[tuple[str, object]]:
    if isinstance(definition.node, ast.ClassDef):
        yield from _named(definition.node.bases, vars(value).get("__orig_bases__", value.__bases__))


def _named(nodes: list[ast.expr] | list[ast.expr | None], values: tuple[object, ...]) -> Iterator[tuple[str, object]]:
    if len(nodes) == len(values):
        yield from ((node.id, value) for node, value in zip(nodes, values, strict=True) if isinstance(node, ast.Name))
