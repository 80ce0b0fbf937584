"""Compares what a class has with what its statement gives."""

from __future__ import annotations

import ast
import dataclasses
import enum
import inspect
from abc import ABCMeta
from collections.abc import Iterator, Sequence
from types import FunctionType

from runner.experiment.constants import is_same
from runner.experiment.free_names import Function

UNKNOWN = object()
_OF_EVERY_CLASS = {
    "__module__", "__dict__", "__weakref__", "__doc__", "__qualname__", "__annotations__", "__slots__", "__hash__",
    "__orig_bases__", "__parameters__", "__abstractmethods__", "_abc_impl", "__slotnames__", "__signature__",
    "__match_args__", "__getstate__", "__setstate__",
}  # fmt: skip


def assigned(node: ast.ClassDef) -> Iterator[tuple[str, ast.expr]]:
    """The attributes that a class' body assigns once and always, each with its expression."""
    pairs = [
        (target.id, part.value)
        for part in node.body
        if isinstance(part, ast.Assign | ast.AnnAssign) and part.value is not None
        for target in (part.targets if isinstance(part, ast.Assign) else [part.target])
        if isinstance(target, ast.Name)
    ]
    stored = list(_stored(node))
    yield from (pair for pair in pairs if stored.count(pair[0]) == 1)


def methods(node: ast.ClassDef) -> Iterator[Function]:
    """The functions of a class' body, of several with one name the last."""
    yield from {part.name: part for part in node.body if isinstance(part, Function)}.values()


def mangled(node: ast.ClassDef, name: str) -> str:
    """The name under which a class has what its body calls `__name`."""
    is_private = name.startswith("__") and not name.endswith("__")
    return f"_{node.name.lstrip('_')}{name}" if is_private else name


def values_of(value: type, name: str) -> Sequence[object]:
    """What an attribute was given in the class' body, wherever the class keeps it; empty if that is not known."""
    if isinstance(value, enum.EnumMeta):
        member = value.__members__.get(name)
        own_new = getattr(value, "_new_member_", object.__new__) not in (object.__new__, int.__new__, str.__new__)
        return () if member is None or own_new else (member.value,)
    if name in getattr(value, "_field_defaults", {}):
        return (value._field_defaults[name],)  # type: ignore[attr-defined]
    found = [vars(value)[name]] if name in vars(value) else []
    field = vars(value).get("__dataclass_fields__", {}).get(name)
    if field is not None:
        found.append(UNKNOWN if field.default is dataclasses.MISSING else field.default)
    return [one for one in found if one is not UNKNOWN and not inspect.ismemberdescriptor(one)]


def may_define(node: ast.ClassDef, value: type) -> bool:
    """Whether a class statement can be the one of a class, by its names and its plain values."""
    annotated = {
        part.target.id for part in node.body if isinstance(part, ast.AnnAssign) and isinstance(part.target, ast.Name)
    }
    known = {*vars(value), *getattr(value, "__annotations__", {}), *getattr(value, "__members__", {})}
    known |= {*vars(value).get("__slots__", ())} if not isinstance(vars(value).get("__slots__", ()), str) else set()
    names = {part.name for part in node.body if isinstance(part, Function | ast.ClassDef)}
    names |= {name for name, _ in assigned(node) if is_simple(value) and not name.startswith("__")}
    if not {mangled(node, name) for name in names | annotated} <= known:
        return False
    if is_simple(value) and not own_names(node) >= set(_added(value, node.decorator_list)):
        return False
    for name, expression in assigned(node):
        try:
            literal = ast.literal_eval(expression)
        except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
            continue
        if any(not is_same(one, literal) for one in values_of(value, mangled(node, name)) if not callable(one)):
            return False
    return True


def is_simple(value: type) -> bool:
    """Whether nothing but its statement makes a class: no metaclass, and no base that acts on its subclasses."""
    told = [kind for kind in value.__mro__[1:-1] if "__init_subclass__" in vars(kind)]
    return type(value) in (type, ABCMeta) and not told and "_fields" not in vars(value)


def own_names(node: ast.ClassDef) -> set[str]:
    """Every name that a class' body binds, as the class has it."""
    return {mangled(node, name) for name in _stored(node)}


def _added(value: type, decorators: Sequence[ast.expr]) -> Iterator[str]:
    """The attributes of a class that its body has to give, because no decorator does."""
    names = [ast.unparse(one.func if isinstance(one, ast.Call) else one).rpartition(".")[2] for one in decorators]
    if {*names} - {"dataclass"}:
        return
    for name, part in vars(value).items():
        is_made = bool(names) and name.startswith("__") and name.endswith("__")
        if name not in _OF_EVERY_CLASS and not is_made and not inspect.ismemberdescriptor(part):
            yield name


def _stored(node: ast.ClassDef) -> Iterator[str]:
    waiting: list[ast.AST] = list(node.body)
    while waiting:
        part = waiting.pop()
        if isinstance(part, Function | ast.ClassDef):
            yield part.name
        elif isinstance(part, ast.Import | ast.ImportFrom):
            yield from (alias.asname or alias.name.partition(".")[0] for alias in part.names)
        elif isinstance(part, ast.Name) and isinstance(part.ctx, ast.Store):
            yield part.id
        elif not isinstance(part, ast.Lambda | ast.comprehension):
            waiting += ast.iter_child_nodes(part)


def method_of(value: type, name: str) -> FunctionType | None:
    """The function of a method, below what Python itself wraps it in; None for anything else."""
    name = "__new_member__" if name == "__new__" and isinstance(value, enum.EnumMeta) else name
    part = vars(value).get(name)
    part = getattr(part, "fget", None) or getattr(part, "__func__", None) or part
    return part if isinstance(part, FunctionType) else None
