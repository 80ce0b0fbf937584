"""Finds what an experiment has put into libraries, where later code of the process would use it."""

from __future__ import annotations

import ast
import builtins
import operator
import sys
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from types import FunctionType, ModuleType
from typing import Any

_WRITERS = frozenset({
    *("setattr", "delattr", "__setattr__", "__delattr__", "vars", "__dict__", "exec", "eval", "globals"),
    *("patch", "monkeypatch", "wrap_function_wrapper"),
})  # fmt: skip
_WITH_CLASSES = ("keras", "tensorflow", "numpy")  # beside what the experiment imports
_NOT_OF_A_CLASS = frozenset({
    *("__doc__", "__module__", "__dict__", "__weakref__", "__annotations__", "__abstractmethods__", "_abc_impl"),
    *("__slotnames__", "__parameters__", "__signature__", "__firstlineno__", "__static_attributes__"),
})  # fmt: skip
# Programs' own modules, and what TensorFlow makes when it is first asked for.
_NOT_WATCHED = frozenset({"__main__", "__mp_main__", "tensorflow.core.config.flags"})
_NONE = object()


def may_plant(texts: Iterable[str]) -> bool:
    """Whether code assigns to an attribute of anything but `self`: other code plants nothing, and need not be watched.

    Args:
        texts: of the experiment's modules.
    """
    return any(_writes(node) for text in texts for node in ast.walk(ast.parse(text)))


def imported_packages(texts: Iterable[str]) -> frozenset[str]:
    """The packages that code imports, without their parts."""
    found = set()
    for node in (node for text in texts for node in ast.walk(ast.parse(text))):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module.partition(".")[0])
    return frozenset(found)


@dataclass(frozen=True, slots=True)
class Libraries:
    """What the names of all modules but the experiment's own, and of classes of those that it uses, stood for.

    The objects are kept, so that no other one gets the address of one of them.

    Args:
        modules: each with its names.
        classes: each with its names.
    """

    modules: Mapping[str, tuple[ModuleType, Mapping[str, Any]]]
    classes: tuple[tuple[type, Mapping[str, Any]], ...]

    @classmethod
    def current(cls, own: Collection[str], packages: Collection[str]) -> Libraries:
        """What they stand for now.

        Args:
            own: names of the experiment's modules.
            packages: that it imports.
        """
        modules = {
            name: (module, dict(vars(module)))
            for name, module in sys.modules.copy().items()
            if isinstance(module, ModuleType) and name not in own and name not in _NOT_WATCHED
        }
        watched = {*_WITH_CLASSES, *packages}
        classes: dict[int, tuple[type, Mapping[str, Any]]] = {}
        for name, (_, names) in modules.items():
            if name.partition(".")[0] in watched:
                for value in names.values():
                    if isinstance(value, type) and id(value) not in classes:
                        classes[id(value)] = value, dict(vars(value))
        return cls(modules, tuple(classes.values()))

    def changes(self, own: frozenset[str]) -> Iterator[str]:
        """Names that stand for something else now, and code of these modules in libraries that were imported since."""
        for name, (module, before) in self.modules.items():
            if module is not builtins:  # which the process' state has
                yield from (f"{name}.{one}" for one in _of_module(module, before))
        for kind, before in self.classes:
            yield from (f"{kind.__module__}.{kind.__qualname__}.{one}" for one in _of_class(kind, before))
        others = sys.modules.keys() - self.modules.keys() - own - _NOT_WATCHED
        for name, module in ((name, sys.modules[name]) for name in others):
            if isinstance(module, ModuleType):
                yield from (f"{name}.{one}" for one, value in list(vars(module).items()) if _is_of(value, own))


def _writes(node: ast.AST) -> bool:
    if isinstance(node, ast.Attribute):
        by_self = isinstance(node.value, ast.Name) and node.value.id == "self"
        return node.attr in _WRITERS or (not isinstance(node.ctx, ast.Load) and not by_self)
    return isinstance(node, ast.Name) and node.id in _WRITERS


def _differing(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Names whose objects are not the same; private values that are no code are a library's own business."""
    if len(before) == len(now) and all(map(operator.is_, list(before.values()), list(now.values()))):
        return []
    found = [name for name, value in before.items() if now.get(name, _NONE) is not value]
    found += [name for name in list(now) if name not in before]
    return [name for name in found if not _is_private(name) or _is_code(before.get(name)) or _is_code(now.get(name))]


def _of_module(module: ModuleType, before: Mapping[str, Any]) -> Iterator[str]:
    now = vars(module)
    for name in _differing(before, now):
        is_imported = isinstance(now.get(name), ModuleType) and type(before.get(name)) is not ModuleType
        is_own_business = is_imported or (name.startswith("__") and name.endswith("__"))
        if not is_own_business and (name in before or not _gives(module, name, now.get(name))):
            yield name


def _of_class(kind: type, before: Mapping[str, Any]) -> Iterator[str]:
    return (name for name in _differing(before, vars(kind)) if name not in _NOT_OF_A_CLASS)


def _gives(module: ModuleType, name: str, value: Any) -> bool:
    """Whether a new name is of the module itself, which may find its names when they are asked for."""
    if getattr(value, "__module__", None) == module.__name__:
        return True
    ask = vars(module).get("__getattr__")
    if ask is None and type(module) is not ModuleType:
        ask = getattr(type(module), "__getattr__", None)
        ask = None if ask is None else ask.__get__(module)
    try:
        return ask is not None and ask(name) is value
    except (AttributeError, ImportError):
        return False


def _is_private(name: str) -> bool:
    return name.startswith("_") and not name.endswith("__")


def _is_code(value: Any) -> bool:
    return callable(value) or isinstance(value, (property, staticmethod, classmethod))


def _is_of(value: Any, own: Collection[str]) -> bool:
    """Whether this is a function or class of one of these modules."""
    if isinstance(value, FunctionType):
        return value.__globals__.get("__name__") in own
    return isinstance(value, type) and value.__module__ in own
