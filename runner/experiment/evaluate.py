"""What an expression gives now, as far as that is known without running the user's code."""

from __future__ import annotations

import ast
import builtins
import enum
import operator
from collections.abc import Callable, Mapping
from pathlib import PurePath
from types import ModuleType

_BINARY = {
    ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv, ast.Mod: operator.mod,
}  # fmt: skip
_UNARY: dict[type[ast.unaryop], Callable[..., object]] = {
    ast.UAdd: operator.pos,
    ast.USub: operator.neg,
    ast.Not: operator.not_,
    ast.Invert: operator.invert,
}
_NUMBERS = (bool, int, float, complex)
_CALLED = {"int", "float", "str", "len", "min", "max", "abs", "sum", "tuple", "list", "set", "dict", "range", "round"}
_LARGEST = 10_000
_PLAIN = (*_NUMBERS, str, bytes, type(None), tuple, list, set, frozenset, dict, range)


class UnknownError(Exception):
    """The value is not known without running the expression."""


def evaluate(node: ast.expr, scope: Mapping[str, object]) -> object:
    """The value of an expression of plain values, names, attributes and a few harmless functions.

    Raises:
        UnknownError: it is more than that, or it fails.
    """
    try:
        return _evaluate(node, scope)
    except UnknownError:
        raise
    except Exception as err:  # whatever the operators of plain values raise, such as a division by zero
        raise UnknownError(str(err)) from err


def _evaluate(node: ast.expr, scope: Mapping[str, object]) -> object:
    match node:
        case ast.Constant():
            return node.value
        case ast.Name():
            return _name(node.id, scope)
        case ast.Attribute():
            return _attribute(_evaluate(node.value, scope), node.attr)
        case ast.Tuple() | ast.List() | ast.Set():
            kind = {ast.Tuple: tuple, ast.List: list, ast.Set: set}[type(node)]
            return kind([_evaluate(part, scope) for part in node.elts])
        case ast.Dict():
            keys = [_evaluate(key, scope) if key is not None else _unknown() for key in node.keys]
            return dict(zip(keys, [_evaluate(part, scope) for part in node.values], strict=True))
        case ast.UnaryOp():
            return _UNARY[type(node.op)](_plain(_evaluate(node.operand, scope)))
        case ast.BinOp():
            return _binary(type(node.op), _evaluate(node.left, scope), _evaluate(node.right, scope))
        case ast.IfExp():
            return _evaluate(node.body if _plain(_evaluate(node.test, scope)) else node.orelse, scope)
        case ast.Subscript():
            return _plain(_evaluate(node.value, scope))[_plain(_evaluate(node.slice, scope))]
        case ast.Call(func=ast.Name(id=name)) if name in _CALLED and _name(name, scope) is getattr(builtins, name):
            return _call(name, node, scope)
    return _unknown()


def _call(name: str, node: ast.Call, scope: Mapping[str, object]) -> object:
    if any(word.arg is None for word in node.keywords):
        return _unknown()
    values = [_plain(_evaluate(part, scope)) for part in node.args]
    if any(isinstance(one, range) and len(one) > _LARGEST for one in values):
        return _unknown()
    return getattr(builtins, name)(
        *values, **{str(one.arg): _plain(_evaluate(one.value, scope)) for one in node.keywords}
    )


def _name(name: str, scope: Mapping[str, object]) -> object:
    if name in scope:
        return scope[name]
    return getattr(builtins, name) if hasattr(builtins, name) else _unknown()


def _attribute(value: object, name: str) -> object:
    """Of modules, classes and members of an Enum: others may run code."""
    if isinstance(value, enum.Enum) and name in ("name", "value"):
        return value.name if name == "name" else value.value
    if isinstance(value, enum.EnumMeta) and name in value.__members__:
        return value.__members__[name]
    if isinstance(value, ModuleType) and name in vars(value):
        return vars(value)[name]
    if isinstance(value, type):
        found = [vars(kind)[name] for kind in value.__mro__ if name in vars(kind)]
        if found and not hasattr(type(found[0]), "__get__"):
            return found[0]
    return _unknown()


def _binary(kind: type[ast.operator], left: object, right: object) -> object:
    if kind is ast.Div and isinstance(left, PurePath) and isinstance(right, str | PurePath):
        return left / right
    numbers = all(type(one) in _NUMBERS for one in (left, right))
    texts = kind is ast.Add and type(left) is type(right) and type(left) in (str, tuple, list)
    if kind is ast.Pow and numbers and all(abs(one) < 100 for one in (left, right)):  # type: ignore[arg-type]
        return operator.pow(left, right)
    if kind is ast.Mult and type(left) in (str, tuple, list) and type(right) is int and right < _LARGEST:
        return operator.mul(left, right)
    return _BINARY[kind](left, right) if kind in _BINARY and (numbers or texts) else _unknown()


def _plain(value: object):  # type: ignore[no-untyped-def]
    return value if type(value) in _PLAIN else _unknown()


def _unknown() -> object:
    raise UnknownError
