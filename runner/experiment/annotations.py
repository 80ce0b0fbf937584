"""Types of an experiment's parameters: read from annotations as syntax, checked without importing anything."""

from __future__ import annotations

import ast
from dataclasses import dataclass
from typing import Any, Literal

_SIMPLE = {"int", "float", "str", "bool"}
_SEQUENCES = {
    "list": "list",
    "List": "list",
    "Sequence": "list",
    "Iterable": "list",
    "tuple": "tuple",
    "Tuple": "tuple",
}
_MAPPINGS = {"dict": "dict", "Dict": "dict", "Mapping": "dict"}

Kind = Literal["any", "none", "int", "float", "str", "bool", "list", "tuple", "dict", "literal", "union"]


class MismatchError(ValueError):
    """A value that its parameter's type does not allow."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Type:
    """What values a parameter takes.

    Args:
        kind: the sort of type; `any` where the annotation says nothing that can be checked.
        inner: for `union` its alternatives, for `list`, `tuple` and `dict` the types of what they hold.
        values: for `literal` the values.
    """

    kind: Kind
    inner: tuple[Type, ...] = ()
    values: tuple[Any, ...] = ()

    def __str__(self) -> str:
        if self.kind == "union":
            return " or ".join(str(part) for part in self.inner)
        if self.kind == "literal":
            return "one of " + ", ".join(repr(value) for value in self.values)
        held = f"[{', '.join(str(part) for part in self.inner)}]" if self.inner else ""
        return {"none": "null", "any": "anything"}.get(self.kind, self.kind) + held


ANY = Type(kind="any")
_NONE = Type(kind="none")


def type_of_annotation(node: ast.expr) -> Type:
    """Reads an annotation; what it does not know counts as `any`."""
    if isinstance(node, ast.Constant):
        return _type_of_constant(node)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr):
        return _union(type_of_annotation(node.left), type_of_annotation(node.right))
    name = _name(node)
    if name in _SIMPLE or name in _SEQUENCES or name in _MAPPINGS:
        kind: Any = _SEQUENCES.get(name) or _MAPPINGS.get(name) or name
        return Type(kind=kind)
    if isinstance(node, ast.Subscript):
        return _subscript(_name(node.value), node.slice)
    return ANY


def type_of_default(value: Any) -> Type:
    """The type of a parameter that has a default but no annotation; None allows anything."""
    name = type(value).__name__
    kind: Any = name
    return Type(kind=kind) if name in {*_SIMPLE, "list", "tuple", "dict"} else ANY


def converted(value: Any, allowed: Type) -> Any:
    """The value as its parameter takes it: an int becomes a float, a list a tuple, where that is what is asked.

    Raises:
        MismatchError: where the type does not allow the value.
    """
    if allowed.kind == "any":
        return value
    if allowed.kind == "union":
        return _first_match(value, allowed)
    if allowed.kind == "literal":
        for choice in allowed.values:
            if choice == value and type(choice) is type(value):
                return choice
        raise MismatchError
    if allowed.kind in ("list", "tuple") and isinstance(value, list | tuple):
        return _converted_sequence(value, allowed)
    if allowed.kind == "dict" and isinstance(value, dict):
        held = allowed.inner[1] if len(allowed.inner) == 2 else ANY
        return {key: converted(item, held) for key, item in value.items()}
    if allowed.kind == "float" and isinstance(value, int) and not isinstance(value, bool):
        return _as_float(value)
    types = {"int": int, "float": float, "str": str, "bool": bool, "none": type(None)}
    if type(value) is types.get(allowed.kind):
        return value
    raise MismatchError


def _first_match(value: Any, allowed: Type) -> Any:
    # The value's own type first: `float | int` keeps an int an int.
    for part in sorted(allowed.inner, key=lambda part: part.kind != type(value).__name__):
        try:
            return converted(value, part)
        except MismatchError:
            continue
    raise MismatchError


def _converted_sequence(value: list[Any] | tuple[Any, ...], allowed: Type) -> Any:
    inner = allowed.inner
    if allowed.kind == "list" or len(inner) <= 1:
        inner = (inner[0] if inner else ANY,) * len(value)
    if len(inner) != len(value):
        raise MismatchError
    items = [converted(item, part) for item, part in zip(value, inner, strict=True)]
    return tuple(items) if allowed.kind == "tuple" else items


def _as_float(value: int) -> float:
    try:
        return float(value)
    except OverflowError:
        raise MismatchError from None


def _type_of_constant(node: ast.Constant) -> Type:
    if node.value is None:
        return _NONE
    if not isinstance(node.value, str):
        return ANY
    try:
        return type_of_annotation(ast.parse(node.value, mode="eval").body)
    except (SyntaxError, ValueError):
        return ANY


def _subscript(name: str, inner: ast.expr) -> Type:
    parts = list(inner.elts) if isinstance(inner, ast.Tuple) else [inner]
    if name == "Literal":
        values = tuple(part.value for part in parts if isinstance(part, ast.Constant))
        return Type(kind="literal", values=values) if len(values) == len(parts) else ANY
    if name == "Optional":
        return _union(type_of_annotation(parts[0]), _NONE)
    if name == "Union":
        return _union(*(type_of_annotation(part) for part in parts))
    if name in ("Annotated", "Final"):
        return type_of_annotation(parts[0])
    kind: Any = _SEQUENCES.get(name) or _MAPPINGS.get(name)
    if kind is None:
        return ANY
    # `tuple[int, ...]` holds any number of ints.
    held = [part for part in parts if not (isinstance(part, ast.Constant) and part.value is ...)]
    inner_types = tuple(type_of_annotation(part) for part in held)
    if kind == "tuple" and len(held) == len(parts) == 1:
        return Type(kind="tuple", inner=inner_types)
    return Type(kind=kind, inner=inner_types)


def _union(*parts: Type) -> Type:
    flat: list[Type] = []
    for part in parts:
        flat.extend(part.inner if part.kind == "union" else [part])
    return ANY if ANY in flat else Type(kind="union", inner=tuple(flat))


def _name(node: ast.expr) -> str:
    """`int` of `int`, `List` of `typing.List`."""
    if isinstance(node, ast.Attribute):
        return node.attr if isinstance(node.value, ast.Name) and node.value.id in ("typing", "t", "abc") else ""
    return node.id if isinstance(node, ast.Name) else ""
