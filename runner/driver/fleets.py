"""The fleet that a sweep's config names, not yet started."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from runner.driver.context import Context
from runner.driver.machines import import_ray
from runner.driver.prepare import Prepared
from runner.host.mps import variables_of
from runner.journal import TrialLogs
from runner.loop.interfaces import Fleet
from runner.loop.logged import LoggedFleet
from runner.records import Slot

if TYPE_CHECKING:
    from runner.fleet.ray.pool import Pool


def open_fleet(
    prepared: Prepared,
    slots: Sequence[Slot],
    meanwhile: Callable[[], None] = lambda: None,
    warn: Callable[[str], None] = lambda _: None,
    pool: Pool | None = None,
) -> Fleet:
    """The configured fleet for these slots, not yet started.

    Args:
        prepared: the sweep.
        slots: of the fleet.
        meanwhile: called while it waits for Ray.
        warn: shows a warning if Ray lacks a private part that is replaced in the tested versions.
        pool: has workers that stay warm between sweeps; None for a fleet that keeps none.
    """
    fleet = prepared.config.fleet
    if fleet.kind == "local":
        from runner.fleet.local import LocalFleet

        return LocalFleet(slots, fleet.first_turn_timeout_s)

    import_ray()
    from runner.fleet.deadlines import Deadlines
    from runner.fleet.ray.fleet import RayFleet

    deadlines = Deadlines(first_s=fleet.first_turn_timeout_s, later_s=fleet.turn_timeout_s)
    cpus = sum(machine.cpus for machine in prepared.machines.values())
    return RayFleet(
        slots,
        address=fleet.address,
        cpus=cpus,
        deadlines=deadlines,
        nice=fleet.nice,
        environment=variables_of(prepared.mps),
        codes={trial.source.identity for trial in prepared.trials},
        pool=pool,
        meanwhile=meanwhile,
        warn=warn,
    )


def logged_fleet(
    prepared: Prepared, logs: TrialLogs, context: Context, meanwhile: Callable[[], None] = lambda: None
) -> LoggedFleet:
    """The configured fleet, not yet started; its trials' output goes to `logs`, and secrets leave its answers."""
    fleet = open_fleet(prepared, prepared.slots, meanwhile, context.watcher.warn, context.pool)
    return LoggedFleet(fleet, logs.write, context.watcher.warn, context.masked)
