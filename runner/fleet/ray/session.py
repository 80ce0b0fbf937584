"""Starts and ends Ray in a separate thread, so that no signal interrupts its start or its end."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from subprocess import Popen
from types import MappingProxyType
from typing import Self

import ray

from runner.errors import FleetError, RunnerError
from runner.fleet.ray.auth import private_cluster
from runner.fleet.ray.patches import (
    control_process,
    kill_all,
    lean,
    network_address,
    quiet,
    shut_down,
    without_drivers_folders,
)
from runner.host.environment import variables

_POLL_S = 0.1
_QUIET = {"log_to_driver": False, "logging_level": "ERROR"}


class RaySession:
    """Connection to Ray, as a context manager.

    If Ray is interrupted while it starts, it leaves processes behind. Therefore a signal takes effect after the start,
    and Ray then ends cleanly. Outside of the main thread Ray also does not replace the handler of SIGTERM. The thread
    lives as long as the session because Linux ends Ray's processes with the thread that started them.

    Args:
        gpus: names of the GPUs that a Ray started here can use, in order; all if empty.
        address: of a running Ray cluster; "local" starts one on this machine.
        nice: niceness of the workers of a Ray started here, relative to this process.
        environment: variables of the processes of a Ray started here, beside those of this process.
        meanwhile: called repeatedly while Ray starts; an exception that it raises ends Ray once it has started.
        options: further options of `ray.init`.
    """

    def __init__(
        self,
        gpus: Sequence[str],
        *,
        address: str,
        nice: int = 0,
        environment: Mapping[str, str] = MappingProxyType({}),
        meanwhile: Callable[[], None] = lambda: None,
        **options: object,
    ) -> None:
        self._address, self._nice, self._options = address, nice, options
        # Ray and its workers have these GPUs, and number them from 0 in this order.
        self._environment = dict(environment) | ({"CUDA_VISIBLE_DEVICES": ",".join(gpus)} if gpus else {})
        self._asked = (address, nice, self._environment, options)
        self._meanwhile = meanwhile
        self._control: Popen[bytes] | None = None
        self._started, self._closing = threading.Event(), threading.Event()
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="ray-session", daemon=True)

    @property
    def is_alive(self) -> bool:
        """Whether Ray runs, as far as its control process shows it."""
        return self._control is None or self._control.poll() is None

    def is_like(self, other: RaySession) -> bool:
        """Whether another session would start Ray alike."""
        return self._asked == other._asked

    def __enter__(self) -> Self:
        if ray.is_initialized():
            raise FleetError(
                "this process has a Ray already, and one process can have one only; if it is that of an open "
                "runner.Session, start the sweep by the session's own `sweep`, or leave the session first; if your "
                "program has called ray.init, call ray.shutdown first"
            )
        self._thread.start()
        found: Exception | None = None
        try:
            while not self._started.wait(_POLL_S):
                found = found or self._call_meanwhile()
        except BaseException:
            self.__exit__()
            raise
        if found is not None:
            self.__exit__()
            raise found
        # Ray also raises plain `Exception`.
        if isinstance(self._error, Exception) and not isinstance(self._error, RunnerError):
            raise FleetError(
                f"Ray did not start: {self._error}; try again when the machine is less busy, run "
                "`python -m runner doctor`, or train without Ray: fleet.kind=local"
            ) from self._error
        if self._error is not None:
            raise self._error
        return self

    def __exit__(self, *exc: object) -> None:
        self._closing.set()
        self._thread.join()

    def _call_meanwhile(self) -> Exception | None:
        """The exception of `meanwhile`, which waits because Ray can only be ended after it has started."""
        try:
            self._meanwhile()
        except Exception as err:
            return err
        return None

    def check(self) -> None:
        """Kills a Ray started here if its control process has ended, because no worker can be started without it.

        Raises:
            FleetError: the control process has ended.
        """
        if self._control is not None and self._control.poll() is not None:
            kill_all()
            raise FleetError(
                f"Ray's control process (GCS, process {self._control.pid}) has ended, and without it no worker can be "
                "started or ended; all workers were killed"
            )

    def _run(self) -> None:
        # Ray's processes inherit the blocked signals, as they inherit from Ray that SIGINT is blocked. If a terminal
        # closes, or a signal ends a process group or batch job, only the driver reacts, because it needs Ray to end
        # cleanly.
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP, signal.SIGTERM})
        with ExitStack() as ending:
            try:
                options = {**_QUIET, **self._options}
                with ExitStack() as starting:
                    if self._address == "local":  # a running cluster has its own settings
                        options |= {"include_dashboard": False, **ending.enter_context(private_cluster(self._nice))}
                        starting.enter_context(lean())
                        starting.enter_context(without_drivers_folders())
                    starting.enter_context(quiet())
                    starting.enter_context(variables(self._environment))
                    starting.enter_context(network_address(_is_elsewhere(self._address)))
                    ray.init(address=self._address, **options)
                self._control = control_process()
            except BaseException as err:  # raised again in the thread that waits
                self._error = err
                return
            finally:
                self._started.set()
            self._closing.wait()
            shut_down()


def _is_elsewhere(address: str) -> bool:
    """Whether an address of `ray.init` may belong to a cluster with other machines."""
    host = address.rpartition(":")[0]
    return address != "local" and not host.startswith("127.") and host not in ("localhost", "[::1]", "::1")
