"""The machines that a sweep may use: this one, or the nodes of a Ray cluster."""

from __future__ import annotations

import logging
import os
import socket
import warnings
from collections.abc import Collection
from dataclasses import dataclass, replace
from importlib import import_module
from typing import TYPE_CHECKING

from runner.config import Config
from runner.driver.record import versions
from runner.errors import ConfigError, FleetError, MpsError
from runner.host.inventory import gpu_use, this_machine
from runner.host.processes import private_mib
from runner.host.signals import uninterrupted
from runner.placement import Machine
from runner.placement.own_memory import counted_as_free
from runner.records import Mps

if TYPE_CHECKING:
    from runner.fleet.ray.pool import Pool

_REACH_S = 5.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Described:
    """A node's description of itself."""

    machine: Machine
    versions: dict[str, str]


def describe() -> Described:
    """Describes the node on which it is called."""
    return Described(machine=this_machine(), versions=versions())


def machines_of(config: Config, own: Collection[int] = (), mps: Mps | None = None) -> dict[str, Machine]:
    """The machines by Ray's node id; the empty id is this machine, if no address is given.

    Args:
        config: of the sweep.
        own: processes of this machine whose memory counts as free.
        mps: the state of MPS on this machine; None to look.

    Raises:
        MpsError: the config insists on MPS, and it cannot be had.
        ConfigError: the address is not that of a Ray cluster.
        FleetError: the cluster cannot be reached, or its nodes have different versions.
    """
    address = config.fleet.address
    if config.fleet.kind != "ray" or address is None:
        machine = this_machine()
        if own:
            use = {name: found.processes for name, found in gpu_use(gpu.id for gpu in machine.gpus).items()}
            machine = counted_as_free(machine, use, private_mib(own), own)
        return {"": with_mps(machine, _mps(config, machine.mps) if mps is None else mps)}
    return _nodes(config, address)


def _nodes(config: Config, address: str) -> dict[str, Machine]:
    """The nodes of the cluster at this address that have a CPU to give; raises as `machines_of`."""
    if "://" in address:
        raise ConfigError(
            f"fleet.address: {address!r} is a Ray Client's address; start the sweep on a node of the cluster with "
            "fleet.address=auto, or by `ray job submit` (docs/cluster.md)"
        )
    _check_reachable(address)
    import_ray()
    from runner.fleet.ray.cluster import survey

    nodes, wanted = survey(address, describe), versions()
    for node in nodes:
        differing = [
            f"{name} {found} ≠ {wanted[name]}" for name, found in node.found.versions.items() if found != wanted[name]
        ]
        if differing:
            raise FleetError(
                f"node {node.ip} ({node.id[:8]}) has other versions than this process, and would give other numbers: "
                f"{', '.join(differing)}"
            )
    machines = {
        node.id: replace(
            node.found.machine,
            cpus=node.cpus,
            gpus=node.found.machine.gpus[: node.gpus],
            mps=_mps(config, node.found.machine.mps),
        )
        for node in nodes
        if node.cpus
    }
    if not machines:
        raise FleetError(f"fleet.address={address}: none of its {len(nodes)} nodes has a CPU to give")
    return machines


def with_mps(machine: Machine, mps: Mps) -> Machine:
    """The machine with this state of MPS.

    The daemon of a sweep has the GPUs that CUDA_VISIBLE_DEVICES names, and numbers them from 0. Its clients name them
    by their UUIDs, which do not change.

    Source: https://docs.nvidia.com/deploy/mps/appendix-tools-and-interface-reference.html#cuda-visible-devices
    """
    if mps.kind == "own" and "CUDA_VISIBLE_DEVICES" in os.environ:
        machine = replace(machine, gpus=tuple(replace(gpu, id=gpu.uuid) for gpu in machine.gpus))
    return replace(machine, mps=mps)


def _mps(config: Config, found: Mps) -> Mps:
    """The state of MPS for a sweep of this config.

    Raises:
        MpsError: the config insists on MPS, and it cannot be had.
    """
    if config.resources.mps == "off":
        return Mps(kind="off", reason="resources.mps is off")
    if found.kind == "own" and config.fleet.kind == "local":
        return Mps(kind="unavailable", reason="fleet.kind=local trains in one process")
    if found.kind == "own" and config.fleet.address is not None:
        found = Mps(kind="unavailable", reason="no daemon serves this node, and a sweep starts none on a cluster")
    if config.resources.mps == "on" and config.fleet.kind == "ray" and not found:
        raise MpsError(f"resources.mps=on: {found.reason}; resources.mps=auto goes on without it")
    return found


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


def idle_processes(config: Config, pool: Pool | None) -> Collection[int]:
    """The processes of a session that wait for this sweep; none without a session.

    Raises:
        ConfigError: the sweep has the address of another Ray than the session's.
    """
    if pool is None:
        return ()
    if config.fleet.address is not None:
        raise ConfigError(
            f"fleet.address: a session has a Ray of its own, got {config.fleet.address!r}; leave it out, "
            "or train on the cluster by runner.sweep, outside of the session"
        )
    return pool.processes


def import_ray() -> None:
    """Imports Ray without interruption, because an interrupted import makes Ray's exit handlers fail."""
    logging.getLogger("ray.widgets").setLevel(logging.WARNING)  # it asks notebooks for widgets
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "IProgress not found")  # so does tqdm, which Ray imports
        import_module("tqdm.auto")
    uninterrupted(lambda: import_module("runner.fleet.ray.fleet"))
