"""Sends a journal to a store after its sweep: to the config's own, where that was down, or to another one."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from runner.errors import TrackingError
from runner.journal import JournalReader, open_staging
from runner.tracking.errors import StoreRefusedError
from runner.tracking.ledger import HOME, Ledger, describe_missing

if TYPE_CHECKING:
    from runner.tracking.follower import Follower

_PATIENCE_S = 60.0
_LONGEST_PAUSE_S = 5.0


def sync(folder: Path, uri: str | None, on_warning: Callable[[str], None], patience_s: float = _PATIENCE_S) -> str:
    """Sends what the journal holds and a store lacks. Whoever calls holds the sweep's lock.

    Args:
        folder: the sweep's folder.
        uri: the store's address; None for that of the sweep's config.
        on_warning: called with an outage, and with each trial whose run MLflow refuses.
        patience_s: how long a store that takes nothing is tried again.

    Returns:
        The store's address as it may be shown.

    Raises:
        TrackingError: with what is still missing.
        SweepNotFoundError: there is no journal.
        JournalError: a file of the sweep's is a link.
    """
    from runner.tracking.addresses import store_name
    from runner.tracking.follower import Follower
    from runner.tracking.mlflow_log import logging_to
    from runner.tracking.mlflow_sink import MlflowSink

    problems: list[str] = []

    def tell(problem: str) -> None:
        problems.append(problem)
        on_warning(problem)

    with JournalReader(folder) as journal:
        sweep = journal.sweep()
    store = HOME if uri is None else store_name(uri, sweep.tracking_uri)
    sink = MlflowSink(uri or sweep.tracking_uri, sweep.mlflow_experiment, open_staging(folder))
    where = f"MLflow at {sink.where}"
    with Ledger(folder, store) as ledger, logging_to(folder), closing(sink):
        failure = _send(Follower(folder, ledger, sink, tell), ledger, where, tell, patience_s)
        missing = describe_missing(ledger, where, str(failure) if failure else "; ".join(problems))
    if failure is not None:
        raise TrackingError(missing or f"{where}: {failure}") from failure
    if missing is not None:
        raise TrackingError(missing)
    return where


def _send(
    follower: Follower, ledger: Ledger, where: str, tell: Callable[[str], None], patience_s: float
) -> Exception | None:
    """Lets the follower send everything; returns what finally kept it from that."""
    before, pause_s, tried_since_s = ledger.missing(), 0.0, time.monotonic()
    while True:
        try:
            follower.advance()
            return None
        except StoreRefusedError as err:
            return err
        except (TrackingError, sqlite3.OperationalError) as err:
            failure: Exception = err
        if ledger.missing() != before:
            before, pause_s, tried_since_s = ledger.missing(), 0.0, time.monotonic()
        elif time.monotonic() - tried_since_s > patience_s:
            return failure
        elif pause_s == 0.0:
            tell(f"{where} does not answer ({failure}); trying for {patience_s:.0f} s")
        pause_s = min(2 * pause_s + 0.2, _LONGEST_PAUSE_S)
        time.sleep(pause_s)
