"""Numbers, times and curves as a person reads them in a terminal."""

from __future__ import annotations

import math
from collections.abc import Sequence

_BLOCKS = "▁▂▃▄▅▆▇█"
_SMALL, _LARGE = 1e-2, 1e6  # outside of these, powers of ten are shorter


def number(value: float | None, width: int | None = None) -> str:
    """A metric in four significant digits, in fewer if only those fit into `width`; a dash for None.

    Example:
        >>> number(1.04909e-05), number(1.04909e-05, width=7)
        ('1.049e-05', '1e-05')
    """
    if value is None:
        return "–"
    texts = [f"{value:.{digits}g}" for digits in (4, 3, 2, 1)]
    return next((text for text in texts if width is None or len(text) <= width), texts[-1])


def setting(value: object) -> str:
    """A setting's value: `64`, `0.25`, `3e-03`, `1.4e-03`."""
    if not isinstance(value, float):
        return str(value)
    if value == 0 or not math.isfinite(value) or _SMALL <= abs(value) < _LARGE:
        return f"{value:.3g}" if abs(value) < 1000 else f"{value:.4g}"
    digits, _, power = f"{value:.1e}".partition("e")
    return f"{digits.removesuffix('.0')}e{power}"


def duration(seconds: float | None) -> str:
    """Seconds as `1:15` or `2:03:04`; a dash for None."""
    if seconds is None:
        return "–"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def roughly(seconds: float) -> str:
    """Seconds in words, as exact as an estimate is: `8 s`, `4 min`, `2 h 10 min`."""
    if seconds < 100:
        return f"{math.ceil(seconds)} s"
    minutes = math.ceil(seconds / 60)
    if minutes < 100:
        return f"{minutes} min"
    hours, rest = divmod(10 * math.ceil(minutes / 10), 60)
    return f"{hours} h" + (f" {rest} min" if rest else "")


def count(number_: int, noun: str) -> str:
    """A number with its noun: `1 trial`, `8 trials`."""
    return f"{number_} {noun}" + ("" if number_ == 1 else "s")


def sparkline(values: Sequence[float], width: int) -> str:
    """A curve of at most `width` characters, from its own least to its own largest value; empty below two values."""
    finite = [value for value in values if math.isfinite(value)]
    if len(finite) < 2:
        return ""
    if len(finite) > width:
        finite = [finite[round(place * (len(finite) - 1) / (width - 1))] for place in range(width)]
    least, spread = min(finite), max(finite) - min(finite)
    top = len(_BLOCKS) - 1
    return "".join(_BLOCKS[round((value - least) / spread * top) if spread else 0] for value in finite)
