"""This machine and its MLflow store: examined, filled, and shown."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from runner.review.catalog import SWEEPS, list_sweeps

__all__ = ["Finding", "doctor", "serve_ui", "store_to_use", "sync"]

if TYPE_CHECKING:
    from runner.driver.doctor import Finding
    from runner.host.signals import StopSignals


def doctor(uri: str | None = None, *, root: str | os.PathLike[str] = SWEEPS) -> list[Finding]:
    """Examines GPUs, TensorFlow, MPS, Ray, MLflow's store and disks, each with advice.

    Args:
        uri: of the store; None for that of the latest sweep, else of the environment, else the default.
        root: the folder of all sweeps.

    Returns:
        One finding for each part: its `status` is ok, warn or fail.

    Raises:
        ConfigError: the store's address cannot be parsed.
    """
    from runner.driver.doctor import examine

    return examine(store_to_use(uri, Path(root)), Path(root))


def store_to_use(uri: str | None, root: Path = SWEEPS) -> str:
    """The given store, else that of the latest sweep, else the environment's, else the default.

    Raises:
        ConfigError: its address cannot be parsed.
    """
    from runner.config.mlflow_variables import DEFAULT_URI, with_credentials
    from runner.tracking.store_check import check_address

    found = [] if uri else list_sweeps(root)
    if found:
        uri = with_credentials(found[0].sweep.tracking_uri, os.environ)
    store = uri or os.environ.get("MLFLOW_TRACKING_URI") or DEFAULT_URI
    check_address(store)
    return store


def sync(folder: Path, uri: str | None, warn: Callable[[str], None]) -> str:
    """Sends to MLflow what it lacks of a sweep's journal; may be repeated.

    Args:
        folder: the sweep's.
        uri: another store; None for that of the sweep's config.
        warn: shows a warning.

    Returns:
        The place of the sweep's runs.

    Raises:
        SweepBusyError: another process writes to the sweep.
        TrackingError: the store does not accept it.
    """
    from runner.config.mlflow_variables import with_credentials
    from runner.journal import JournalReader, locked
    from runner.tracking import sync as send
    from runner.tracking.store_check import check_address

    with locked(folder):
        with JournalReader(folder) as journal:
            store = uri or with_credentials(journal.sweep().tracking_uri, os.environ)
        check_address(store)
        return send(folder, store, on_warning=warn)


def serve_ui(store: str, port: int, stop: StopSignals) -> int:
    """Serves MLflow's UI of a store on 127.0.0.1 until a signal; returns the server's exit code.

    A sqlite store that was moved or copied with its artifacts shows those beside it.
    """
    from runner.tracking.addresses import ARTIFACTS, sqlite_file
    from runner.tracking.moved_store import relocate_artifacts
    from runner.tracking.ui import serve, server_command, server_environment

    file = sqlite_file(store)
    if file is not None and file.is_file() and (file.parent / ARTIFACTS).is_dir():
        relocate_artifacts(file)
    return serve(server_command(port), server_environment(store, os.environ), stop)
