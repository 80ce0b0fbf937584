"""Starts and ends Ray in a thread of its own, so that no signal interrupts it half-way."""

from __future__ import annotations

import threading
from typing import Any, Self

import ray
from ray.exceptions import RayError

from runner.errors import FleetError


class RaySession:
    """Ray, connected while this is open.

    A Ray that is interrupted while it starts leaves some of its processes behind: here a signal waits until it has
    started, and is then followed by its orderly end. In a thread other than the main one Ray also leaves the handler of
    SIGTERM alone. The thread lives as long as the session: Linux ends Ray's processes with the thread that began them.

    Args:
        options: of `ray.init`.
    """

    def __init__(self, **options: Any) -> None:
        self._options = options
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
        if isinstance(self._error, ConnectionError | RuntimeError | ValueError | RayError):
            raise FleetError(f"Ray did not start: {self._error}") from self._error
        if self._error is not None:
            raise self._error
        return self

    def __exit__(self, *exc: object) -> None:
        self._closing.set()
        self._thread.join()

    def _run(self) -> None:
        try:
            ray.init(**self._options)
        except BaseException as err:  # raised again in the thread that waits
            self._error = err
            return
        finally:
            self._started.set()
        self._closing.wait()
        ray.shutdown()
