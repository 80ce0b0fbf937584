"""Search spaces, and the grammar of values that the command line and `search.space` share."""

from __future__ import annotations

import inspect
import math
import re
from collections.abc import Callable
from dataclasses import dataclass

import yaml

from runner.config import hints
from runner.config.yaml_nodes import NOT_YAML, parse, plain

_LARGEST = 2**53  # every whole number up to this is a float too
MAX_VALUES = 10_000  # most values of one dimension: expanding more would only exhaust memory
FORMS = (
    "a list such as [32, 64], choice(a, b), range(start, stop, step), int(low, high, step), logint(low, high), "
    "interval(low, high, step) or loguniform(low, high)"
)
_CALL = re.compile(r"([A-Za-z_][\w.]*)\s*\((.*)\)", re.DOTALL)
_QUOTED = re.compile(r"'[^'\n]*'|\"(?:\\.|[^\"\\\n])*\"")
_QUOTE = """cannot be read; put quotes around a value with special characters, as in 'key="value"'"""


@dataclass(frozen=True, slots=True)
class Choice:
    """Finitely many values, at least one, in the order written."""

    values: tuple[object, ...]

    def has(self, value: object) -> bool:
        """Whether this is one of the values; 1, 1.0 and True are three."""
        return any(type(one) is type(value) and one == value for one in self.values)


@dataclass(frozen=True, slots=True)
class Range:
    """Numbers from `low` to `high`, both included.

    Args:
        low: positive if `log`.
        high: above `low`.
        log: uniform in the logarithm.
        whole: whole numbers.
        step: only `low` plus multiples of it; None for all floats between.
    """

    low: float
    high: float
    log: bool = False
    whole: bool = False
    step: float | None = None

    @property
    def count(self) -> int | None:
        """How many values there are; None if they are floats without a step."""
        step = self.step or (1 if self.whole else None)
        return None if step is None else math.floor((self.high - self.low) / step + 1e-9) + 1

    def has(self, value: object) -> bool:
        """Whether this is one of the numbers."""
        if isinstance(value, bool) or not isinstance(value, int if self.whole else int | float):
            return False
        steps = 0.0 if self.step is None else (value - self.low) / self.step
        return self.low <= value <= self.high and abs(steps - round(steps)) < 1e-9


Dimension = Choice | Range


def parse_value(text: str) -> object:
    """Reads one value: YAML in which `a, b` and the functions below are searches, a `Choice` or a `Range`.

    Raises:
        ValueError: the text does not follow the grammar.
    """
    call = _CALL.fullmatch(text.strip())
    if call is None:
        values = _items(text)
        return _choice(*values) if len(values) > 1 else values[0] if values else ""
    function = FUNCTIONS.get(call[1])
    if function is None:
        meant = hints.table("functions").get(call[1])
        hint = f"; did you mean {meant}?" if meant else ""
        allowed = ", ".join(FUNCTIONS)
        raise ValueError(f"unknown function; allowed: {allowed}; put quotes around text with brackets{hint}")
    values = _items(call[2])
    try:
        inspect.signature(function).bind(*values)
    except TypeError as err:
        raise ValueError(f"wrong arguments: {err}") from err
    return function(*values)


def dimension_of(written: object) -> Dimension:
    """Reads a value of `search.space`: a list, or a string in the grammar of `parse_value`.

    Raises:
        ValueError: with what is wrong and what is allowed.
    """
    if isinstance(written, list) and not written:
        raise ValueError(f"an empty list; allowed: {FORMS}")
    found = (
        _choice(*written) if isinstance(written, list) else parse_value(written) if isinstance(written, str) else None
    )
    if not isinstance(found, Dimension):
        raise ValueError(f"not a search; got {written!r}; allowed: {FORMS}; a fixed value belongs in params")
    return found


def _items(text: str) -> list[object]:
    """The values between commas."""
    bare = _QUOTED.sub("", text)
    if "${" in text and bare == text and text.lstrip()[0] not in "[{":
        # For YAML a reference has brackets.
        parts = [part.strip() for part in text.split(",")]
        return [part if "${" in part else item for part in parts for item in ([part] if "${" in part else _items(part))]
    if re.search(r"[()]", bare):
        raise ValueError(
            "cannot be read: a search cannot be nested in another value; put quotes around text with brackets"
        )
    root, problems = parse(f"[{text}]")
    if problems and not problems[0][1].startswith(NOT_YAML):
        raise ValueError(problems[0][1])
    nodes = root.value if root is not None else []
    # What YAML takes for a comment, an anchor, a block or a mapping (`a: b`) was meant as text, `\,` as a comma.
    if (
        problems
        or re.search(r"[#&|>!\n]|\\\W", bare)
        or text.rstrip().endswith(",")
        or any(isinstance(node, yaml.MappingNode) and text[node.start_mark.index - 1] != "{" for node in nodes)
    ):
        raise ValueError(_QUOTE)
    for node in nodes:
        _refuse_glued(node)
    return [_finite(plain(node)) for node in nodes]


def _refuse_glued(node: yaml.Node) -> None:
    """Refuses `{a:1}`, which YAML reads as the key `a:1` without a value."""
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            written = value.start_mark.index < value.end_mark.index
            if not written and isinstance(key, yaml.ScalarNode) and key.style is None and ":" in key.value:
                raise ValueError(f"{key.value!r} has no value; write a space after the colon, {{a: 1}}")
            _refuse_glued(value)
    elif isinstance(node, yaml.SequenceNode):
        for item in node.value:
            _refuse_glued(item)


def _finite(value: object) -> object:
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"{value} is not a finite number")
    return value


def _choice(*values: object) -> Choice:
    if not 0 < len(values) <= MAX_VALUES:
        raise ValueError(f"a list of more than {MAX_VALUES} values" if values else "choice() needs at least one value")
    return Choice(tuple(map(_finite, values)))


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


def _floats(name: str, low: object, high: object, step: object = None, log: bool = False) -> Range:
    first, last = _bound(low), _bound(high)
    if not math.isfinite(last - first):
        raise ValueError(f"{name} takes two finite numbers")
    if first >= last:
        raise ValueError(f"{name} needs its low bound below its high bound; got {first:g} and {last:g}")
    if log and first <= 0:
        raise ValueError(f"{name} needs a low bound above 0; got {first:g}")
    if step is not None and not 0 < _bound(step) <= last - first:
        raise ValueError(f"{name} needs a step above 0 that is no longer than from {first:g} to {last:g}; got {step}")
    return Range(first, last, log, step=None if step is None else _bound(step))


def _whole(name: str, low: object, high: object, step: object = 1, log: bool = False) -> Range:
    if type(low) is not int or type(high) is not int or type(step) is not int:
        raise ValueError(f"{name} takes whole numbers; for fractions use interval(low, high) or loguniform(low, high)")
    if low >= high:
        raise ValueError(f"{name} needs its low bound below its high bound; got {low} and {high}")
    if log and low <= 0:
        raise ValueError(f"{name} needs a low bound above 0; got {low}")
    if not 0 < step <= high - low:
        raise ValueError(f"{name} needs a step above 0 that is no longer than from {low} to {high}; got {step}")
    if max(abs(low), abs(high)) > _LARGEST:
        raise ValueError(f"{name} takes whole numbers of at most {_LARGEST}")
    return Range(low, high, log, whole=True, step=step)


def _bound(value: object) -> float:
    try:
        return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else math.nan
    except OverflowError:
        return math.inf


FUNCTIONS: dict[str, Callable[..., Dimension]] = {
    "choice": _choice,
    "range": _range,
    "int": lambda low, high, step=1: _whole("int", low, high, step),
    "logint": lambda low, high: _whole("logint", low, high, log=True),
    "interval": lambda low, high, step=None: _floats("interval", low, high, step),
    "loguniform": lambda low, high: _floats("loguniform", low, high, log=True),
}
