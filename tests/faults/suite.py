"""Every fault, and how often it is tried."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from faults import drivers, workers
from faults.lab import Lab, Try


@dataclass(frozen=True, kw_only=True)
class Fault:
    """One kind of fault.

    Args:
        attempt: injects it once, with a seed.
        times: how often in a full run.
        quick: how often in a quick one; 0 for what takes minutes.
    """

    attempt: Callable[[Lab, int], Try]
    times: int
    quick: int = 1


FAULTS: dict[str, Fault] = {
    **{f"driver killed {p}": Fault(attempt=drivers.killed_at(p), times=20) for p in drivers.POINTS},
    **{
        f"driver killed {p}, with Ray": Fault(attempt=drivers.process_killed_at(p), times=3, quick=0)
        for p in drivers.POINTS
    },
    **{f"{p}, SIGKILL": Fault(attempt=workers.killed_at(p), times=20) for p in workers.POINTS},
}
