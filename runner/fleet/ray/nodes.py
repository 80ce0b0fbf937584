"""Calls functions on a given node of a cluster, as tasks that reserve no resources."""

from __future__ import annotations

from collections.abc import Callable

import ray
from ray.exceptions import GetTimeoutError, RayError, RayTaskError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from runner.errors import FleetError, ShareTakenError

_ANSWER_S = 120.0  # includes the start of a process on the node


def call_on(node: str, function: Callable[..., object], *arguments: object) -> ray.ObjectRef:
    """Calls a function on a node; returns the reference to its result."""
    strategy = NodeAffinitySchedulingStrategy(node, soft=False)
    return ray.remote(num_cpus=0, max_retries=0, scheduling_strategy=strategy)(function).remote(*arguments)


def wait_on(node: str, wait: Callable[..., None], *arguments: object) -> None:
    """Runs a function that waits for a condition on a node; in this process if the name of the node is empty.

    Does not wait for a node that has died, because it holds no resources and is not used again.

    Raises:
        ShareTakenError: other processes use the GPU memory that the function waits for.
        FleetError: the function failed, or the node does not answer.
    """
    if not node:
        wait(*arguments)
        return
    for is_last in (False, True):  # a node that is low on memory may kill the first process
        try:
            ray.get(call_on(node, wait, *arguments), timeout=_ANSWER_S)
            return
        except RayTaskError as err:
            if isinstance(err.cause, ShareTakenError):
                raise ShareTakenError(f"node {node[:8]}: {err.cause}") from err
            raise FleetError(f"node {node[:8]}: {err.cause if isinstance(err.cause, FleetError) else err}") from err
        except GetTimeoutError as err:
            raise FleetError(f"node {node[:8]}: no answer within {_ANSWER_S:.0f} s") from err
        except RayError as err:
            if not _is_alive(node):
                return
            if is_last:
                raise FleetError(f"node {node[:8]}: {type(err).__name__}: {err}") from err


def _is_alive(node: str) -> bool:
    return any(other["NodeID"] == node and other["Alive"] for other in ray.nodes())
