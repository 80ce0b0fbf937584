"""Starts a daemon of NVIDIA's MPS for a sweep whose models share a GPU."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from typing import TYPE_CHECKING

from runner.driver.prepare import Prepared
from runner.errors import MpsError
from runner.host.mps_daemon import MpsDaemon
from runner.records import Mps

if TYPE_CHECKING:
    from runner.fleet.ray.pool import Pool


def with_daemon(
    plan: Callable[[Mps | None], Prepared], ending: ExitStack, warn: Callable[[str], None], pool: Pool | None = None
) -> Prepared:
    """Plans a sweep, and starts the daemon that its workers need; plans it without if the daemon does not start.

    Args:
        plan: plans it for a state of MPS; None for that of the machine.
        ending: ends the daemon if there is no pool.
        warn: shows why there is none.
        pool: keeps the daemon between sweeps.

    Raises:
        MpsError: the daemon does not start, and the config insists on it.
    """
    prepared = plan(None)
    machine = prepared.machines.get("")
    if machine is None or machine.mps.kind != "own":
        return prepared
    if not prepared.to_probe and all(slot.allocation.mps != "own" for slot in prepared.slots):
        return prepared
    daemon = MpsDaemon() if pool is None else pool.mps
    if pool is None:
        ending.callback(daemon.end)
    try:
        pipes = daemon.start(machine.gpus)
    except MpsError as err:
        if prepared.config.resources.mps == "on":
            raise MpsError(f"resources.mps=on: {err}; resources.mps=auto goes on without it") from err
        warn(f"warning: MPS cannot be had, so that models take turns on a GPU: {err}")
        return plan(Mps(kind="unavailable", reason=str(err)))
    return replace(prepared, machines={"": replace(machine, mps=replace(machine.mps, pipes=pipes))})
