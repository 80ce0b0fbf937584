"""Search spaces, and the grammar of values that the command line and `search.space` share."""

from __future__ import annotations

import inspect
import math
import re
from collections.abc import Callable
from dataclasses import dataclass

import yaml

from runner.config import hints
from runner.config.yaml_nodes import CANNOT_BE_READ, MAX_LENGTH, ArgumentLoader, bracket_depth, parse, plain

MAX_VALUES = 10_000  # most values of one dimension: expanding more would only exhaust memory
MAX_DEPTH = 20  # brackets within brackets
FORMS = "a list such as [32, 64], choice(a, b), range(start, stop, step), interval(low, high) or loguniform(low, high)"
_CALL = re.compile(r"([A-Za-z_][\w.]*)\s*\((.*)\)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Choice:
    """Finitely many values, at least one, in the order written."""

    values: tuple[object, ...]


@dataclass(frozen=True, slots=True)
class Uniform:
    """A float between two bounds.

    Args:
        low: smallest value.
        high: largest value, above `low`.
        log: uniform in the logarithm; `low` is then positive.
    """

    low: float
    high: float
    log: bool = False


Dimension = Choice | Uniform


def parse_value(text: str) -> object:
    """Reads one value: YAML in which `a, b` and the functions below are searches, a `Choice` or a `Uniform`.

    Raises:
        ValueError: the text does not follow the grammar.
    """
    if len(text) > MAX_LENGTH or bracket_depth(text) > MAX_DEPTH:
        raise ValueError(f"too long or too deeply nested (at most {MAX_LENGTH} characters, {MAX_DEPTH} levels)")
    if (call := _CALL.fullmatch(text.strip())) is not None:
        return _called(call[1], call[2])
    values = _items(text)
    if len(values) > MAX_VALUES:
        raise ValueError(f"a list of more than {MAX_VALUES} values")
    if len(values) > 1:
        return Choice(tuple(values))
    return values[0] if values else ""


def dimension_of(written: object) -> Dimension:
    """Reads a value of `search.space`: a list, or a string in the grammar of `parse_value`.

    Raises:
        ValueError: with what is wrong and what is allowed.
    """
    if isinstance(written, str):
        parsed = parse_value(written)
        if isinstance(parsed, Choice | Uniform):
            return parsed
    elif isinstance(written, list):
        if not 0 < len(written) <= MAX_VALUES:
            raise ValueError(
                f"a list of more than {MAX_VALUES} values" if written else f"an empty list; allowed: {FORMS}"
            )
        if any(isinstance(value, float) and not math.isfinite(value) for value in written):
            raise ValueError("a value is not a finite number")
        return Choice(tuple(written))
    raise ValueError(f"not a search; got {written!r}; allowed: {FORMS}; a fixed value belongs in params")


def _items(text: str) -> list[object]:
    """The values between commas."""
    written = text.strip()
    start = 1
    try:
        root, problems = parse(f"[{written}\n]", ArgumentLoader)
    except yaml.YAMLError:
        start = 0
        if any(written.count(pair[0]) != written.count(pair[1]) for pair in ("[]", "{}")):
            raise ValueError(CANNOT_BE_READ) from None
        try:  # one text may have brackets within it, as `${name}` has
            root, problems = parse(written, ArgumentLoader)
        except yaml.YAMLError as err:
            raise ValueError(CANNOT_BE_READ) from err
    if problems:
        raise ValueError(problems[0][1])
    nodes: list[yaml.Node] = root.value if start and isinstance(root, yaml.SequenceNode) else [root] if root else []
    # Text that YAML takes for a comment or for a mapping (`a: b`) would get lost or change.
    if (nodes and nodes[-1].end_mark.index - start != len(written)) or any(
        not isinstance(node, yaml.ScalarNode) and written[node.start_mark.index - start] not in "[{" for node in nodes
    ):
        raise ValueError(CANNOT_BE_READ)
    return [plain(node, ArgumentLoader) for node in nodes]


def _called(name: str, written: str) -> Dimension:
    if name not in FUNCTIONS:
        hint = f"; did you mean {hints.FUNCTIONS[name]}?" if name in hints.FUNCTIONS else ""
        raise ValueError(
            f"unknown function; allowed: {', '.join(FUNCTIONS)}; put quotes around text with brackets{hint}"
        )
    values = _items(written)
    try:
        inspect.signature(FUNCTIONS[name]).bind(*values)
    except TypeError as err:
        raise ValueError(f"wrong arguments: {err}") from err
    return FUNCTIONS[name](*values)


def _choice(*values: object) -> Choice:
    if not values:
        raise ValueError("choice() needs at least one value")
    return Choice(values)


def _range(start: object, stop: object = None, step: object = 1) -> Choice:
    start, stop = (0, start) if stop is None else (start, stop)
    if type(start) is not int or type(stop) is not int or type(step) is not int:
        raise ValueError("range takes whole numbers; for fractions write a list or interval(low, high)")
    if step == 0:
        raise ValueError("range needs a step other than 0")
    numbers = range(start, stop, step)
    if not numbers:
        raise ValueError("the range is empty; its stop is excluded")
    # A slice, because `len` overflows for the very ranges that this refuses.
    if numbers[MAX_VALUES:]:
        raise ValueError(f"the range has more than {MAX_VALUES} values")
    return Choice(tuple(numbers))


def _uniform(name: str, low: object, high: object, log: bool = False) -> Uniform:
    if (
        isinstance(low, bool)
        or isinstance(high, bool)
        or not isinstance(low, int | float)
        or not isinstance(high, int | float)
    ):
        raise ValueError(f"{name} takes two numbers")
    try:
        low, high = float(low), float(high)
    except OverflowError:
        raise ValueError(f"{name} takes numbers that fit a float") from None
    if not math.isfinite(high - low):
        raise ValueError(f"{name} takes bounds whose difference is finite")
    if low >= high:
        raise ValueError(f"{name} needs its low bound below its high bound; got {low:g} and {high:g}")
    if log and low <= 0:
        raise ValueError(f"{name} needs a low bound above 0; got {low:g}")
    return Uniform(low, high, log)


FUNCTIONS: dict[str, Callable[..., Dimension]] = {
    "choice": _choice,
    "range": _range,
    "interval": lambda low, high: _uniform("interval", low, high),
    "loguniform": lambda low, high: _uniform("loguniform", low, high, log=True),
}
