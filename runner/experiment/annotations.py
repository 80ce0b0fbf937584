"""Names and types of an experiment's parameters: read from syntax, checked without importing anything."""

from __future__ import annotations

import ast
import functools
import unicodedata
from dataclasses import dataclass
from typing import Annotated, Any, Union

from pydantic import AfterValidator, StrictBool, StrictFloat, StrictInt, StrictStr, TypeAdapter, ValidationError


class MismatchError(ValueError):
    """A value that its parameter's type does not allow."""


@dataclass(frozen=True, slots=True)
class Type:
    """What values a parameter takes: in words for errors, and as pydantic checks it."""

    text: str
    form: Any

    def __str__(self) -> str:
        return self.text


ANY = Type("anything", Any)
_NONE = Type("null", None)
_SIMPLE = {"int": StrictInt, "float": StrictFloat, "str": StrictStr, "bool": StrictBool}
_CONTAINERS: dict[str, type] = {
    **dict.fromkeys(("list", "List", "Sequence", "Iterable"), list),
    **dict.fromkeys(("tuple", "Tuple"), tuple),
    **dict.fromkeys(("dict", "Dict", "Mapping"), dict),
}


def as_python(name: str) -> str:
    """The name that Python's parser makes of an identifier: one of any script is normalised (NFKC).

    Source: Python's language reference, "Identifiers and keywords".
    """
    return unicodedata.normalize("NFKC", name)


def type_of_annotation(node: ast.expr) -> Type:
    """Reads an annotation; what it does not know allows anything."""
    name = _name(node)
    match node:
        case ast.Constant(value=None):
            return _NONE
        case ast.Constant(value=str(text)):
            try:
                return type_of_annotation(ast.parse(text, mode="eval").body)
            except (SyntaxError, ValueError):
                return ANY
        case ast.BinOp(op=ast.BitOr()):
            return _union(node.left, node.right)
        case ast.Subscript(slice=ast.Tuple(elts=parts)):
            return _subscript(_name(node.value), parts)
        case ast.Subscript():
            return _subscript(_name(node.value), [node.slice])
    if name in _CONTAINERS:
        return Type(_CONTAINERS[name].__name__, _CONTAINERS[name])
    return Type(name, _SIMPLE[name]) if name in _SIMPLE else ANY


def type_of_default(value: object) -> Type:
    """The type of a parameter that has a default but no annotation; None allows anything."""
    return type_of_annotation(ast.Name(type(value).__name__))


def converted(value: object, allowed: Type) -> object:
    """The value as its parameter takes it: an int becomes a float, a list a tuple, if that is what the type asks for.

    Raises:
        MismatchError: the type does not allow the value.
    """
    try:
        return _adapter(allowed).validate_python(value)
    except ValidationError as err:
        raise MismatchError from err


@functools.lru_cache(maxsize=256)
def _adapter(allowed: Type) -> TypeAdapter[object]:
    return TypeAdapter(allowed.form)


def _subscript(name: str, parts: list[ast.expr]) -> Type:
    constants = [part.value for part in parts if isinstance(part, ast.Constant)]
    if name == "Literal" and 0 < len(constants) == len(parts):
        check = AfterValidator(functools.partial(_one_of, tuple(constants)))
        return Type(f"one of {', '.join(map(repr, constants))}", Annotated[Any, check])
    if name in ("Optional", "Union") and parts:
        return _union(*parts, *([ast.Constant(None)] if name == "Optional" else []))
    if name in ("Annotated", "Final") and parts:
        return type_of_annotation(parts[0])
    container: Any = _CONTAINERS.get(name)
    held = [type_of_annotation(part) for part in parts if not (isinstance(part, ast.Constant) and part.value is ...)]
    if container is None or not held:
        return ANY
    forms = [part.form for part in held]
    if container is tuple:  # `tuple[int, ...]` holds any number of ints, and so may `tuple[int]`
        forms = [*forms, ...] if len(forms) == 1 else forms
    elif container is dict:  # keys are not checked
        forms = [Any, forms[1] if len(forms) == 2 else Any]
    form = container[tuple(forms)] if container is not list else container[forms[0]]
    return Type(f"{container.__name__}[{', '.join(map(str, held))}]", form)


def _one_of(values: tuple[object, ...], value: object) -> object:
    # pydantic's own literals take True for 1.
    if not any(type(value) is type(allowed) and value == allowed for allowed in values):
        raise ValueError
    return value


def _union(*nodes: ast.expr) -> Type:
    parts = [type_of_annotation(node) for node in nodes]
    if ANY in parts:
        return ANY
    return Type(" or ".join(part.text for part in parts), Union[tuple(part.form for part in parts)])  # noqa: UP007


def _name(node: ast.expr) -> str:
    """`int` of `int`, `List` of `typing.List`."""
    if isinstance(node, ast.Attribute):
        return node.attr if isinstance(node.value, ast.Name) and node.value.id in ("typing", "t", "abc") else ""
    return node.id if isinstance(node, ast.Name) else ""
