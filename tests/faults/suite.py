"""Every fault, and how often it is tried."""

from __future__ import annotations

import signal
from collections.abc import Callable
from dataclasses import dataclass

from faults import damage, drivers, mishaps, moves, outages, searches, signals, workers
from faults.lab import Lab, Try

Attempt = Callable[[Lab, int], Try]


@dataclass(frozen=True, kw_only=True)
class Fault:
    """One kind of fault.

    Args:
        attempt: injects it once, with a seed.
        times: how often in a full run.
        quick: how often in a quick one; 0 for what takes minutes.
    """

    attempt: Attempt
    times: int
    quick: int = 1


FAULTS: dict[str, Fault] = {
    **{f"driver killed {p}": Fault(attempt=drivers.killed_at(p), times=20) for p in drivers.POINTS},
    **{
        f"driver killed {p}, with Ray": Fault(attempt=drivers.process_killed_at(p), times=3, quick=0)
        for p in drivers.POINTS
    },
    "driver killed between a decision and its act": Fault(attempt=searches.killed_before_its_act, times=20),
    "driver killed while an order waits": Fault(attempt=searches.killed_while_an_order_waits(), times=20),
    **{f"{p}, SIGKILL": Fault(attempt=workers.killed_at(p), times=20) for p in workers.POINTS},
    "worker mid-step, SIGSTOP": Fault(attempt=workers.stopped, times=3),
    "hang": Fault(attempt=mishaps.hang, times=3),
    "raylet killed": Fault(attempt=workers.ray_killed("raylet"), times=3),
    "GCS killed": Fault(attempt=workers.ray_killed("gcs_server"), times=5),
    "NaN loss": Fault(attempt=mishaps.not_finite, times=3),
    "out of memory": Fault(attempt=mishaps.out_of_memory, times=3),
    "store locked 5 s": Fault(attempt=outages.store_locked(5), times=3),
    "store locked 19 s": Fault(attempt=outages.store_locked(19), times=3, quick=0),
    "store locked 60 s": Fault(attempt=outages.store_locked(60), times=3, quick=0),
    "tracking server down 10 s": Fault(attempt=outages.server_down(10), times=3),
    "tracking server down 120 s": Fault(attempt=outages.server_down(120), times=3, quick=0),
    "run deleted": Fault(attempt=outages.run_deleted, times=5),
    "folder moved": Fault(attempt=moves.folder_moved, times=5),
    "only the sweep's folder copied": Fault(attempt=moves.sweep_copied, times=5),
    "full disk": Fault(attempt=outages.full_disk, times=3),
    "temporary folder full": Fault(attempt=outages.temporary_folder_full(with_ray=False), times=5),
    "temporary folder full, with Ray": Fault(attempt=outages.temporary_folder_full(with_ray=True), times=5),
    **{f"snapshot {how}": Fault(attempt=damage.damaged(how), times=3) for how in damage.DAMAGES},
    "snapshot with a flipped bit": Fault(attempt=damage.bits_flipped, times=1),  # a thousand of them
    "SIGINT": Fault(attempt=signals.signalled(signal.SIGINT, 1), times=3),
    "SIGINT twice": Fault(attempt=signals.signalled(signal.SIGINT, 2), times=3),
    "SIGTERM": Fault(attempt=signals.signalled(signal.SIGTERM, 1), times=3),
}
