"""What is measured of the runner itself. Each module has `measure(size)`, which returns numbers by name."""

from __future__ import annotations

from typing import Literal

Size = Literal["full", "quick", "short"]
"""`full` for the report, `quick` to guard ratios, `short` to see that the part still measures what it names."""


class NotMeasuredError(RuntimeError):
    """A measurement ran to its end, but not on what it is named after; the message says what it found instead."""
