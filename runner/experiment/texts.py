"""Texts of files and of a notebook's cells, wherever `linecache` has lines, and the code that they compile to."""

from __future__ import annotations
import __future__

import ast
import linecache
import os
import re
from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import CodeType

from runner.experiment.free_names import Function

Node = Function | ast.ClassDef
_FUTURE = {name: getattr(__future__, name).compiler_flag for name in __future__.all_feature_names}
_FUTURE_FLAGS = sum(set(_FUTURE.values()) - {_FUTURE["nested_scopes"]})  # nested_scopes is CO_NESTED, no option


def source_of(file: str, namespace: Mapping[str, object]) -> str:
    """The text that a file has now, or a cell; empty if there is none."""
    linecache.checkcache(file)
    return "".join(linecache.getlines(file, dict(namespace)))


def cells() -> dict[str, str]:
    """The texts that are in no file, such as the cells of a notebook, by their names, the oldest first."""
    entries = {file: entry for file, entry in linecache.cache.items() if len(entry) == 4 and entry[1] is None}
    return {file: "".join(entry[2]) for file, entry in entries.items()}


def runs(namespace: Mapping[str, object]) -> dict[str, tuple[int, int]]:
    """When each cell ran last, as a number that sorts: IPython's own if it has one."""
    numbers = {file: re.search(r"\[(\d+)\]", _label(file, namespace)) for file in cells()}
    return {file: (int(found[1]) if found else -1, index) for index, (file, found) in enumerate(numbers.items())}


@lru_cache(maxsize=2048)
def parsed(text: str) -> ast.Module:
    """The syntax of a text; of nothing if it is not valid Python."""
    try:
        return ast.parse(text)
    except (SyntaxError, ValueError, RecursionError):
        return ast.Module(body=[], type_ignores=[])


def statements(text: str) -> Iterator[tuple[Node, str, tuple[Node, ...]]]:
    """The functions and classes that a text defines, each with its qualified name and the ones around it."""
    yield from _statements(parsed(text), "", ())


def _statements(tree: ast.AST, prefix: str, around: tuple[Node, ...]) -> Iterator[tuple[Node, str, tuple[Node, ...]]]:
    for child in ast.iter_child_nodes(tree):
        if isinstance(child, Node):
            yield child, prefix + child.name, around
            inner = f"{prefix}{child.name}." + ("" if isinstance(child, ast.ClassDef) else "<locals>.")
            yield from _statements(child, inner, (*around, child))
        else:
            yield from _statements(child, prefix, around)


def first_line(node: Node) -> int:
    """The line at which a definition begins, with its decorators."""
    return min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])


def gives(text: str, code: CodeType, namespace: Mapping[str, object]) -> bool:
    """Whether a text, compiled, has this code at its place.

    A loader of its own kind may have added to the code, as pytest's does to `assert`.
    """
    is_as_written = type(namespace.get("__loader__")) in (SourceFileLoader, type(None)) or code.co_filename in cells()
    matches = _is_same if is_as_written else _is_within
    places = _codes(text, code.co_filename, code.co_flags & _FUTURE_FLAGS).get((code.co_name, code.co_firstlineno), [])
    return any(matches(one, code) for one in places)


@lru_cache(maxsize=64)
def _codes(text: str, file: str, flags: int) -> Mapping[tuple[str, int], list[CodeType]]:
    """The code of everything in a text, by name and first line.

    IPython compiles each statement of a cell by itself. That gives other code, because Python calls the functions of a
    module otherwise if the same text imports the module.
    """
    found: dict[tuple[str, int], list[CodeType]] = {}
    tree = parsed(text)
    parts = [tree, *(ast.Module(body=[statement], type_ignores=[]) for statement in tree.body)]
    flags |= ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
    waiting = [code for part in parts if (code := _compiled(part, file, flags)) is not None]
    while waiting:
        code = waiting.pop()
        found.setdefault((code.co_name, code.co_firstlineno), []).append(code)
        waiting += [part for part in code.co_consts if isinstance(part, CodeType)]
    return found


def _compiled(tree: ast.Module, file: str, flags: int) -> CodeType | None:
    try:
        code: CodeType = compile(tree, file, "exec", flags, dont_inherit=True)
    except (SyntaxError, ValueError, RecursionError):
        return None
    return code


def _is_same(one: CodeType, other: CodeType) -> bool:
    """Whether two codes do the same; their lines do not matter."""
    parts = ("co_code", "co_names", "co_varnames", "co_freevars", "co_cellvars")
    if any(getattr(one, part) != getattr(other, part) for part in parts):
        return False
    return len(one.co_consts) == len(other.co_consts) and all(
        _is_same(a, b) if isinstance(a, CodeType) and isinstance(b, CodeType) else repr(a) == repr(b)
        for a, b in zip(one.co_consts, other.co_consts, strict=True)
    )


def _is_within(one: CodeType, other: CodeType) -> bool:
    """Whether a code has all names and plain constants of another."""
    plain = [{repr(part) for part in code.co_consts if not isinstance(part, CodeType)} for code in (one, other)]
    names = all({*getattr(one, part)} <= {*getattr(other, part)} for part in ("co_names", "co_varnames"))
    return names and plain[0] <= plain[1]


def shown(file: str, namespace: Mapping[str, object]) -> str:
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
