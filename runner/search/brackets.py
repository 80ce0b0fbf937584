"""Layouts of synchronous successive halving and Hyperband: how many trials begin, and where they are compared.

Sources: Jamieson and Talwalkar 2016 (arXiv 1502.07943), Algorithm 1; Li et al. 2018 (arXiv 1603.06560), Algorithm 1 and
Table 1.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Bracket:
    """A cohort that is compared at rungs.

    Args:
        size: settings that begin in it.
        rungs: epochs after which they are compared, rising; the survivors of the last train to their end.
    """

    size: int
    rungs: tuple[int, ...]


def rung_epochs(min_epochs: int, max_epochs: int, factor: int, every: int = 1) -> tuple[int, ...]:
    """Epochs after which trials are compared: `max_epochs` divided by the powers of `factor`, down to `min_epochs`.

    Args:
        min_epochs: no comparison before this epoch.
        max_epochs: of a trial that is never stopped; not itself a rung.
        factor: by which the epochs grow from rung to rung.
        every: the metric is known after each `every`-th epoch only; rungs are moved up to the next of them.
    """
    found = {max_epochs // power for power in _powers(max_epochs, min_epochs, factor)}
    moved = {-(-epoch // every) * every for epoch in found}
    return tuple(sorted(epoch for epoch in moved if epoch < max_epochs))


def halving(rungs: tuple[int, ...], size: int) -> Iterator[Bracket]:
    """Brackets of successive halving, each with this many settings."""
    return itertools.repeat(Bracket(size, rungs))


def hyperband(rungs: tuple[int, ...], factor: int) -> Iterator[Bracket]:
    """Brackets of Hyperband, again and again: from many settings with all rungs to few that are never compared."""
    last = len(rungs)
    while True:
        for left in range(last, -1, -1):
            yield Bracket((last + 1) // (left + 1) * factor**left, rungs[last - left :])


def cut(brackets: Iterator[Bracket], settings: int) -> Iterator[Bracket]:
    """The first brackets, for this many settings in all."""
    while settings > 0:
        bracket = next(brackets)
        yield Bracket(min(bracket.size, settings), bracket.rungs)
        settings -= bracket.size


def contenders(bracket: Bracket, factor: int) -> tuple[int, ...]:
    """How many settings of a bracket train until each rung, and after the last, if none fails."""
    sizes = [bracket.size]
    for _ in bracket.rungs:
        sizes.append(survivors_of(sizes[-1], factor))
    return tuple(sizes)


def full_round(rungs: tuple[int, ...], factor: int) -> int:
    """Settings of one round of Hyperband."""
    return sum(bracket.size for bracket in itertools.islice(hyperband(rungs, factor), len(rungs) + 1))


def survivors_of(size: int, factor: int) -> int:
    """How many of a cohort survive a rung."""
    return -(-size // factor)


def _powers(max_epochs: int, min_epochs: int, factor: int) -> Iterator[int]:
    power = factor
    while max_epochs // power >= min_epochs:
        yield power
        power *= factor
