"""Functions called on a worker's own node of a cluster, beside the workers: they book nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import ray
from ray.exceptions import GetTimeoutError, RayError, RayTaskError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from runner.errors import FleetError, ShareTakenError

_ANSWER_S = 120.0  # a node starts a process to answer


def call_on(node: str, function: Callable[..., Any], *arguments: Any) -> Any:
    """The future of a call on a node."""
    strategy = NodeAffinitySchedulingStrategy(node, soft=False)
    return ray.remote(num_cpus=0, max_retries=0, scheduling_strategy=strategy)(function).remote(*arguments)


def wait_on(node: str, wait: Callable[..., None], *arguments: Any) -> None:
    """Waits for what a function waits for, on the node; here for the empty name.

    A node that has died holds nothing any more, and is not used again: there is nothing to wait for.

    Raises:
        FleetError: in vain.
    """
    if not node:
        wait(*arguments)
        return
    for is_last in (False, True):  # a process that answers may itself be ended for want of memory
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
