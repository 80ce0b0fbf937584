"""This machine and its MLflow store: examined, filled, and shown."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from runner.review.catalog import SWEEPS, find_sweep, list_sweeps, open_review
from runner.texts.redaction import without_credentials

__all__ = [
    "DEFAULT_PORT",
    "Finding",
    "doctor",
    "pages_of",
    "send_report",
    "serve_ui",
    "store_to_use",
    "sync",
    "ui_address",
]

DEFAULT_PORT = 5000

if TYPE_CHECKING:
    from runner.driver.doctor import Finding
    from runner.host.signals import StopSignals


def doctor(uri: str | None = None, *, root: str | os.PathLike[str] = SWEEPS) -> list[Finding]:
    """Examines GPUs, TensorFlow, MPS, Ray, MLflow's store and disks, each with advice.

    Args:
        uri: of the store; None for that of the latest sweep, else of the environment, else the default.
        root: the folder of all sweeps.

    Returns:
        One finding for each part, whose `status` is ok, warn or fail.

    Raises:
        ConfigError: the store's address cannot be parsed.
    """
    from runner.driver.doctor import examine

    return examine(store_to_use(uri, Path(root)), Path(root))


def store_to_use(uri: str | None, root: Path = SWEEPS, sweep: str | None = None) -> str:
    """The given store, else that of this or of the latest sweep, else the environment's, else the default.

    Raises:
        ConfigError: its address cannot be parsed.
    """
    from runner.config.mlflow_variables import DEFAULT_URI, with_credentials
    from runner.tracking.store_check import check_address

    if sweep is None:
        found = [] if uri else list_sweeps(root)
    else:
        found = [] if uri else [open_review(find_sweep(sweep, root))]
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


def send_report(folder: Path, warn: Callable[[str], None]) -> None:
    """Replaces MLflow's copy of an ended sweep's page, if it has one; a failure is a warning.

    Args:
        folder: the sweep's.
        warn: shows a warning.
    """
    from runner.config.mlflow_variables import with_credentials
    from runner.errors import SweepBusyError, TrackingError
    from runner.journal import JournalReader, locked
    from runner.tracking.report_copy import send_report as send

    with JournalReader(folder) as journal:
        sweep = journal.sweep()
    if sweep.run_id is None or sweep.status == "running":
        return
    try:
        with locked(folder):
            send(folder, sweep, sweep.run_id, with_credentials(sweep.tracking_uri, os.environ))
    except SweepBusyError:  # it goes on, and sends its page at its end
        return
    except TrackingError as err:
        warn(f"warning: MLflow keeps the earlier page of {sweep.id}: {err}")


def pages_of(folder: Path, base: str) -> tuple[str, str] | None:
    """The addresses of a sweep's trials and of its own run in MLflow's UI; None if MLflow has none of it yet.

    Args:
        folder: the sweep's.
        base: the server's address.
    """
    from runner.journal import JournalReader
    from runner.tracking.pages import run_page, trials_page

    with JournalReader(folder) as journal:
        page, sweep_id = journal.page(), journal.sweep().id
    return None if page is None else (trials_page(base, page[0], sweep_id), run_page(base, *page))


def ui_address(store: str, port: int = DEFAULT_PORT) -> str:
    """The address of a store's pages: on its own server, whose address has no credentials here, or on `serve_ui`'s."""
    is_server = store.startswith(("http://", "https://"))
    return without_credentials(store) if is_server else f"http://127.0.0.1:{port}"


def serve_ui(store: str, port: int, stop: StopSignals, open_at: str | None = None) -> int:
    """Serves MLflow's UI of a store on 127.0.0.1 until a signal; returns the server's exit code.

    A sqlite store that was moved or copied with its artifacts shows those beside it.

    Args:
        store: its address.
        port: of 127.0.0.1.
        stop: ends the server.
        open_at: a page that a browser opens once the server answers; None for none.
    """
    from runner.tracking.addresses import ARTIFACTS, sqlite_file
    from runner.tracking.moved_store import relocate_artifacts
    from runner.tracking.ui import open_when_ready, serve, server_command, server_environment

    file = sqlite_file(store)
    if file is not None and file.is_file() and (file.parent / ARTIFACTS).is_dir():
        relocate_artifacts(file)
    if open_at is not None:
        open_when_ready(open_at, port)
    return serve(server_command(port), server_environment(store, os.environ), stop)
