"""The verbs around MLflow's store: `sync` and `ui`."""

from __future__ import annotations

import functools
import os
import socket

import click

from runner.cli.app import Verb, takes_sweep, verb
from runner.texts.redaction import without_credentials


def takes_store(function: Verb) -> Verb:
    """Adds the option of verbs that use an MLflow store, for `store_to_use`."""
    default = "that of the latest sweep, else $MLFLOW_TRACKING_URI or sqlite:///mlflow.db"
    return click.option("--uri", help=f"MLflow tracking URI.  [default: {default}]")(function)


@verb
@click.option("--tracking-uri", metavar="URI", help="Another MLflow store.  [default: that of the sweep's config]")
@takes_sweep
def sync(sweep: str, tracking_uri: str | None) -> None:
    """Sends to MLflow what it lacks of a sweep's journal; may be repeated."""
    from runner.config.mlflow_variables import with_credentials
    from runner.journal import JournalReader, locked
    from runner.review.catalog import find_sweep
    from runner.tracking import sync as send
    from runner.tracking.store_check import check_address

    folder = find_sweep(sweep)
    with locked(folder):
        with JournalReader(folder) as journal:
            store = tracking_uri or with_credentials(journal.sweep().tracking_uri, os.environ)
        check_address(store)
        where = send(folder, store, on_warning=functools.partial(click.echo, err=True))
    click.echo(f"{where} has all of sweep {folder.name}")


@verb
@click.option("--port", type=click.IntRange(1, 65535), default=5000, show_default=True, help="Port on 127.0.0.1.")
@takes_store
def ui(port: int, uri: str | None) -> int:
    """Opens the MLflow UI on 127.0.0.1, for this machine alone."""
    from runner.tracking.ui import serve, server_command, server_environment

    store = store_to_use(uri)
    shown = without_credentials(store)
    if store.startswith(("http://", "https://")):
        click.echo(f"this store has a UI of its own: {shown}")
        return 0
    _check_port(port)
    _relocate_artifacts(store)
    click.echo(f"MLflow UI of {shown}: http://127.0.0.1:{port} in a few seconds (Ctrl-C ends it)")
    return serve(server_command(port), server_environment(store, os.environ), click.get_current_context().obj)


def store_to_use(uri: str | None) -> str:
    """The given store, else that of the latest sweep, else the environment's, else the default.

    Raises:
        ConfigError: its address cannot be parsed.
    """
    from runner.config.mlflow_variables import DEFAULT_URI, with_credentials
    from runner.review.catalog import list_sweeps
    from runner.tracking.store_check import check_address

    sweeps = [] if uri else list_sweeps()
    if sweeps:
        uri = with_credentials(sweeps[0].sweep.tracking_uri, os.environ)
    store = uri or os.environ.get("MLFLOW_TRACKING_URI") or DEFAULT_URI
    check_address(store)
    return store


def _relocate_artifacts(store: str) -> None:
    """Makes a sqlite store that was moved or copied with its artifacts show those beside it."""
    from runner.tracking.addresses import ARTIFACTS, sqlite_file
    from runner.tracking.moved_store import relocate_artifacts

    file = sqlite_file(store)
    if file is not None and file.is_file() and (file.parent / ARTIFACTS).is_dir():
        relocate_artifacts(file)


def _check_port(port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as err:
            raise click.UsageError(f"port {port} of 127.0.0.1: {err.strerror}; choose another one with --port") from err
