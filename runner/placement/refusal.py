"""The error for a request that does not fit: the sum, and the nearest requests that do."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

Change = Mapping[str, Any]
"""Other values for keys of `resources`."""

NO_GPU: Change = {"num_gpus": 0.0}
_ANYTHING: Change = {**NO_GPU, "num_cpus": "auto", "max_concurrent": "auto", "memory_mib": "auto"}


class DoesNotFitError(Exception):
    """A request does not fit: the sum, and changes that may help."""

    def __init__(self, why: str, *changes: Change) -> None:
        super().__init__(why)
        self.changes = changes


def nearest(changes: Sequence[Change], fits: Callable[[Change], bool]) -> tuple[Change, ...]:
    """The changes that make the request fit: each suggested one, all together, or a plain request for CPUs."""
    single = tuple(change for change in changes if fits(change))
    if single:
        return single
    together: dict[str, Any] = {}
    for change in changes:
        together |= change
    return (together,) if fits(together) else (_ANYTHING,)


def written(change: Change) -> str:
    """The change as a user types it."""
    values = {key: f"{value:g}" if isinstance(value, float) else str(value) for key, value in change.items()}
    return " ".join(f"resources.{key}={value}" for key, value in values.items())
