"""A member's search space: dimensions, conditions under which they matter, and constraints between them."""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from runner.config.space import Dimension

Point = Mapping[str, Any]
_OPERATIONS: dict[type, Callable[..., Any]] = {
    ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv, ast.Mod: operator.mod, ast.Pow: operator.pow, ast.USub: operator.neg,
    ast.Not: operator.not_, ast.Eq: operator.eq, ast.NotEq: operator.ne, ast.Lt: operator.lt, ast.LtE: operator.le,
    ast.Gt: operator.gt, ast.GtE: operator.ge, ast.In: lambda value, among: value in among,
    ast.NotIn: lambda value, among: value not in among,
}  # fmt: skip
_LARGEST_POWER = 64


@dataclass(frozen=True, slots=True)
class Constraint:
    """A relation between parameters that every proposed point fulfils, such as `units_1 <= units_0`.

    Args:
        text: as written: comparisons, arithmetic, `and`, `or`, `not`, numbers, texts and lists.
        names: parameters that it names.
    """

    text: str
    names: frozenset[str]
    _body: ast.expr

    @classmethod
    def parse(cls, text: str) -> Constraint:
        """Reads a constraint.

        Raises:
            ValueError: it is not a relation of this kind.
        """
        try:
            body = ast.parse(text, mode="eval").body
        except (SyntaxError, ValueError, RecursionError) as err:
            raise ValueError(f"cannot be read: {getattr(err, 'msg', err)}") from err
        for node in ast.walk(body):
            if not isinstance(node, _ALLOWED):
                what = ast.unparse(node) if isinstance(node, ast.expr) else type(node).__name__
                raise ValueError(f"may have comparisons and arithmetic of parameters only; got {what!r}")
        if not isinstance(body, ast.Compare | ast.BoolOp | ast.UnaryOp):
            raise ValueError("compares nothing; write a relation such as units_1 <= units_0")
        names = frozenset(node.id for node in ast.walk(body) if isinstance(node, ast.Name))
        return cls(text, names, body)

    def holds(self, values: Mapping[str, object]) -> bool:
        """Whether these values fulfil it; false if they cannot be compared, or divide by zero."""
        try:
            return bool(_value(self._body, values))
        except (TypeError, ArithmeticError, ValueError):
            return False


_ALLOWED = (
    ast.Compare, ast.BoolOp, ast.UnaryOp, ast.BinOp, ast.Name, ast.Constant, ast.List, ast.Tuple, ast.Load,
    ast.And, ast.Or, *_OPERATIONS,
)  # fmt: skip


def _value(node: ast.expr, values: Mapping[str, object]) -> Any:
    match node:
        case ast.Name(id=name):
            return values[name]
        case ast.Constant(value=value):
            return value
        case ast.List(elts=items) | ast.Tuple(elts=items):
            return [_value(item, values) for item in items]
        case ast.BoolOp(op=ast.And(), values=parts):
            return all(_value(part, values) for part in parts)
        case ast.BoolOp(values=parts):
            return any(_value(part, values) for part in parts)
        case ast.UnaryOp(op=sign, operand=inner):
            return _OPERATIONS[type(sign)](_value(inner, values))
        case ast.BinOp(left=left, op=sign, right=right):
            one, other = _value(left, values), _value(right, values)
            if isinstance(sign, ast.Pow) and abs(other) > _LARGEST_POWER:
                raise ValueError("the power is too large")
            return _OPERATIONS[type(sign)](one, other)
        case ast.Compare(left=left, ops=signs, comparators=others):
            sides = [_value(side, values) for side in (left, *others)]
            pairs = zip(signs, sides, sides[1:], strict=False)
            return all(_OPERATIONS[type(sign)](one, other) for sign, one, other in pairs)
    raise ValueError(f"not allowed: {ast.dump(node)}")


@dataclass(frozen=True, kw_only=True, slots=True)
class Space:
    """What a member searches.

    Args:
        dimensions: by canonical name; a dimension comes after those that its condition names.
        when: for a dimension that matters only sometimes, the values of others for which it does.
        constraints: that every point fulfils.
        fixed: values of everything that is not searched, and of dimensions that do not matter, by canonical name.
    """

    dimensions: Mapping[str, Dimension]
    when: Mapping[str, Mapping[str, tuple[object, ...]]] = field(default_factory=dict)
    constraints: tuple[Constraint, ...] = ()
    fixed: Mapping[str, object] = field(default_factory=dict)

    @property
    def is_plain(self) -> bool:
        """Whether every combination of values is a different setting."""
        return not self.when and not self.constraints

    def matters(self, name: str, values: Point) -> bool:
        """Whether a dimension matters, given the values of those before it."""
        return all(
            other in values and any(values[other] == value for value in allowed)
            for other, allowed in self.when.get(name, {}).items()
        )

    def active(self, point: Point) -> dict[str, object]:
        """The point without dimensions that do not matter."""
        found: dict[str, object] = {}
        for name in self.dimensions:
            if name in point and self.matters(name, {**self._fixed_conditions, **found}):
                found[name] = point[name]
        return found

    def allows(self, point: Point) -> bool:
        """Whether the point fulfils every constraint; dimensions that do not matter have their fixed values."""
        values = {name.removeprefix("params."): value for name, value in {**self.fixed, **point}.items()}
        return all(constraint.holds(values) for constraint in self.constraints)

    @property
    def _fixed_conditions(self) -> dict[str, object]:
        return {name: value for name, value in self.fixed.items() if name not in self.dimensions}


def key_of(point: Point) -> str:
    """Equal for equal points: 1, 1.0 and True are three values."""
    return repr(sorted(point.items(), key=lambda item: item[0]))
