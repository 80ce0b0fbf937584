"""Surveys the nodes of a running Ray cluster."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import ray
from ray.exceptions import GetTimeoutError, RayError

from runner.errors import FleetError
from runner.fleet.ray.nodes import call_on
from runner.fleet.ray.session import RaySession

T = TypeVar("T")
_ANSWER_S = 120.0  # includes the start of a process on the node


@dataclass(frozen=True, kw_only=True, slots=True)
class Node(Generic[T]):
    """A node that is alive.

    Args:
        id: its id in Ray.
        ip: its IP address.
        cpus: number of CPUs that Ray can assign.
        gpus: number of GPUs that Ray can assign.
        found: the result of the survey's function on the node.
    """

    id: str
    ip: str
    cpus: int
    gpus: int
    found: T


def survey(address: str, ask: Callable[[], T]) -> tuple[Node[T], ...]:
    """Calls a function of this program on every node that is alive.

    Raises:
        FleetError: the cluster cannot be reached, or a node cannot run this program.
    """
    with RaySession((), address=address):
        alive = [node for node in ray.nodes() if node["Alive"]]
        calls = [(node, call_on(node["NodeID"], ask)) for node in alive]
        return tuple(_node(node, call) for node, call in calls)


def _node(node: Mapping[str, Any], call: ray.ObjectRef) -> Node[T]:
    where = f"node {node['NodeManagerAddress']} ({node['NodeID'][:8]})"
    try:
        found = ray.get(call, timeout=_ANSWER_S)
    except GetTimeoutError as err:
        raise FleetError(f"{where}: no answer within {_ANSWER_S:.0f} s") from err
    except RayError as err:
        first_line = str(err).strip().splitlines()[-1]
        raise FleetError(f"{where} cannot run this program ({first_line}); install it there: docs/cluster.md") from err
    resources = node["Resources"]
    return Node(
        id=node["NodeID"],
        ip=node["NodeManagerAddress"],
        cpus=int(resources.get("CPU", 0)),
        gpus=int(resources.get("GPU", 0)),
        found=found,
    )
