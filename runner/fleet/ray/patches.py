"""What is changed in Ray's own code while it starts and ends, in one place: no option of Ray's does any of it.

Source: ray 2.60, `ray/_private/node.py` and `ray/_private/services.py`; tests watch each change.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any

import ray
from ray._private import ray_constants, services, utils, worker
from ray._private.node import Node
from ray.job_config import JobConfig

from runner.fleet.ray import agent
from runner.host.processes import below, kill

_UNUSED_PROCESSES = ("start_monitor", "start_log_monitor", "start_api_server")
_AGENTS_PYTHON = "_build_python_executable_command_memory_profileable"
_KILL_ALL: Any = getattr(Node, "kill_all_processes", None)
_GET_NODE: Any = getattr(services, "get_node", None)
_LOOK_AGAIN_S = 0.02
_LOOK_AT_MOST_S = 5.0  # then Ray looks by itself, and tells what is wrong
_ANSWER_S = 1.0


@contextmanager
def lean() -> Iterator[None]:
    """A Ray that starts meanwhile is there sooner, and its agents do not outlive it.

    - What only an autoscaler, a stream of the workers' logs and a dashboard need is left out, a Python process each; so
      are the dashboard's parts of the agent that Ray cannot do without.
    - Its agents end with their raylet.
    - Its raylet is noticed when it is there. By itself Ray looks once a second.
    """
    build = getattr(services, _AGENTS_PYTHON, None)
    program = str(Path(agent.__file__))
    changes: list[tuple[object, str, Callable[..., Any]]] = [
        *((Node, name, lambda *_, **__: None) for name in _UNUSED_PROCESSES),
        (services, _AGENTS_PYTHON, lambda *of, **options: [*build(*of, **options), program]),  # type: ignore[misc]
        (utils, "get_dashboard_dependency_error", lambda: ImportError("a sweep's Ray has no dashboard")),
        (services, "get_node", _get_node),
    ]
    with ExitStack() as changed:
        for owner, name, function in changes:
            changed.enter_context(_replaced(owner, name, function))
        yield


@contextmanager
def quiet() -> Iterator[None]:
    """A driver that connects meanwhile does not print what raylets report, a paragraph on each death of a worker.

    The fleet says what has become of a worker. Ray has no option for it: `log_to_driver` is about other texts.
    """
    with _replaced(worker, "listen_error_messages", lambda *_: None):
        yield


@contextmanager
def reachable(by_others: bool) -> Iterator[None]:
    """Meanwhile Ray takes this machine's address in the network for its own, not loopback: a cluster's nodes call back.

    A cluster that is itself on loopback is not found there.

    Source: `get_node_ip_address` in Ray's `_private/services.py`.
    """
    with _replaced(ray_constants, "ENABLE_RAY_CLUSTER", True) if by_others else nullcontext():
        yield


def control_process() -> Any | None:
    """The process that holds the state of a Ray which was started here (GCS); None for another's cluster."""
    node = ray._private.worker._global_node
    found = node.all_processes.get(ray_constants.PROCESS_TYPE_GCS_SERVER, []) if node is not None else []
    return found[0].process if found else None


def kill_all() -> None:
    """Kills all processes of a Ray that was started here."""
    node = ray._private.worker._global_node
    if node is not None:
        _kill(node)


def without_drivers_folders() -> AbstractContextManager[None]:
    """Workers of a Ray that is connected to meanwhile import nothing from the driver's current and script's folders.

    Ray would put both before Python's own library, where a `json.py` or `runner.py` breaks every worker. In a clone
    whose package is installed nowhere it is left to do so, as its workers would not find this program otherwise.

    Source: `connect` in Ray's `_private/worker.py`, which leaves them out for jobs with a folder of their own.
    """
    if Path(__file__).parents[3] == Path.cwd():
        return nullcontext()
    return _replaced(JobConfig, "_runtime_env_has_working_dir", lambda _: True)


def shut_down() -> None:
    """Ends Ray, and with a Ray that was started here all of its processes.

    Ray would ask its processes by SIGTERM, which they do not hear, and give each a second for the answer. What its
    raylet had started would notice some time after it.
    """
    with _replaced(Node, "kill_all_processes", _kill):
        ray.shutdown()


def _get_node(gcs_address: str, node_id: str) -> Any:
    with suppress(Exception):  # of another version of Ray: it then waits by itself
        _wait_until_known(gcs_address, node_id)
    return _GET_NODE(gcs_address, node_id)


def _wait_until_known(gcs_address: str, node_id: str) -> None:
    from ray._raylet import GcsClient  # type: ignore[attr-defined]  # not in its type stub

    client = GcsClient(address=gcs_address)
    until = time.monotonic() + _LOOK_AT_MOST_S
    while time.monotonic() < until:
        if any(known.hex() == node_id for known in client.get_all_node_info(timeout=_ANSWER_S)):
            return
        time.sleep(_LOOK_AGAIN_S)


def _kill(node: Node, **_: Any) -> None:
    """Kills the processes that were started for this node, and what they have started."""
    own = [info.process for infos in node.all_processes.values() for info in infos]
    for process in own:
        process.send_signal(signal.SIGSTOP)  # so that they start nothing while their children are listed
    started = [child for process in own for child in below(process.pid)]
    _KILL_ALL(node, check_alive=False)
    kill(started)


@contextmanager
def _replaced(owner: object, name: str, value: Any) -> Iterator[None]:
    """Meanwhile Ray has this value under the name; what a version of Ray lacks is left out."""
    if not hasattr(owner, name):
        yield
        return
    before = getattr(owner, name)
    setattr(owner, name, value)
    try:
        yield
    finally:
        setattr(owner, name, before)
