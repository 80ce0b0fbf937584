"""Numbers, times and curves as a person reads them in a terminal."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

_BLOCKS = "▁▂▃▄▅▆▇█"
_SMALL, _LARGE = 1e-2, 1e6  # outside of these, powers of ten are shorter


def number(value: float | None) -> str:
    """A metric in four significant digits; a dash for None."""
    return "–" if value is None else f"{value:.4g}"


def setting(value: object) -> str:
    """A setting's value: `64`, `0.25`, `3e-03`, `1.4e-03`."""
    if not isinstance(value, float):
        return str(value)
    if value == 0 or not math.isfinite(value) or _is_plain(value):
        return f"{value:.3g}" if abs(value) < 1000 else f"{value:.4g}"
    digits, _, power = f"{value:.1e}".partition("e")
    return f"{digits.removesuffix('.0')}e{power}"


def settings(values: Iterable[object]) -> list[str]:
    """The values of one setting, for a column: all as `1.3e-02` if half of them are powers of ten, to compare them."""
    found = list(values)
    floats = [value for value in found if isinstance(value, float) and value and math.isfinite(value)]
    if 2 * sum(map(_is_plain, floats)) > len(floats) or not floats:
        return [setting(value) for value in found]
    digits = 0 if all(f"{value:.1e}"[-5] == "0" for value in floats) else 1
    return [f"{value:.{digits}e}" if value in floats else setting(value) for value in found]


def duration(seconds: float | None) -> str:
    """Seconds as `1:15` or `2:03:04`; a dash for None."""
    if seconds is None:
        return "–"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def _is_plain(value: float) -> bool:
    return _SMALL <= abs(value) < _LARGE


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
    """A curve of at most `width` characters, from its own least to its own largest value; empty below two values.

    Of twenty values or more the outermost five percent at both ends are drawn as the next ones, so that a bad first
    epoch does not flatten all others.
    """
    finite = [value for value in values if math.isfinite(value)]
    if len(finite) < 2:
        return ""
    in_order, cut = sorted(finite), len(finite) // 20
    least, largest = in_order[cut], in_order[-1 - cut]
    if len(finite) > width:
        finite = [finite[round(place * (len(finite) - 1) / (width - 1))] for place in range(width)]
    spread, top = largest - least, len(_BLOCKS) - 1
    places = [(min(max(value, least), largest) - least) / spread if spread else 0.0 for value in finite]
    return "".join(_BLOCKS[round(place * top)] for place in places)
