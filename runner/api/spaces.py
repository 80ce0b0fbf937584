"""What `space` may hold beside lists of values: ranges, as the config writes them."""

from __future__ import annotations


def loguniform(low: float, high: float) -> str:
    """Numbers from `low` to `high`, uniform in their logarithm, for `space`."""
    return f"loguniform({float(low)!r}, {float(high)!r})"


def interval(low: float, high: float, step: float | None = None) -> str:
    """Numbers from `low` to `high`, or only `low` plus multiples of `step`, for `space`."""
    return f"interval({float(low)!r}, {float(high)!r})" if step is None else f"interval({low!r}, {high!r}, {step!r})"


def integers(low: int, high: int, step: int = 1) -> str:
    """Whole numbers from `low` to `high`, both included, for `space`."""
    return f"int({low!r}, {high!r}, {step!r})"


def log_integers(low: int, high: int) -> str:
    """Whole numbers from `low` to `high`, uniform in their logarithm, for `space`."""
    return f"logint({low!r}, {high!r})"
