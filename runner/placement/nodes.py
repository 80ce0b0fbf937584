"""Plans slots over several machines: each machine separately, with the models spread over them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from runner.errors import PlacementError
from runner.placement.machine import Machine, Request
from runner.placement.planner import plan_slots, spread
from runner.records import Slot

_ANY_NUMBER = 10_000


def plan_on_nodes(
    request: Request, machines: Mapping[str, Machine], trials: int, need_mib: float | None = None
) -> tuple[Slot, ...]:
    """As `plan_slots`, over all these machines.

    If `num_gpus` is left open and a machine has GPUs, machines without are not used, because results depend on the kind
    of device.

    Args:
        request: for each slot.
        machines: by what Ray calls them; the empty name is this machine.
        trials: number of trials to train.
        need_mib: as `plan_slots`.

    Raises:
        PlacementError: the request fits none of them, or asks for more models than fit on all.
    """
    if len(machines) == 1:
        return _planned(dict.fromkeys(machines, (request, max(1, trials))), machines, need_mib)
    rooms = _rooms(request, _alike(request, machines), need_mib)
    most, wanted = sum(rooms.values()), request.max_concurrent
    if wanted != "auto" and wanted > most:
        each = ", ".join(f"{room} on {_short(node)}" for node, room in rooms.items())
        message = f"resources.max_concurrent={wanted}: {most} models fit on the cluster ({each})"
        raise PlacementError(f"{message}; set resources.max_concurrent={most}", ({"max_concurrent": most},))
    planned = spread([*rooms.values()], most if wanted == "auto" else wanted)
    used = spread(planned, max(1, min(trials, sum(planned))))
    asked = [request if wanted == "auto" else replace(request, max_concurrent=max(1, count)) for count in planned]
    return _planned(dict(zip(rooms, zip(asked, used, strict=True), strict=True)), machines, need_mib)


def _planned(
    asked: Mapping[str, tuple[Request, int]], machines: Mapping[str, Machine], need_mib: float | None
) -> tuple[Slot, ...]:
    """The slots of each machine for its number of trials."""
    slots: list[Slot] = []
    for node, (request, trials) in asked.items():
        for slot in plan_slots(request, machines[node], trials, need_mib) if trials else ():
            slots.append(Slot(index=len(slots), allocation=replace(slot.allocation, node=node)))
    return tuple(slots)


def _alike(request: Request, machines: Mapping[str, Machine]) -> Mapping[str, Machine]:
    with_gpus = {node: machine for node, machine in machines.items() if machine.gpus}
    return with_gpus if with_gpus and request.num_gpus == "auto" else machines


def _rooms(request: Request, machines: Mapping[str, Machine], need_mib: float | None) -> dict[str, int]:
    """How many models each machine holds; machines that hold none are left out.

    Raises:
        PlacementError: no machine holds any, with the reason for each.
    """
    rooms: dict[str, int] = {}
    problems: list[str] = []
    for node, machine in machines.items():
        try:
            rooms[node] = len(plan_slots(replace(request, max_concurrent="auto"), machine, _ANY_NUMBER, need_mib))
        except PlacementError as err:
            problems.append(f"node {_short(node)}: {err}")
    if not rooms:
        raise PlacementError("; ".join(problems))
    return rooms


def _short(node: str) -> str:
    return node[:8] or "this machine"
