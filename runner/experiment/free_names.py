"""The names that a function's or a class' text takes from its module, as Python's own compiler scopes them."""

from __future__ import annotations

import ast
import copy
import symtable
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

Function = ast.FunctionDef | ast.AsyncFunctionDef
_COMPREHENSIONS = {"listcomp", "setcomp", "dictcomp", "genexpr"}
_Annotated = Function | ast.AnnAssign | ast.arg


@dataclass(frozen=True, kw_only=True, slots=True)
class FreeNames:
    """The names of a definition that its own scopes do not bind.

    Args:
        needed: each with the line of the text that names it first.
        at_once: those of them that are looked up when the definition itself is executed: in decorators, default
            values, base classes and class bodies.
        later: those that functions look up when they are called.
        annotated: names that annotations look up at once, unless these are not evaluated.
        optional: names of annotations, and of class bodies that bind them too; code may work without them.
        changed: names that a function declares `global` and assigns, each with its line.
    """

    needed: Mapping[str, int]
    at_once: frozenset[str]
    later: frozenset[str]
    annotated: frozenset[str]
    optional: frozenset[str]
    changed: Mapping[str, int]


def free_names(text: str) -> FreeNames:
    """Reads the names of a definition that stands alone in this text.

    Raises:
        SyntaxError: it changes a variable of a function around it, by `nonlocal`.
    """
    tree = ast.parse(text)
    bare = ast.unparse(_Unannotated().visit(copy.deepcopy(tree)))
    module = symtable.symtable(bare, "<definition>", "exec")
    at_once = {symbol.get_name() for symbol in module.get_symbols() if symbol.is_referenced()}
    later, optional, changed = set[str](), set(_annotations(tree)), set[str]()
    for table, runs_at_once in _scopes(module):
        for symbol in table.get_symbols():
            name = symbol.get_name()
            if symbol.is_declared_global() and (symbol.is_assigned() or symbol.is_imported()):
                changed.add(name)
            elif symbol.is_global() and symbol.is_referenced():
                (at_once if runs_at_once else later).add(name)
            elif table.get_type() == "class" and symbol.is_local() and symbol.is_referenced():
                optional.add(name)
    lines, needed = _lines(tree), at_once | later
    return FreeNames(
        needed={name: lines.get(name, 1) for name in sorted(needed, key=lambda one: (lines.get(one, 1), one))},
        at_once=frozenset(at_once),
        later=frozenset(later),
        annotated=frozenset(_annotations(tree, texts=False)),
        optional=frozenset(optional - needed),
        changed={name: lines.get(name, 1) for name in sorted(changed)},
    )


def _scopes(table: symtable.SymbolTable, at_once: bool = True) -> Iterator[tuple[symtable.SymbolTable, bool]]:
    """Every scope below this one, and whether it is executed together with the definition, as class bodies are."""
    for child in table.get_children():
        runs = at_once and (child.get_type() == "class" or child.get_name() in _COMPREHENSIONS)
        yield child, runs
        yield from _scopes(child, runs)


def _lines(tree: ast.AST) -> dict[str, int]:
    """The first line that names each name."""
    found: dict[str, int] = {}
    for node in ast.walk(tree):
        names = [node.id] if isinstance(node, ast.Name) else node.names if isinstance(node, ast.Global) else []
        for name in names:
            line = node.lineno  # type: ignore[attr-defined]
            found[name] = min(line, found.get(name, line))
    return found


def _annotations(tree: ast.AST, *, texts: bool = True) -> Iterator[str]:
    """The names in annotations, also in those that are texts if these are wanted."""
    for node in ast.walk(tree):
        found = getattr(node, "annotation", None) or getattr(node, "returns", None)
        if isinstance(node, _Annotated) and isinstance(found, ast.expr):
            yield from (name for name, in_text in _names(found) if texts or not in_text)


def _names(node: ast.expr) -> Iterator[tuple[str, bool]]:
    """The names of an annotation, and whether each is in a text."""
    for part in ast.walk(node):
        if isinstance(part, ast.Name):
            yield part.id, False
        elif isinstance(part, ast.Constant) and isinstance(part.value, str):
            try:
                yield from ((one.id, True) for one in ast.walk(ast.parse(part.value)) if isinstance(one, ast.Name))
            except SyntaxError:  # a text within Literal["..."]
                continue


class _Unannotated(ast.NodeTransformer):
    """Puts None in the place of every annotation, so that what they bind stays bound."""

    def visit(self, node: ast.AST) -> ast.AST:
        if isinstance(node, ast.AnnAssign | ast.arg) and node.annotation is not None:
            node.annotation = ast.Constant(None)
        elif isinstance(node, Function) and node.returns is not None:
            node.returns = None
        return self.generic_visit(node)
