"""The context of a sweep that a Python program starts: what is shown, and how it is stopped."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import get_args

from runner.driver.context import Context, SweepWatcher
from runner.errors import ConfigError, RunnerError
from runner.host.signals import StopRequest, StopSignals
from runner.views.watchers import ProgressKind, watcher_for

__all__ = ["Context", "Progress", "check_progress", "context_for", "context_with", "only_one"]

Progress = ProgressKind
_BUSY = threading.Lock()  # a process has one Ray and one TensorFlow


@contextmanager
def context_for(progress: Progress) -> Iterator[Context]:
    """This process; signals stop the sweep if this is the main thread, and are left alone elsewhere.

    A second Ctrl-C raises at once. SIGTERM and a closed terminal stop the sweep cleanly, and then do what they would
    have done.

    Raises:
        RunnerError: this process trains a sweep already.
    """
    check_progress(progress)
    with only_one(), _stoppable() as stop:
        yield Context(watcher=watcher_for(progress), stop=stop, environment=dict(os.environ))


def context_with(watcher: SweepWatcher, stop: StopRequest) -> Context:
    """This process, for a caller that has its own watcher and requests to stop."""
    return Context(watcher=watcher, stop=stop, environment=dict(os.environ))


def check_progress(progress: str) -> None:
    """Refuses a word that says nothing of what to show.

    Raises:
        ConfigError: it is none of the four.
    """
    if progress not in get_args(ProgressKind):
        raise ConfigError(f"progress: must be {', '.join(get_args(ProgressKind))}; got {progress!r}")


@contextmanager
def only_one() -> Iterator[None]:
    """Entered while this process trains a sweep.

    Raises:
        RunnerError: it trains one already.
    """
    if not _BUSY.acquire(blocking=False):
        raise RunnerError(
            "this process trains a sweep already; wait for its .result(), stop it by .stop(), or start another process"
        )
    try:
        yield
    finally:
        _BUSY.release()


@contextmanager
def _stoppable() -> Iterator[StopRequest]:
    if threading.current_thread() is not threading.main_thread():
        yield StopRequest()
        return
    signals = StopSignals(ends_program=False)
    try:
        with signals:
            yield signals
    finally:
        if signals.ending is not None:
            signal.raise_signal(signals.ending)
