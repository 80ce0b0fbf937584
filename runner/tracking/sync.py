"""Sends a journal to a store after its sweep: to the config's store if that was down, or to another one."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from runner.errors import TrackingError
from runner.journal import JournalReader, open_staging
from runner.tracking.delivery import Deadline, Delivery
from runner.tracking.errors import StoreRefusedError
from runner.tracking.ledger import HOME, Ledger, describe_missing

_PATIENCE_S = 60.0


def sync(folder: Path, uri: str | None, on_warning: Callable[[str], None], deadline_s: float = _PATIENCE_S) -> str:
    """Sends what a store lacks of a journal. The caller holds the sweep's lock.

    Args:
        folder: the sweep's folder.
        uri: the store's address; None for that of the sweep's config.
        on_warning: called with each outage, and with each trial whose run MLflow refuses.
        deadline_s: how long a store that takes nothing is tried.

    Returns:
        The store's address as it may be shown.

    Raises:
        TrackingError: the store still lacks something, which the message names.
        SweepNotFoundError: there is no journal.
        JournalError: a file of the sweep's is a link.
    """
    from runner.tracking.addresses import store_name
    from runner.tracking.follower import Follower
    from runner.tracking.mlflow_log import logging_to
    from runner.tracking.mlflow_sink import MlflowSink

    problems: list[str] = []

    def warn(problem: str) -> None:
        problems.append(problem)
        on_warning(problem)

    def on_failure(err: Exception, is_first: bool) -> None:
        if is_first and not isinstance(err, StoreRefusedError):
            warn(f"{where} does not answer ({err}); trying for {deadline_s:.0f} s")

    with JournalReader(folder) as journal:
        sweep = journal.sweep()
    store = HOME if uri is None else store_name(uri, sweep.tracking_uri)
    sink = MlflowSink(uri or sweep.tracking_uri, sweep.mlflow_experiment, open_staging(folder))
    where = f"MLflow at {sink.where}"
    with Ledger(folder, store) as ledger, logging_to(folder), closing(sink):
        deadline = Deadline(deadline_s, lambda: ledger.acknowledged_s)
        deadline.begin()
        error = Delivery(Follower(folder, ledger, sink, warn).advance, on_failure).finish(deadline)
        missing = describe_missing(ledger, where, str(error) if error else "; ".join(problems))
    if error is not None:
        raise TrackingError(missing or f"{where}: {error}") from error
    if missing is not None:
        raise TrackingError(missing)
    return where
