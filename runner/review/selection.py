"""Which rows and columns of a table are wanted, and in which order."""

from __future__ import annotations

import difflib
import operator
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from runner.errors import ConfigError
from runner.review.tables import Table

_CONDITION = re.compile(r"\s*(?P<name>[\w./-]+?)\s*(?P<sign><=|>=|!=|==|=|<|>|~)\s*(?P<value>.*?)\s*")
_WORDS = {"true": True, "false": False, "none": None, "null": None}
_ORDERS: dict[str, Callable[[float, float], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Selection:
    """What is wanted of a table.

    Args:
        filters: conditions, all of which must hold: a column, one of `<`, `<=`, `>`, `>=`, `=`, `!=` or `~` (contains),
            and a value, such as "units>64" or "status=complete".
        sort: a column, with "-" before it for the largest first; None for the table's own order.
        columns: their names; empty for all.

    Raises:
        ConfigError: a condition has no such form.
    """

    filters: tuple[str, ...] = ()
    sort: str | None = None
    columns: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        problems = [
            f"filter {text!r}: is no condition; give a column, one of < <= > >= = != ~ and a value, as in 'units>64'"
            for text in self.filters
            if not _CONDITION.fullmatch(text)
        ]
        problems += [
            f"filter {text!r}: {found['sign'] + found['value'][:1]} is none of < <= > >= = != ~"
            for text in self.filters
            if (found := _CONDITION.fullmatch(text)) and found["value"].startswith(("<", ">", "=", "!", "~"))
        ]
        if problems:
            raise ConfigError(problems)

    def of(self, table: Table) -> Table:
        """The rows and columns that are wanted.

        Raises:
            ConfigError: the table has no such column, or a condition compares what has no order.
        """
        rows = table.rows
        for condition in self.filters:
            rows = [row for row in rows if _holds(condition, table.header, row)]
        if self.sort is not None:
            name = self.sort.removeprefix("-")
            rows = _in_order(rows, _index(name, table.header, "sort"), descending=self.sort.startswith("-"))
        if not self.columns:
            return Table(table.header, rows)
        wanted = [_index(name, table.header, "columns") for name in self.columns]
        return Table([table.header[index] for index in wanted], [[row[index] for index in wanted] for row in rows])


def _index(name: str, header: Sequence[str], option: str) -> int:
    if name in header:
        return header.index(name)
    close = difflib.get_close_matches(name, header, n=1)
    hint = f"did you mean {close[0]}?" if close else f"there are {', '.join(header)}"
    raise ConfigError(f"{option} {name!r}: there is no such column; {hint}")


def _holds(condition: str, header: Sequence[str], row: Sequence[object]) -> bool:
    found = _CONDITION.fullmatch(condition)
    assert found is not None, condition  # checked when the selection was made
    name, sign, text = found["name"], found["sign"], found["value"]
    value, wanted = row[_index(name, header, "filter")], _scalar(text)
    if sign == "~":
        return value is not None and text.lower() in str(value).lower()
    if sign in ("=", "==", "!="):
        is_equal = value == wanted or (value is not None and str(value) == text)
        return is_equal != (sign == "!=")
    if not _is_number(wanted):
        several = any(mark in text for mark in ("<", ">", "=", " and ", ","))
        hint = "give each condition a --filter of its own" if several else "use = or ~"
        raise ConfigError(f"filter {condition!r}: {sign} compares numbers, and {text!r} is none; {hint}")
    return _is_number(value) and _ORDERS[sign](value, wanted)  # type: ignore[arg-type]


def _scalar(text: str) -> object:
    """A number, true, false or none if it is written so; else the text itself."""
    if text.lower() in _WORDS:
        return _WORDS[text.lower()]
    try:
        return float(text)
    except ValueError:
        return text


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _in_order(rows: Sequence[list[object]], index: int, *, descending: bool) -> list[list[object]]:
    """Rows by one column: numbers by size, then texts by the alphabet; rows without a value are last either way."""

    def key(row: list[object]) -> tuple[bool, float, str]:
        value = row[index]
        return not _is_number(value), float(value) if _is_number(value) else 0.0, str(value)  # type: ignore[arg-type]

    known, unknown = list[list[object]](), list[list[object]]()
    for row in rows:
        value = row[index]
        (unknown if value is None or value != value else known).append(row)  # NaN has no place in an order
    return [*sorted(known, key=key, reverse=descending), *unknown]
