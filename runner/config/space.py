"""Search spaces: what a searched value may be, and the parser that reads it on the command line and in YAML alike."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from runner.config.yaml_files import text_problem

MAX_VALUES = 10_000  # most values of one dimension: expanding more would only exhaust memory
FORMS = "a list such as [32, 64], choice(a, b), range(start, stop, step), interval(low, high) or loguniform(low, high)"


@dataclass(frozen=True, slots=True)
class Choice:
    """Finitely many values, in the order written.

    Args:
        values: the values; at least one.
    """

    values: tuple[Any, ...]


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


def choice(*values: Any) -> Choice:
    """`choice(a, b, ...)`: one of the values."""
    if not values:
        raise ValueError("choice() needs at least one value")
    return Choice(tuple(plain(value) for value in values))


def integer_range(start: Any, stop: Any = None, step: Any = 1) -> Choice:
    """`range(start, stop[, step])`: whole numbers, `stop` excluded, as in Python."""
    start, stop = (0, start) if stop is None else (start, stop)
    if any(isinstance(bound, bool) or not isinstance(bound, int) for bound in (start, stop, step)):
        raise ValueError("range takes whole numbers; for fractions write a list or interval(low, high)")
    if step == 0:
        raise ValueError("range needs a step other than 0")
    numbers = range(start, stop, step)
    if not numbers:
        raise ValueError("the range is empty; its stop is excluded")
    # A slice, not `len`, because `len` overflows for the very ranges this refuses.
    if numbers[MAX_VALUES:]:
        raise ValueError(f"the range has more than {MAX_VALUES} values")
    return Choice(tuple(numbers))


def interval(low: Any, high: Any) -> Uniform:
    """`interval(low, high)`: a float, uniform between the bounds."""
    return Uniform(*_bounds("interval", low, high))


def loguniform(low: Any, high: Any) -> Uniform:
    """`loguniform(low, high)`: a float, uniform in its logarithm."""
    low, high = _bounds("loguniform", low, high)
    if low <= 0:
        raise ValueError(f"loguniform needs a low bound above 0; got {low:g}")
    return Uniform(low, high, log=True)


def _bounds(name: str, low: Any, high: Any) -> tuple[float, float]:
    if any(isinstance(bound, bool) or not isinstance(bound, int | float) for bound in (low, high)):
        raise ValueError(f"{name} takes two numbers")
    try:
        low, high = float(low), float(high)
    except OverflowError:
        raise ValueError(f"{name} takes numbers that fit a float") from None
    if not (math.isfinite(low) and math.isfinite(high) and math.isfinite(high - low)):
        raise ValueError(f"{name} takes finite numbers")
    if low >= high:
        raise ValueError(f"{name} needs its low bound below its high bound; got {low:g} and {high:g}")
    return low, high


FUNCTIONS: dict[str, Callable[..., Dimension]] = {
    "choice": choice,
    "range": integer_range,
    "interval": interval,
    "loguniform": loguniform,
}


def plain(value: Any) -> Any:
    """A parsed value as plain Python: quotes removed, no search within it, no number that is not finite.

    Raises:
        ValueError: for anything a config cannot hold.
    """
    from hydra.core.override_parser.types import QuotedString, Sweep

    if isinstance(value, QuotedString):
        value = value.text
    if isinstance(value, Choice | Uniform | Sweep):
        raise ValueError("a search cannot be nested in another value")
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"{value} is not a finite number")
    if isinstance(value, str) and (problem := text_problem(value)):
        raise ValueError(problem)
    if isinstance(value, list):
        return [plain(item) for item in value]
    if isinstance(value, dict):
        return {_key(plain(key)): plain(item) for key, item in value.items()}
    return value


def _key(key: Any) -> str:
    if not isinstance(key, str):
        raise ValueError(f"the key {key!r} is not text; quote it")
    if key == "_target_":
        raise ValueError("_target_ is not supported: nothing named in a config is imported but the experiment file")
    return key
