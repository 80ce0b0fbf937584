"""Finds the statements that define functions and classes."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import CodeType, FunctionType

from runner.experiment.attributes import may_define
from runner.experiment.bindings import local_names
from runner.experiment.texts import Node, cells, first_line, gives, parsed, shown, source_of, statements

_FUTURE_ANNOTATIONS = 0x1000000  # CO_FUTURE_ANNOTATIONS of Python's Include/cpython/code.h


class NoDefinitionError(ValueError):
    """No statement is known to give a function or a class; the message says why, empty if there is no source."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Definition:
    """A `def` or `class` statement.

    Args:
        name: which it defines.
        text: the statement with its decorators and comments, without the indentation that it has in its file.
        node: the statement as syntax, with lines of its file.
        file: the name of its file or cell, as Python's code objects have it.
        shown: its file or cell as a person knows it, to be followed by a line.
        postponed: its annotations are not evaluated (`from __future__ import annotations`).
        around: the variables of the functions around it.
        in_cell: it is in a cell of a notebook.
    """

    name: str
    text: str
    node: Node
    file: str
    shown: str
    postponed: bool
    around: frozenset[str]
    in_cell: bool

    @property
    def line(self) -> int:
        """Its first line in its file, with decorators."""
        return first_line(self.node)

    def at(self, line: int) -> str:
        """The place of a line of its text, the first being 1, in its file or cell."""
        return f"{self.shown}{self.line + line - 1}"

    @property
    def origin(self) -> str:
        """Its place, without the number of a cell, which changes when the cell runs again unchanged."""
        return f"a cell, line {self.line}" if self.in_cell else self.at(1)

    @property
    def is_decorated(self) -> bool:
        """Whether it has decorators."""
        return bool(self.node.decorator_list)


def definition_of(value: FunctionType | type) -> Definition:
    """The statement that defines a function or a class.

    Raises:
        NoDefinitionError: nothing has its source, or the source has changed since.
    """
    if isinstance(value, type):
        return _of_class(value)
    code, namespace = value.__code__, value.__globals__
    text = source_of(code.co_filename, namespace)
    for node, _, around in statements(text):
        if isinstance(node, ast.ClassDef) or node.name != code.co_name or first_line(node) != code.co_firstlineno:
            continue
        if gives(text, code, namespace):
            return _definition(node, around, text, code.co_filename, namespace, code)
    is_there = any(node.name == code.co_name for node, *_ in statements(text))
    raise NoDefinitionError(_edited(code.co_filename, namespace) if is_there else "")


def _edited(file: str, namespace: Mapping[str, object]) -> str:
    where = shown(file, namespace).removesuffix(":").removesuffix(", line ")
    return f"{where} was edited since it was imported; reload it or run the cell again"


def _of_class(value: type) -> Definition:
    methods = [part.__code__ for part in vars(value).values() if isinstance(part, FunctionType)]
    own = [code for code in methods if code.co_qualname.startswith(f"{value.__qualname__}.")]
    own = [code for code in own if not code.co_filename.startswith("<string>")]  # those that dataclass makes
    namespace = vars(sys.modules[value.__module__]) if value.__module__ in sys.modules else {}
    found: list[Definition] = []
    is_named = False
    for file, text in _texts_with(value, own, namespace):
        lines = [code.co_firstlineno for code in own if code.co_filename == file]
        for node, name, around in statements(text):
            if not isinstance(node, ast.ClassDef) or name != value.__qualname__:
                continue
            is_named = True
            if not all(node.lineno <= line <= (node.end_lineno or 0) for line in lines) or not may_define(node, value):
                continue
            if all(gives(text, code, namespace) for code in own if code.co_filename == file):
                found.append(_definition(node, around, text, file, namespace, own[0] if own else None))
    if not found:
        reason = "its text does not give it, because one of them was changed after its definition; define it again"
        raise NoDefinitionError(reason if is_named else "")
    if len({ast.dump(one.node) for one in found}) > 1:
        places = " and ".join(sorted({one.at(1) for one in found}))
        raise NoDefinitionError(f"its text may be at {places}; give each class a name of its own")
    return found[0]


def _texts_with(value: type, own: list[CodeType], namespace: Mapping[str, object]) -> Iterator[tuple[str, str]]:
    """Texts that may define a class: of its methods, else of its module and of the cells, the newest first."""
    if own:
        file = own[0].co_filename
        yield file, source_of(file, namespace)
        return
    module = getattr(sys.modules.get(value.__module__), "__file__", None)
    if module is not None:
        yield module, source_of(module, namespace)
    yield from reversed(cells().items())


def _definition(
    node: Node, around: tuple[Node, ...], text: str, file: str, namespace: Mapping[str, object], code: CodeType | None
) -> Definition:
    postponed = code is not None and bool(code.co_flags & _FUTURE_ANNOTATIONS)
    return Definition(
        name=node.name,
        text=_without_indentation(node, text),
        node=node,
        file=file,
        shown=shown(file, namespace),
        postponed=postponed or re.search(r"^from __future__ import .*\bannotations\b", text, re.MULTILINE) is not None,
        around=frozenset[str]().union(*map(local_names, around)),
        in_cell=file in cells(),
    )


def _without_indentation(node: Node, text: str) -> str:
    """The statement's lines; those that begin within a text constant stay as they are, because they are its content."""
    first, last = first_line(node), node.end_lineno or node.lineno
    within: set[int] = set()
    for part in ast.walk(node):
        if isinstance(part, ast.JoinedStr) or (isinstance(part, ast.Constant) and isinstance(part.value, str | bytes)):
            within |= set(range(part.lineno + 1, (part.end_lineno or part.lineno) + 1))
    lines = text.split("\n")[first - 1 : last]
    indentation = lines[0][: len(lines[0]) - len(lines[0].lstrip())]
    shorter = [
        line if number in within else line.removeprefix(indentation) if line.strip() else ""
        for number, line in enumerate(lines, start=first)
    ]
    found = "\n".join(shorter)
    same = ast.dump(parsed(found)) == ast.dump(ast.Module(body=[node], type_ignores=[]))
    return found if same else ast.unparse(node)
