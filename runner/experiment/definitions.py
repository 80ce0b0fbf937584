"""Finds the source text of functions and classes: in files, in a notebook's cells, wherever `linecache` has lines."""

from __future__ import annotations

import ast
import linecache
import os
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from types import CodeType, FunctionType

from runner.experiment.free_names import Function

_Node = Function | ast.ClassDef
_FUTURE_ANNOTATIONS = 0x1000000  # CO_FUTURE_ANNOTATIONS of Python's Include/cpython/code.h


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
    """

    name: str
    text: str
    node: _Node
    file: str
    shown: str
    postponed: bool

    @property
    def line(self) -> int:
        """Its first line in its file, with decorators."""
        return _first_line(self.node)

    def at(self, line: int) -> str:
        """The place of a line of its text, the first being 1, in its file or cell."""
        return f"{self.shown}{self.line + line - 1}"

    @property
    def is_decorated(self) -> bool:
        """Whether it has decorators."""
        return bool(self.node.decorator_list)


def definition_of(value: FunctionType | type) -> Definition | None:
    """The statement that defines a function or a class; None if nothing has its source."""
    if isinstance(value, type):
        return _of_class(value)
    code = value.__code__
    text = source_of(code.co_filename, value.__globals__)
    for node in (one for one in _statements(text) if isinstance(one, Function)):
        if _first_line(node) == code.co_firstlineno and node.name == code.co_name:
            return _definition(node, text, code, value.__globals__)
    return None


def place_of(value: FunctionType) -> str:
    """File or cell and line of a function, as a person knows them."""
    code = value.__code__
    return f"{_shown(code.co_filename, value.__globals__)}{code.co_firstlineno}"


def source_of(file: str, namespace: Mapping[str, object]) -> str:
    """The text of a file or a cell; empty if there is none."""
    return "".join(linecache.getlines(file, dict(namespace)))


def cells() -> dict[str, str]:
    """The texts that are in no file, such as the cells of a notebook, by their names, the oldest first."""
    entries = {file: entry for file, entry in linecache.cache.items() if len(entry) == 4 and entry[1] is None}
    return {file: "".join(entry[2]) for file, entry in entries.items()}


@lru_cache(maxsize=256)
def parsed(text: str) -> ast.Module:
    """The syntax of a text; of nothing if it is not valid Python."""
    try:
        return ast.parse(text)
    except (SyntaxError, ValueError):
        return ast.Module(body=[], type_ignores=[])


def _of_class(value: type) -> Definition | None:
    methods = [part.__code__ for part in vars(value).values() if isinstance(part, FunctionType)]
    own = [code for code in methods if code.co_qualname.startswith(f"{value.__qualname__}.")]
    namespace = vars(sys.modules[value.__module__]) if value.__module__ in sys.modules else {}
    for file, text in _texts_with(value, own, namespace):
        nodes = [node for node in _statements(text) if isinstance(node, ast.ClassDef) and node.name == value.__name__]
        lines = [code.co_firstlineno for code in own if code.co_filename == file]
        fitting = [
            node for node in nodes
            if all(node.lineno <= line <= (node.end_lineno or 0) for line in lines) and _names_in(node) <= {*_of(value)}
        ]  # fmt: skip
        if fitting:
            return _definition(fitting[-1], text, own[0] if own else None, namespace, file)
    return None


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


def _of(value: type) -> Iterator[str]:
    yield from vars(value)
    yield from getattr(value, "__annotations__", {})
    yield from getattr(value, "__slots__", ())


def _names_in(node: ast.ClassDef) -> set[str]:
    """The functions and classes that a class' body defines."""
    names = [part.name for part in node.body if isinstance(part, _Node)]
    return {f"_{node.name.lstrip('_')}{name}" if _is_private(name) else name for name in names}


def _is_private(name: str) -> bool:
    return name.startswith("__") and not name.endswith("__")


def _statements(text: str) -> list[_Node]:
    return [node for node in ast.walk(parsed(text)) if isinstance(node, _Node)]


def _first_line(node: _Node) -> int:
    return min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])


def _definition(
    node: _Node, text: str, code: CodeType | None, namespace: Mapping[str, object], file: str = ""
) -> Definition:
    file = code.co_filename if code is not None else file
    postponed = code is not None and bool(code.co_flags & _FUTURE_ANNOTATIONS)
    return Definition(
        name=node.name,
        text=_without_indentation(node, text),
        node=node,
        file=file,
        shown=_shown(file, namespace),
        postponed=postponed or re.search(r"^from __future__ import .*\bannotations\b", text, re.MULTILINE) is not None,
    )


def _without_indentation(node: _Node, text: str) -> str:
    """The statement's lines; those that begin within a text constant stay as they are, because they are its content."""
    first, last = _first_line(node), node.end_lineno or node.lineno
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


def _shown(file: str, namespace: Mapping[str, object]) -> str:
    """What a person calls a file or a cell, so that only a line is missing: `train.py:`, `Cell In[3], line `."""
    if Path(file).is_file():
        relative = os.path.relpath(file)
        return f"{file if relative.startswith('..') else relative}:"
    label = _label(file, namespace)
    return f"{label}, line " if label else f"{file}:"


def _label(file: str, namespace: Mapping[str, object]) -> str:
    """How IPython names a cell, such as `Cell In[3]`; empty if there is no IPython or it does not know the file."""
    shell = namespace.get("get_ipython")
    compiler = getattr(getattr(shell() if callable(shell) else None, "compile", None), "format_code_name", None)
    name: Callable[[str], tuple[str, str] | None] = compiler if callable(compiler) else lambda _: None
    return " ".join(name(file) or ())
