"""Starts and ends Ray in a thread of its own, so that no signal interrupts it half-way."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Self

import ray
from ray._private import ray_constants, services
from ray._private.node import Node
from ray.exceptions import RayError

from runner.errors import FleetError
from runner.fleet import end_with_parent
from runner.fleet.access import private_cluster
from runner.fleet.processes import send
from runner.processes import descendants, start_of

# What `ray.init` starts on every machine, though only an autoscaler, a stream of the workers' logs and a dashboard need
# it: a Python process each, 1.5 s when Ray starts and 1 s when it ends. No option leaves them out, so tests watch this.
_UNUSED_PROCESSES = ("start_monitor", "start_log_monitor", "start_api_server")
_AGENTS_PYTHON = "_build_python_executable_command_memory_profileable"
_KILL_ALL = Node.kill_all_processes


class RaySession:
    """Ray, connected while this is open.

    A Ray that is interrupted while it starts leaves some of its processes behind: here a signal waits until it has
    started, and is then followed by its orderly end. In a thread other than the main one Ray also leaves the handler of
    SIGTERM alone. The thread lives as long as the session: Linux ends Ray's processes with the thread that began them.

    Args:
        gpus: names of the GPUs that a Ray started here is told of, in their order; others it does not see.
        options: of `ray.init`.
    """

    def __init__(self, gpus: Sequence[str], **options: Any) -> None:
        self._gpus, self._options = gpus, options
        self._started, self._closing = threading.Event(), threading.Event()
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="ray-session", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        try:
            self._started.wait()
        except BaseException:
            self.__exit__()
            raise
        if isinstance(self._error, OSError | RuntimeError | ValueError | RayError):
            raise FleetError(f"Ray did not start: {self._error}") from self._error
        if self._error is not None:
            raise self._error
        return self

    def __exit__(self, *exc: object) -> None:
        self._closing.set()
        self._thread.join()

    def _run(self) -> None:
        # Ray's processes inherit it, as they inherit from Ray that SIGINT is blocked: of a closed terminal, and of what
        # ends a whole group or batch job, the driver alone hears. Without them nothing could end in good order.
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP, signal.SIGTERM})
        with ExitStack() as ending:
            try:
                options = self._options
                if options.get("address") == "local":  # another cluster has rules of its own
                    options = {**options, **ending.enter_context(private_cluster())}
                with _lean(), _mortal(), _only(self._gpus), _reachable(_is_elsewhere(options["address"])):
                    ray.init(**options)
            except BaseException as err:  # raised again in the thread that waits
                self._error = err
                return
            finally:
                self._started.set()
            self._closing.wait()
            _shut_down()


@contextmanager
def _lean() -> Iterator[None]:
    """A Ray that starts meanwhile does without what is not used here."""
    with ExitStack() as replaced:
        for name in _UNUSED_PROCESSES:
            if hasattr(Node, name):
                replaced.enter_context(_replaced(Node, name, lambda *_, **__: None))
        yield


@contextmanager
def _mortal() -> Iterator[None]:
    """The agents of a raylet that starts meanwhile end with it.

    By themselves they first tell Ray's server of its death, which has ended with a driver that was killed: that takes
    them a minute.
    """
    build = getattr(services, _AGENTS_PYTHON, None)
    if build is None:
        yield
        return
    become = [sys.executable, "-IS", str(Path(end_with_parent.__file__))]
    with _replaced(services, _AGENTS_PYTHON, lambda *of, **options: [*become, *build(*of, **options)]):
        yield


def _shut_down() -> None:
    """Ends Ray, and with a Ray that was started here all of its processes.

    Ray would ask its processes by SIGTERM, which they do not hear, and give each a second for the answer. What its
    raylet had started would notice some time after it.
    """
    with _replaced(Node, "kill_all_processes", _kill):
        ray.shutdown()


def _kill(node: Node, **_: Any) -> None:
    """Kills the processes that were started for this node, and what they have started."""
    own = [info.process.pid for infos in node.all_processes.values() for info in infos]
    for pid in own:
        send(pid, signal.SIGSTOP)  # so that they start nothing while what they have started is looked for
    below = {pid: start_of(pid) for started in own for pid in descendants(started)}
    _KILL_ALL(node, check_alive=False)
    for pid, start in below.items():
        if start is not None and start_of(pid) == start:
            send(pid, signal.SIGKILL)


@contextmanager
def _replaced(owner: object, name: str, function: Callable[..., Any]) -> Iterator[None]:
    """Meanwhile a class or module of Ray's has this function."""
    before = getattr(owner, name)
    setattr(owner, name, function)
    try:
        yield
    finally:
        setattr(owner, name, before)


@contextmanager
def _only(gpus: Sequence[str]) -> Iterator[None]:
    """A Ray that starts meanwhile, and its workers, count these GPUs, the first of them as 0."""
    before = os.environ.get("CUDA_VISIBLE_DEVICES")
    if gpus:
        os.environ["CUDA_VISIBLE_DEVICES"] = ",".join(gpus)
    try:
        yield
    finally:
        if gpus:
            os.environ.pop("CUDA_VISIBLE_DEVICES")
        if gpus and before is not None:
            os.environ["CUDA_VISIBLE_DEVICES"] = before


@contextmanager
def _reachable(by_others: bool) -> Iterator[None]:
    """Meanwhile Ray takes this machine's address in the network for its own, not loopback: a cluster's nodes call back.

    A cluster that is itself on loopback is not found there.

    Source: `get_node_ip_address` in Ray's `_private/services.py`.
    """
    before = ray_constants.ENABLE_RAY_CLUSTER
    ray_constants.ENABLE_RAY_CLUSTER = by_others or before
    try:
        yield
    finally:
        ray_constants.ENABLE_RAY_CLUSTER = before


def _is_elsewhere(address: str) -> bool:
    """Whether an address of `ray.init` may be that of a cluster with other machines in it."""
    host = address.rpartition(":")[0]
    return address != "local" and not host.startswith("127.") and host not in ("localhost", "[::1]", "::1")
