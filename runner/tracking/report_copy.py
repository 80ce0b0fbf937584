"""MLflow's copy of an ended sweep's page."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

from runner.errors import JournalError
from runner.journal import REPORT, SweepRecord, open_staging, own_file
from runner.tracking.errors import StoreRefusedError


def send_report(folder: Path, sweep: SweepRecord, run_id: str, uri: str) -> None:
    """Sends a sweep's page in place of the one that its run has had since its end.

    Args:
        folder: the sweep's, with the page. Nothing else is writing to it.
        sweep: the sweep, which has ended.
        run_id: its run in the store of its config.
        uri: of that store, with its credentials.

    Raises:
        TrackingError: the store does not accept it.
    """
    from runner.tracking.mlflow_log import logging_to
    from runner.tracking.mlflow_sink import MlflowSink

    sink = MlflowSink(uri, sweep.mlflow_experiment, open_staging(folder))
    try:
        with logging_to(folder), closing(sink):
            sink.open()
            sink.log_file(run_id, own_file(folder, REPORT), REPORT)
    except JournalError as err:
        raise StoreRefusedError(str(err)) from err
