"""The statements of a text that bind, change or delete the names of its module."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache

from runner.experiment.texts import Node, first_line, parsed

_Loop = ast.For | ast.AsyncFor | ast.While
_VARYING = ast.Name | ast.Call | ast.Lambda | ast.Await | ast.Yield | ast.YieldFrom
_Span = tuple[int, int] | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Binding:
    """A statement that binds a name, or changes what it stands for.

    Args:
        line: of its text.
        what: `bind`; `change` if it sets an attribute or an item, or registers something; `call` if it calls a method.
        statement: it.
        same: its syntax, if doing it again gives the same; empty if that is not known.
        loop: first and last line of the loop around it.
    """

    line: int
    what: str
    statement: ast.AST
    same: str
    loop: _Span


@lru_cache(maxsize=2048)
def bindings(text: str) -> Mapping[str, tuple[Binding, ...]]:
    """What a text does to each name of its module."""
    found: dict[str, list[Binding]] = {}
    for name, one in _of_statements(parsed(text).body, None):
        found.setdefault(name, []).append(one)
    return {name: tuple(several) for name, several in found.items()}


def local_names(function: Node) -> frozenset[str]:
    """The variables of a function."""
    if isinstance(function, ast.ClassDef):
        return frozenset()
    arguments = function.args
    named = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs, arguments.vararg, arguments.kwarg]
    bound = {name for name, one in _of_statements(function.body, None) if one.what == "bind"}
    outer = {name for part in ast.walk(function) if isinstance(part, ast.Global | ast.Nonlocal) for name in part.names}
    return frozenset((bound | {one.arg for one in named if one is not None}) - outer)


def _of_statements(body: list[ast.stmt], loop: _Span) -> Iterator[tuple[str, Binding]]:
    for statement in body:
        yield from _of_statement(statement, loop)
        inner = (statement.lineno, statement.end_lineno or 0) if isinstance(statement, _Loop) and not loop else loop
        if isinstance(statement, Node):
            continue
        for child in ast.iter_child_nodes(statement):
            if isinstance(child, ast.ExceptHandler | ast.match_case):
                yield from _of_statements(child.body, inner)
        for part in ("body", "orelse", "finalbody"):
            yield from _of_statements(getattr(statement, part, []), inner)


def _of_statement(statement: ast.stmt, loop: _Span) -> Iterator[tuple[str, Binding]]:
    def made(name: str, what: str, same: str = "", line: int | None = None) -> tuple[str, Binding]:
        line = statement.lineno if line is None else line
        return name, Binding(line=line, what=what, statement=statement, same=same, loop=loop)

    if isinstance(statement, Node):
        yield made(statement.name, "bind", ast.dump(statement), first_line(statement))
        for decorator in statement.decorator_list:
            called = decorator.func if isinstance(decorator, ast.Call) else decorator
            if isinstance(called, ast.Attribute) and (root := root_of(called)):
                yield made(root, "change", line=decorator.lineno)
    elif isinstance(statement, ast.Import | ast.ImportFrom):
        for alias in statement.names:
            module = getattr(statement, "module", "")
            yield made(alias.asname or alias.name.partition(".")[0], "bind", f"{module}:{ast.dump(alias)}")
    else:
        yield from (made(name, "bind", _same(statement)) for name in _stored(statement))
        yield from (made(*one) for one in _changed(statement))
    for part in ast.walk(statement):  # functions that assign globals
        names = part.names if isinstance(part, ast.Global) and isinstance(statement, Node) else []
        yield from (made(name, "bind", line=part.lineno) for name in names)  # type: ignore[attr-defined]


def _same(statement: ast.stmt) -> str:
    """The syntax of an assignment of a value that constants and operators give."""
    if not isinstance(statement, ast.Assign | ast.AnnAssign) or statement.value is None:
        return ""
    is_constant = not any(isinstance(part, _VARYING) for part in ast.walk(statement.value))
    return ast.dump(statement) if is_constant else ""


def _own(statement: ast.AST) -> Iterator[ast.AST]:
    """The expressions of a statement itself: not of those within it, nor of functions and comprehensions."""
    for child in ast.iter_child_nodes(statement):
        if not isinstance(child, ast.stmt | ast.ExceptHandler | ast.match_case | ast.Lambda | ast.comprehension):
            yield child
            yield from _own(child)


def _stored(statement: ast.stmt) -> Iterator[str]:
    for part in _own(statement):
        if isinstance(part, ast.Name) and isinstance(part.ctx, ast.Store | ast.Del):
            yield part.id
    for child in ast.iter_child_nodes(statement):
        if isinstance(child, ast.ExceptHandler) and child.name:
            yield child.name
        if isinstance(child, ast.match_case):
            for part in ast.walk(child.pattern):
                name = getattr(part, "name", None) or getattr(part, "rest", None)
                yield from [name] if isinstance(name, str) else []


def _changed(statement: ast.stmt) -> Iterator[tuple[str, str]]:
    """Names of what a statement changes in place, and how."""
    for part in _own(statement):
        if isinstance(part, ast.Attribute | ast.Subscript) and isinstance(part.ctx, ast.Store | ast.Del):
            yield from [(root, "change")] if (root := root_of(part)) else []
    if isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Call):
        called, arguments = statement.value.func, statement.value.args
        if isinstance(called, ast.Name) and called.id in ("setattr", "delattr") and arguments:
            yield from [(root, "change")] if (root := root_of(arguments[0])) else []
        elif isinstance(called, ast.Attribute) and (root := root_of(called)):
            yield root, "change" if called.attr == "register" else "call"


def changed_in(function: Node) -> set[str]:
    """The names whose values a function changes in place."""
    found: set[str] = set()
    for part in ast.walk(function):
        if isinstance(part, ast.stmt) and not isinstance(part, Node):
            found |= {name for name, _ in _changed(part)}
    return found


def root_of(node: ast.expr) -> str:
    """The first name of `a.b[c].d`; empty if it has none."""
    while isinstance(node, ast.Attribute | ast.Subscript):
        node = node.value
    return node.id if isinstance(node, ast.Name) else ""
