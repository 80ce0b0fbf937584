"""Axes of a figure of parallel coordinates, which knows numbers only."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from runner.config.space import Choice, Dimension, Range
from runner.report.data import short_texts
from runner.review.tables import readable

_LEAST_TICKS, _MOST_TICKS = 3, 7  # that are round
_APART = 0.07  # of an axis, between a round tick and its end
_MOST_CATEGORIES = 12  # numbers with more different values have a scale
_MISSING = "–"  # the value of a parameter that does not matter for a trial


def parallel_axis(name: str, values: Sequence[object], dimension: Dimension | None) -> dict[str, Any]:
    """A parameter's axis: a scale for numbers of a range or for many of them, else a place for each value.

    Trials for which the parameter does not matter lie below the others.

    Args:
        name: the parameter's.
        values: of each trial: numbers, texts, truth values, or None if it does not matter there.
        dimension: what was searched; None if that is not known.

    Example:
        >>> parallel_axis("units", [8, 64, 8], None)["values"]
        [0, 1, 0]
    """
    numbers = [value for value in values if isinstance(value, int | float) and not isinstance(value, bool)]
    known = [value for value in values if value is not None]
    is_wide = isinstance(dimension, Range) and (not dimension.whole or (dimension.count or 0) > _MOST_CATEGORIES)
    is_scale = is_wide or len(set(map(str, known))) > _MOST_CATEGORIES
    if is_scale and len(numbers) == len(known) and min(numbers) < max(numbers):
        is_log = isinstance(dimension, Range) and dimension.log and min(numbers) > 0
        return {"label": name, **_scale(values, numbers, is_log=is_log)}
    return {"label": name, **_places(values, dimension)}


def _scale(values: Sequence[object], numbers: Sequence[float], *, is_log: bool) -> dict[str, Any]:
    low, high = (math.log10(end) if is_log else end for end in (min(numbers), max(numbers)))
    ticks = [math.log10(value) for value in _round_logs(low, high)] if is_log else _round_numbers(low, high)
    apart = (high - low) * _APART
    ticks = [low, *(tick for tick in ticks if low + apart < tick < high - apart), high]  # from end to end goes the axis
    texts = [readable(10**tick if is_log else float(tick), 3) for tick in ticks]
    below = low - (high - low) / 8
    if None in values:
        ticks, texts = [below, *ticks], [_MISSING, *texts]
    found = [_position(value, below, is_log=is_log) for value in values]
    return {"values": found, "tickvals": ticks, "ticktext": texts, "range": [ticks[0], high]}


def _round_logs(low: float, high: float) -> list[float]:
    """Powers of ten between two logarithms; if they are few, twice and five times these too."""
    powers = range(math.floor(low), math.ceil(high) + 1)
    for digits in ((1,), (1, 2, 5)):
        found = [digit * 10.0**power for power in powers for digit in digits]
        inside = [value for value in found if low - 1e-9 <= math.log10(value) <= high + 1e-9]
        if len(inside) > 1:
            return inside[:: math.ceil(len(inside) / _MOST_TICKS)]
    return [10**end for end in (low, high)]


def _round_numbers(low: float, high: float) -> list[float]:
    """Multiples of 1, 2 or 5 times a power of ten from one number to another."""
    power = 10.0 ** math.floor(math.log10((high - low) / _LEAST_TICKS))
    step = next(power * digit for digit in (1, 2, 5, 10) if (high - low) / (power * digit) < _MOST_TICKS)
    return [place * step for place in range(math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9) + 1)]


def _position(value: object, below: float, *, is_log: bool) -> float:
    if not isinstance(value, int | float):
        return below
    return float(f"{math.log10(value) if is_log else value:.5g}")


def _places(values: Sequence[object], dimension: Dimension | None) -> dict[str, Any]:
    written = dimension.values if isinstance(dimension, Choice) else ()
    texts = list(dict.fromkeys(str(value) for value in [*written, *_sorted(values)] if value is not None))
    if None in values:
        texts = [_MISSING, *texts]
    order = {text: place for place, text in enumerate(texts)}
    found = [order[_MISSING if value is None else str(value)] for value in values]
    return {"values": found, "tickvals": list(range(len(texts))), "ticktext": list(short_texts(texts).values())}


def _sorted(values: Sequence[object]) -> list[object]:
    """Numbers by size, then the others in order."""
    numbers = {value for value in values if isinstance(value, int | float) and not isinstance(value, bool)}
    return [*sorted(numbers), *(value for value in values if value not in numbers)]
