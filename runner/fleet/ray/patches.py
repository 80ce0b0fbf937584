"""Replaces private parts of Ray while it starts and ends, because Ray has no options for these changes.

Each change is a context manager that yields the names of the parts that this version of Ray does not have; those are
left out.

Source: ray 2.60, `ray/_private/node.py` and `ray/_private/services.py`; tests check each change.
"""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext, suppress
from pathlib import Path
from types import ModuleType
from typing import Any

import ray
from ray._private import ray_constants, services, utils, worker
from ray._private.node import Node
from ray.job_config import JobConfig

from runner.fleet.ray import agent
from runner.host.endings import send
from runner.host.processes import descendants, start_of

TESTED_RAY = ">=2.52,<2.61"
"""Versions of Ray that have all of these parts, as in `pyproject.toml`."""
Missing = tuple[str, ...]
"""Full names of the parts that this version of Ray does not have."""
_UNUSED_PROCESSES = ("start_monitor", "start_log_monitor", "start_api_server")
_AGENTS_PYTHON = "_build_python_executable_command_memory_profileable"
_KILL_ALL: Any = getattr(Node, "kill_all_processes", None)
_GET_NODE: Any = getattr(services, "get_node", None)
_LOOK_AGAIN_S = 0.02
_LOOK_AT_MOST_S = 5.0  # then Ray looks itself and reports the error
_ANSWER_S = 1.0


@contextmanager
def lean() -> Iterator[Missing]:
    """Makes a Ray that starts inside of it start faster, and its agents end with their raylet.

    - Leaves out the autoscaler, the log monitor and the dashboard, each a Python process. Ray cannot run without the
      dashboard's agent, so only the dashboard's modules in it are left out.
    - Starts the agents through `agent`, which ends them with their raylet.
    - Polls for the raylet at short intervals. Ray polls once a second.

    Also yields the part that `shut_down` replaces if it is missing.
    """
    build = getattr(services, _AGENTS_PYTHON, None)
    program = str(Path(agent.__file__))
    changes: list[tuple[type | ModuleType, str, Callable[..., object]]] = [
        *((Node, name, lambda *_, **__: None) for name in _UNUSED_PROCESSES),
        (services, _AGENTS_PYTHON, lambda *of, **options: [*build(*of, **options), program]),  # type: ignore[misc]
        (utils, "get_dashboard_dependency_error", lambda: ImportError("a sweep's Ray has no dashboard")),
        (services, "get_node", _get_node),
    ]
    with ExitStack() as changed:
        missing = [part for change in changes for part in changed.enter_context(_replaced(*change))]
        yield (*missing, *_missing(Node, "kill_all_processes"))


def quiet() -> AbstractContextManager[Missing]:
    """Keeps a driver that connects inside of it from printing raylets' reports, a paragraph for each worker's death.

    The fleet reports deaths itself. Ray's option `log_to_driver` does not affect these reports.
    """
    return _replaced(worker, "listen_error_messages", lambda *_: None)


def reachable(by_others: bool) -> AbstractContextManager[Missing]:
    """Makes Ray use this machine's network address instead of loopback, because a cluster's nodes call back.

    Args:
        by_others: whether to do so; a cluster that listens on loopback is not found at the network address.

    Source: `get_node_ip_address` in Ray's `_private/services.py`.
    """
    return _replaced(ray_constants, "ENABLE_RAY_CLUSTER", True) if by_others else nullcontext(())


def warning_about(missing: Missing) -> str:
    """Warns of parts that this version of Ray does not have."""
    return (
        f"warning: ray {ray.__version__} has no {', '.join(missing)}, which this program replaces; Ray may "
        "therefore start slowly, print reports, leave processes behind or import modules from the current folder; use "
        f"a tested version: pip install 'ray{TESTED_RAY}'"
    )


def control_process() -> subprocess.Popen[bytes] | None:
    """Ray's control process (GCS), which has the state of the cluster; None if Ray was not started here."""
    node = ray._private.worker._global_node
    found = node.all_processes.get(ray_constants.PROCESS_TYPE_GCS_SERVER, []) if node is not None else []
    return found[0].process if found else None


def kill_all() -> None:
    """Kills all processes of a Ray that was started by this process."""
    node = ray._private.worker._global_node
    if node is not None:
        _kill(node)


def without_drivers_folders() -> AbstractContextManager[Missing]:
    """Keeps Ray from adding the driver's current folder and script folder to its workers' `sys.path`.

    Ray puts both before Python's standard library, so that a `json.py` or `runner.py` there breaks every worker. If
    the current folder is a clone of this program, nothing changes, because workers find the program there.

    Source: `connect` in Ray's `_private/worker.py`, which omits the folders for jobs with a working directory.
    """
    if Path(__file__).parents[3] == Path.cwd():
        return nullcontext(())
    return _replaced(JobConfig, "_runtime_env_has_working_dir", lambda _: True)


def shut_down() -> None:
    """Disconnects from Ray, and kills all processes of a Ray that was started by this process.

    Ray sends its processes SIGTERM, which they ignore, and waits a second for each. The children of its raylet end some
    time after it.
    """
    with _replaced(Node, "kill_all_processes", _kill):
        ray.shutdown()


def _get_node(gcs_address: str, node_id: str) -> object:
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
    own = [info.process.pid for infos in node.all_processes.values() for info in infos]
    for pid in own:
        send(pid, signal.SIGSTOP)  # so that they start no processes while their descendants are listed
    below = {pid: start_of(pid) for started in own for pid in descendants(started)}
    _KILL_ALL(node, check_alive=False)
    for pid, start in below.items():
        if start is not None and start_of(pid) == start:
            send(pid, signal.SIGKILL)


@contextmanager
def _replaced(owner: type | ModuleType, name: str, value: object) -> Iterator[Missing]:
    """Replaces an attribute of Ray inside of it; changes nothing if this version of Ray does not have it."""
    if missing := _missing(owner, name):
        yield missing
        return
    before = getattr(owner, name)
    setattr(owner, name, value)
    try:
        yield ()
    finally:
        setattr(owner, name, before)


def _missing(owner: type | ModuleType, name: str) -> Missing:
    """The full name of an attribute that this version of Ray does not have; empty if it has it."""
    if hasattr(owner, name):
        return ()
    prefix = owner.__name__ if isinstance(owner, ModuleType) else f"{owner.__module__}.{owner.__qualname__}"
    return (f"{prefix}.{name}",)
