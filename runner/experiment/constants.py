"""Plain values as Python expressions."""

from __future__ import annotations

import math
import pathlib
from collections.abc import Iterator, Mapping
from pathlib import PurePath

MAX_LENGTH = 100_000
MAX_DEPTH = 80  # Python's parser takes about 200 nested brackets
_SIMPLE = (type(None), bool, int, str, bytes, range, type(...))
_NAMED = (complex, range, frozenset)
_SHAPES: dict[type, str] = {tuple: "({})", list: "[{}]", set: "{{{}}}", frozenset: "frozenset({{{}}})", dict: "{{{}}}"}


class NotPlainError(ValueError):
    """A value that no expression of plain values gives.

    Args:
        where: its place within what was to be written, such as `["model"]`; empty for the whole.
        value: what cannot be written.
    """

    def __init__(self, where: str, value: object) -> None:
        super().__init__(where)
        self.where, self.value = where, value


def expression(value: object) -> str:
    """A Python expression that gives an equal value.

    Plain are None, bool, int, float, complex, str, bytes, range and `...`, paths of pathlib (as `pathlib.Path`), and
    tuples, lists, sets and dicts of plain values. Subclasses are not: they carry more than their value.

    Raises:
        NotPlainError: the value, or one that it holds, is not plain.
        OverflowError: the expression has more than `MAX_LENGTH` characters.
    """
    text = _expression(value, "", {})
    if len(text) > MAX_LENGTH:
        raise OverflowError(len(text))
    return text


def is_same(one: object, other: object) -> bool:
    """Whether two values are one object, or plain and equal."""
    if one is other:
        return True
    try:
        return type(one) is type(other) and expression(one) == expression(other)
    except (NotPlainError, OverflowError):
        return False


def needed_names(value: object) -> Mapping[str, object]:
    """What the expression of a plain value names: pathlib, and kinds of values that have no syntax of their own."""
    found: dict[str, object] = {"pathlib": pathlib} if isinstance(value, PurePath) else {}
    found |= {type(value).__name__: type(value)} if type(value) in _NAMED else {}
    for _, part in _parts(value) if type(value) in _SHAPES else ():
        found |= needed_names(part)
    return found


def _expression(value: object, where: str, around: Mapping[int, None]) -> str:
    kind = type(value)
    if isinstance(value, float) and kind is float:
        return _float(value)
    if isinstance(value, complex) and kind is complex:
        return f"complex({_float(value.real)}, {_float(value.imag)})"
    if kind in _SIMPLE:
        try:
            return "..." if value is ... else repr(value)
        except ValueError as err:  # Python writes no int of more than 4300 digits
            raise NotPlainError(where, value) from err
    if isinstance(value, PurePath) and kind.__module__.startswith("pathlib"):
        return f"pathlib.Path({str(value)!r})"
    if kind not in _SHAPES or id(value) in around:
        raise NotPlainError(where, value)
    if len(around) >= MAX_DEPTH:
        raise NotPlainError("" if not where else where[:60] + "...", value)
    parts = [_expression(part, f"{where}{place}", {**around, id(value): None}) for place, part in _parts(value)]
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {part}" for key, part in zip(parts[::2], parts[1::2], strict=True)) + "}"
    if not parts and kind in (set, frozenset):
        return "{*()}" if kind is set else "frozenset()"
    return _SHAPES[kind].format(", ".join(parts) + "," * (kind is tuple and len(parts) == 1))


def _float(value: float) -> str:
    """By digits alone, because the user may have given the name `float` to something else."""
    if math.isnan(value):
        return "(1e999 - 1e999)"
    return repr(value) if math.isfinite(value) else "1e999" if value > 0 else "-1e999"


def _parts(value: object) -> Iterator[tuple[str, object]]:
    """The values that a container holds, with their places; of a dict its keys too."""
    if isinstance(value, dict):
        for key, part in value.items():
            yield " key", key
            yield f"[{key!r}]"[:60], part
    elif isinstance(value, list | tuple):
        yield from ((f"[{index}]", part) for index, part in enumerate(value))
    elif isinstance(value, set | frozenset):
        yield from (("", part) for part in sorted(value, key=repr))
