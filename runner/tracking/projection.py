"""The thread that keeps MLflow up to date with the journal."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Self

from runner.journal import open_staging
from runner.texts.redaction import redact
from runner.tracking.backlog import BacklogReporter
from runner.tracking.delivery import Deadline, Delivery
from runner.tracking.errors import StoreRefusedError
from runner.tracking.importing import wait_until_imported
from runner.tracking.ledger import HOME, Ledger, describe_missing, is_ready

if TYPE_CHECKING:
    from runner.tracking.follower import Follower

_FLUSH_S = 1.0  # at most one pass in this time, however often it is notified
_AFTER_SIGNAL_S = 5.0  # most seconds to send the rest after a signal; `resume` or `sync` sends what is missing
_GRACE_S = 1.0  # for the thread to end after it has given up


def _to_stderr(message: str) -> None:
    print(message, file=sys.stderr)


class Projection:
    """Sends to MLflow, once and in a background thread, everything that is committed to the journal of `folder`.

    The thread imports MLflow, waits until the journal has its sweep, and follows it. It tries a store that is down or
    locked until that takes everything. The end of the context sends the rest, so end it after `SqliteJournal.end`. An
    unexpected error stops the thread and is raised at the end of the context. A KeyboardInterrupt during that end
    shortens the wait, and is raised after it.

    Args:
        folder: the sweep's folder.
        uri: the store's address with its credentials; None for the journal's, which has none.
        poll_s: how often to look for news without a notification.
        timeout_s: at the end, most seconds in which the store takes nothing; `problem` then names what is missing.
        on_warning: called from the thread with the first error of an outage, and with runs that MLflow refuses.
        on_backlog: called from time to time while the rest is sent, with its size and speed.
    """

    def __init__(
        self,
        folder: Path,
        uri: str | None = None,
        poll_s: float = 1.0,
        timeout_s: float = 120.0,
        on_warning: Callable[[str], None] = _to_stderr,
        on_backlog: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._folder = folder
        self._uri = uri
        self._poll_s = poll_s
        self._on_warning, self._on_backlog = on_warning, on_backlog
        self._wake = threading.Event()
        self._closing = threading.Event()
        self._ledger: Ledger | None = None  # the thread's
        self._deadline = Deadline(timeout_s, lambda: 0.0 if self._ledger is None else self._ledger.acknowledged_s)
        self._thread: threading.Thread | None = None
        self._error: BaseException | None = None
        self._last_problem = ""
        self._warned: set[str] = set()
        self._where = "MLflow"
        self.problem: str | None = None
        """After the end: what MLflow lacks and the journal keeps; None if nothing is missing."""

    def __enter__(self) -> Self:
        # A daemon, so that the program ends even if the store never answers.
        self._thread = threading.Thread(target=self._run, name="mlflow-projection", daemon=True)
        self._thread.start()
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        try:
            self._drain(by_a_signal=isinstance(error, KeyboardInterrupt))
        except KeyboardInterrupt:  # a person does not want to wait for the rest
            self._drain(by_a_signal=True)
            raise
        finally:
            self.problem = self._describe_missing()
        if self._error is not None:
            if error is None:
                raise self._error
            error.add_note(f"The MLflow projection had failed too: {self._error!r}")

    def _drain(self, by_a_signal: bool) -> None:
        """Waits until the store has everything, or has taken nothing for too long; only briefly after a signal."""
        assert self._thread is not None
        self._deadline.begin()
        if by_a_signal:
            self._deadline.shorten(_AFTER_SIGNAL_S)
        self._closing.set()
        self._wake.set()
        backlog = BacklogReporter(self._folder, self._on_backlog)
        while self._thread.is_alive() and self._deadline.seconds_left > -_GRACE_S:
            self._thread.join(max(0.01, min(backlog.pause_s, self._deadline.seconds_left + _GRACE_S)))
            if self._thread.is_alive() and not by_a_signal:
                backlog.report()

    def notify(self) -> None:
        """Informs the thread that something was committed; returns at once."""
        self._wake.set()

    def _run(self) -> None:
        try:
            wait_until_imported()
            from runner.tracking import follower, mlflow_log, mlflow_sink

            with mlflow_log.logging_to(self._folder):
                if not self._wait_for_sweep():
                    return
                with Ledger(self._folder, HOME) as ledger:
                    self._ledger = ledger
                    sweep = ledger.journal.sweep()
                    uri, staging = self._uri or sweep.tracking_uri, open_staging(self._folder)
                    sink = mlflow_sink.MlflowSink(uri, sweep.mlflow_experiment, staging)
                    self._where = f"MLflow at {sink.where}"
                    with closing(sink):
                        self._follow(follower.Follower(self._folder, ledger, sink, self._on_refused))
        except BaseException as err:  # raised again at the end of the context
            self._error, self._last_problem = err, redact(repr(err))
            self._on_warning(
                f"{self._where} is no longer followed ({self._last_problem}); the journal keeps everything"
            )

    def _wait_for_sweep(self) -> bool:
        while True:
            closing = self._closing.is_set()
            if is_ready(self._folder):
                return True
            if closing:
                return False
            self._closing.wait(self._poll_s)

    def _follow(self, follower: Follower) -> None:
        """Sends what is new until the end, then the rest."""
        delivery = Delivery(follower.advance, self._on_failure)
        while not self._closing.is_set():
            started_s = monotonic()
            if delivery.attempt():
                self._closing.wait(started_s + _FLUSH_S - monotonic())
                self._wake.wait(self._poll_s)
                self._wake.clear()
            else:
                self._closing.wait(delivery.pause_s)
        follower.retry_refused()
        delivery.finish(self._deadline)

    def _on_failure(self, err: Exception, is_first: bool) -> None:
        self._last_problem = str(err)
        if is_first:
            is_refusal = isinstance(err, StoreRefusedError)
            problem = f"takes nothing: {err}" if is_refusal else f"does not answer ({err}); trying again"
            self._on_warning(f"{self._where} {problem}; training goes on, the journal keeps everything")

    def _on_refused(self, message: str) -> None:
        self._last_problem = message
        if message not in self._warned:
            self._warned.add(message)
            self._on_warning(message)

    def _describe_missing(self) -> str | None:
        if not is_ready(self._folder):
            return None
        with Ledger(self._folder, HOME) as ledger:
            return describe_missing(ledger, self._where, self._last_problem or str(self._deadline))
