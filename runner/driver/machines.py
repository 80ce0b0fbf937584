"""The machines that a sweep may use: this one, or the nodes of a Ray cluster."""

from __future__ import annotations

import logging
import socket
from dataclasses import dataclass, replace
from importlib import import_module

from runner.config import Config
from runner.driver.record import versions
from runner.errors import ConfigError, FleetError
from runner.host.inventory import this_machine
from runner.host.signals import uninterrupted
from runner.placement import Machine

_REACH_S = 5.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Described:
    """A node's description of itself."""

    machine: Machine
    versions: dict[str, str]


def describe() -> Described:
    """Describes the node on which it is called."""
    return Described(machine=this_machine(), versions=versions())


def machines_of(config: Config) -> dict[str, Machine]:
    """The machines by Ray's node id; the empty id is this machine, if no address is given.

    Raises:
        ConfigError: the address is not that of a Ray cluster.
        FleetError: the cluster cannot be reached, or its nodes have different versions.
    """
    address = config.fleet.address
    if config.fleet.kind != "ray" or address is None:
        return {"": this_machine()}
    if "://" in address:
        raise ConfigError(
            f"fleet.address: {address!r} is a Ray Client's address; start the sweep on a node of the cluster with "
            "fleet.address=auto, or by `ray job submit` (docs/cluster.md)"
        )
    _check_reachable(address)
    import_ray()
    from runner.fleet.ray.cluster import survey

    nodes, own = survey(address, describe), versions()
    for node in nodes:
        differing = [
            f"{name} {found} ≠ {own[name]}" for name, found in node.found.versions.items() if found != own[name]
        ]
        if differing:
            raise FleetError(
                f"node {node.ip} ({node.id[:8]}) has other versions than this process, and would give other numbers: "
                f"{', '.join(differing)}"
            )
    machines = {
        node.id: replace(node.found.machine, cpus=node.cpus, gpus=node.found.machine.gpus[: node.gpus])
        for node in nodes
        if node.cpus
    }
    if not machines:
        raise FleetError(f"fleet.address={address}: none of its {len(nodes)} nodes has a CPU to give")
    return machines


def _check_reachable(address: str) -> None:
    """Checks that Ray answers, because Ray itself would try for minutes and ignore signals meanwhile.

    Raises:
        ConfigError: not an address.
        FleetError: nothing answers there.
    """
    if address == "auto":
        return
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal():
        raise ConfigError(f"fleet.address: {address!r} is not HOST:PORT, such as 10.0.0.5:6379, or auto")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=_REACH_S).close()
    except (OSError, OverflowError) as err:
        raise FleetError(f"fleet.address={address}: no Ray answers there: {err}; `ray status` shows a cluster") from err


def import_ray() -> None:
    """Imports Ray without interruption, because an interrupted import makes Ray's exit handlers fail."""
    logging.getLogger("ray.widgets").setLevel(logging.WARNING)  # it asks notebooks for widgets
    uninterrupted(lambda: import_module("runner.fleet.ray.fleet"))
