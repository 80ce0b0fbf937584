"""Finds the place in an experiment's code that a message is about: file, line, function, and the line itself."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from pathlib import Path

from runner.records import Failure, Source

_DEFINITIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)


def located(source: Source, failure: Failure) -> str:
    """The failure as `file:line: function: message`, with the line of code below.

    A failure may have no frame in the experiment's code, because Keras or this program noticed what is wrong. Then the
    place is where the function hands over what failed: the `return` of `load_data`, the `compile` of `build_model`.
    """
    texts = _texts(source)
    place, _, _ = failure.place.partition(", in ")  # the name of the function is found with its class
    place = place or _handover(source, failure)
    file, _, number = place.rpartition(":")
    if file not in texts or not number.isdigit():
        return f"{source.path}: {failure.message}"
    line = int(number)
    function = _function_at(ast.parse(texts[file]), line) if _is_python(texts[file]) else ""
    code = (texts[file].splitlines()[line - 1 : line] or [""])[0].strip()
    return f"{file}:{line}: {f'{function}: ' if function else ''}{failure.message}\n    {line} | {code}"


def place_of_definition(source: Source, name: str) -> str:
    """File and line of a class or function of the experiment; empty if its code defines none of this name."""
    for file, text in _texts(source).items():
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, _DEFINITIONS) and node.name == name:
                return f"{file}:{node.lineno}"
    return ""


def _texts(source: Source) -> Mapping[str, str]:
    """The texts of its files, by the names that messages have for them."""
    return {
        source.path if name == source.module else str(Path(source.path).parent / name): text
        for name, text in source.files
    }


def _is_python(text: str) -> bool:
    try:
        ast.parse(text)
    except (SyntaxError, ValueError):  # a file beside the experiment that is imported
        return False
    return True


def _handover(source: Source, failure: Failure) -> str:
    name = "load_data" if failure.kind == "data" else "build_model"
    compiled = name == "build_model" and "build_model returned" not in failure.message
    for node in ast.walk(ast.parse(source.files[0][1])):
        if isinstance(node, ast.FunctionDef) and node.name == name:
            returns = [inner.lineno for inner in ast.walk(node) if isinstance(inner, ast.Return)]
            compiles = [call.lineno for call in _compiles(node)] if compiled else []
            return f"{source.path}:{max(compiles or returns or [node.lineno])}"
    return ""


def _compiles(function: ast.FunctionDef) -> Iterator[ast.Call]:
    for node in ast.walk(function):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "compile":
            yield node


def _function_at(tree: ast.AST, line: int) -> str:
    """The innermost definition around a line by its qualified name; empty at the top of a file."""
    return ".".join(_around(tree, line))


def _around(tree: ast.AST, line: int) -> Iterator[str]:
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.stmt | ast.excepthandler | ast.match_case) and _covers(node, line):
            if isinstance(node, _DEFINITIONS):
                yield node.name
            yield from _around(node, line)


def _covers(node: ast.AST, line: int) -> bool:
    first, last = getattr(node, "lineno", None), getattr(node, "end_lineno", None)
    return first is None or last is None or first <= line <= last
