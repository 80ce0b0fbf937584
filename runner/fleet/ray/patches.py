"""Replaces private parts of Ray while it starts and ends, because Ray has no options for these changes.

Each change is a context manager. Parts that this version of Ray lacks are left out, and `warning` names them.

Source: ray 2.60, `ray/_private/node.py` and `ray/_private/services.py`; tests check each change.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext, suppress
from pathlib import Path
from pkgutil import resolve_name
from typing import TYPE_CHECKING, Any

import ray
from ray._private import ray_constants, services
from ray._private.node import Node

from runner.fleet.ray import agent
from runner.host.processes import descendants, kill

if TYPE_CHECKING:
    from subprocess import Popen

TESTED = ">=2.60,<2.61"
"""Versions of Ray that the tests run with, as in pyproject.toml."""
_UNUSED_PROCESSES = tuple(f"ray._private.node:Node.start_{name}" for name in ("monitor", "log_monitor", "api_server"))
_AGENT_COMMAND = "ray._private.services:_build_python_executable_command_memory_profileable"
_FIND_NODE = "ray._private.services:get_node"
_DASHBOARD_ERROR = "ray._private.utils:get_dashboard_dependency_error"
_PRINT_REPORTS = "ray._private.worker:listen_error_messages"
_USE_NETWORK = "ray._private.ray_constants:ENABLE_RAY_CLUSTER"
_HAS_OWN_FOLDER = "ray.job_config:JobConfig._runtime_env_has_working_dir"
_KILL_PROCESSES = "ray._private.node:Node.kill_all_processes"
PARTS = (
    *_UNUSED_PROCESSES, _AGENT_COMMAND, _FIND_NODE, _DASHBOARD_ERROR, _PRINT_REPORTS, _USE_NETWORK, _HAS_OWN_FOLDER,
    _KILL_PROCESSES, agent.DASHBOARD_MODULES,
)  # fmt: skip
"""Every private part that is replaced, as `module:name`."""
_KILL_ALL: Any = getattr(Node, "kill_all_processes", None)
_GET_NODE: Any = getattr(services, "get_node", None)
_LOOK_AGAIN_S = 0.02
_LOOK_AT_MOST_S = 5.0  # then Ray looks itself and reports the error
_ANSWER_S = 1.0


def warning() -> str | None:
    """Names the private parts that this version of Ray lacks; None if it has all."""
    lacking = [part.replace(":", ".") for part in PARTS if _owner_of(part) is None]
    if not lacking:
        return None
    return (
        f"warning: Ray {ray.__version__} lacks {', '.join(lacking)}, which this program replaces so that Ray starts "
        "sooner, prints less and leaves no process behind; the sweep continues without that. Tested versions: "
        f"pip install 'ray{TESTED}'"
    )


@contextmanager
def lean() -> Iterator[None]:
    """Makes a Ray that starts inside of it start faster, and its agents end with their raylet.

    - Leaves out the autoscaler, the log monitor and the dashboard, each a Python process. Ray cannot run without the
      dashboard's agent, so only the dashboard's modules in it are left out.
    - Starts the agents through `agent`, which ends them with their raylet.
    - Polls for the raylet at short intervals. Ray polls once a second.
    """
    build = getattr(services, _AGENT_COMMAND.partition(":")[2], None)
    program = str(Path(agent.__file__))
    changes: dict[str, Callable[..., object]] = {
        **dict.fromkeys(_UNUSED_PROCESSES, lambda *_, **__: None),
        _AGENT_COMMAND: lambda *of, **options: [*build(*of, **options), program],  # type: ignore[misc]
        _DASHBOARD_ERROR: lambda: ImportError("a sweep's Ray has no dashboard"),
        _FIND_NODE: _find_node,
    }
    with ExitStack() as changed:
        for part, function in changes.items():
            changed.enter_context(_replaced(part, function))
        yield


@contextmanager
def quiet() -> Iterator[None]:
    """Keeps a driver that connects inside of it from printing raylets' reports, a paragraph for each worker's death.

    The fleet reports deaths itself. Ray's option `log_to_driver` does not affect these reports.
    """
    with _replaced(_PRINT_REPORTS, lambda *_: None):
        yield


@contextmanager
def network_address(used: bool) -> Iterator[None]:
    """Makes Ray use this machine's network address instead of loopback, because a cluster's nodes call back.

    Args:
        used: whether to do so; a cluster that listens on loopback is not found at the network address.

    Source: `get_node_ip_address` in Ray's `_private/services.py`.
    """
    with _replaced(_USE_NETWORK, True) if used else nullcontext():
        yield


def session_folder() -> Path | None:
    """The folder of sockets and logs of the Ray that this process is connected to; None if it is not connected."""
    node = _node()
    return None if node is None else Path(node.get_session_dir_path())


def control_process() -> Popen[bytes] | None:
    """Ray's control process (GCS), which has the state of the cluster; None if Ray was not started here."""
    node = _node()
    found = node.all_processes.get(ray_constants.PROCESS_TYPE_GCS_SERVER, []) if node is not None else []
    return found[0].process if found else None


def kill_all() -> None:
    """Kills all processes of a Ray that was started by this process."""
    node = _node()
    if node is not None:
        _kill(node)


def without_drivers_folders() -> AbstractContextManager[None]:
    """Keeps Ray from adding the driver's current folder and script folder to its workers' `sys.path`.

    Ray puts both before Python's standard library, so that a `json.py` or `runner.py` there breaks every worker. If
    the current folder is a clone of this program, nothing changes, because workers find the program there.

    Source: `connect` in Ray's `_private/worker.py`, which omits the folders for jobs with a working directory.
    """
    if Path(__file__).parents[3] == Path.cwd():
        return nullcontext()
    return _replaced(_HAS_OWN_FOLDER, lambda _: True)


def shut_down() -> None:
    """Disconnects from Ray, and kills all processes of a Ray that was started by this process.

    Ray sends its processes SIGTERM, which they ignore, and waits a second for each. The children of its raylet end some
    time after it.
    """
    with _replaced(_KILL_PROCESSES, _kill):
        ray.shutdown()


def _node() -> Node | None:
    """Ray's record of the cluster that this process started or connected to; None if there is none."""
    return ray._private.worker._global_node


def _find_node(gcs_address: str, node_id: str) -> object:
    with suppress(Exception):  # in another version of Ray, which then polls itself
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


def _kill(node: Node, **_: object) -> None:
    """Kills the processes that were started for this node, and their descendants."""
    own = [info.process for infos in node.all_processes.values() for info in infos]
    for process in own:
        process.send_signal(signal.SIGSTOP)  # so that they start nothing while their children are listed
    started = [child for process in own for child in descendants(process.pid)]
    _KILL_ALL(node, check_alive=False)
    kill(started)


@contextmanager
def _replaced(part: str, value: object) -> Iterator[None]:
    """Replaces an attribute of Ray inside of it; changes nothing if this version of Ray does not have it."""
    owner, name = _owner_of(part), part.replace(":", ".").rpartition(".")[2]
    if owner is None:
        yield
        return
    before = getattr(owner, name)
    setattr(owner, name, value)
    try:
        yield
    finally:
        setattr(owner, name, before)


def _owner_of(part: str) -> object | None:
    """The module or class that has the part; None if there is none."""
    module, _, path = part.partition(":")
    within, _, name = path.rpartition(".")
    try:
        owner: object = resolve_name(f"{module}:{within}")
    except (ImportError, AttributeError):
        return None
    return owner if hasattr(owner, name) else None
