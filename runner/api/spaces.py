"""What `space` may hold beside lists of values: ranges, as the config writes them."""

from __future__ import annotations


def loguniform(low: float, high: float) -> str:
    """Numbers from `low` to `high`, uniform in their logarithm, for `space`.

    Example:
        >>> runner.loguniform(1e-4, 1e-1)
        'loguniform(0.0001, 0.1)'
    """
    return f"loguniform({float(low)!r}, {float(high)!r})"


def interval(low: float, high: float, step: float | None = None) -> str:
    """Numbers from `low` to `high`, or only `low` plus multiples of `step`, for `space`.

    Example:
        >>> runner.interval(0, 0.5, 0.1)
        'interval(0, 0.5, 0.1)'
    """
    return f"interval({float(low)!r}, {float(high)!r})" if step is None else f"interval({low!r}, {high!r}, {step!r})"


def integers(low: int, high: int, step: int = 1) -> str:
    """Whole numbers from `low` to `high`, both included, for `space`.

    Example:
        >>> runner.integers(16, 64, 16)
        'int(16, 64, 16)'
    """
    return f"int({low!r}, {high!r}, {step!r})"


def log_integers(low: int, high: int) -> str:
    """Whole numbers from `low` to `high`, uniform in their logarithm, for `space`.

    Example:
        >>> runner.log_integers(8, 512)
        'logint(8, 512)'
    """
    return f"logint({low!r}, {high!r})"
