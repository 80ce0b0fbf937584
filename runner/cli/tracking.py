"""The verbs around MLflow's store: `sync` and `ui`."""

from __future__ import annotations

import functools
import socket

import click

from runner.cli.app import Verb, takes_sweep, verb
from runner.texts.redaction import without_credentials


def takes_store(function: Verb) -> Verb:
    """Adds the option of verbs that use an MLflow store."""
    default = "that of the latest sweep, else $MLFLOW_TRACKING_URI or sqlite:///mlflow.db"
    return click.option("--uri", help=f"MLflow tracking URI.  [default: {default}]")(function)


@verb
@click.option("--tracking-uri", metavar="URI", help="Another MLflow store.  [default: that of the sweep's config]")
@takes_sweep
def sync(sweep: str, tracking_uri: str | None) -> None:
    """Sends to MLflow what it lacks of a sweep's journal; may be repeated."""
    from runner.api.catalog import load
    from runner.api.machine import sync as send

    folder = load(sweep).folder
    where = send(folder, tracking_uri, functools.partial(click.echo, err=True))
    click.echo(f"{where} has all of sweep {folder.name}")


@verb
@click.option("--port", type=click.IntRange(1, 65535), default=5000, show_default=True, help="Port on 127.0.0.1.")
@takes_store
def ui(port: int, uri: str | None) -> int:
    """Opens the MLflow UI on 127.0.0.1, for this machine alone."""
    from runner.api.machine import serve_ui, store_to_use

    store = store_to_use(uri)
    shown = without_credentials(store)
    if store.startswith(("http://", "https://")):
        click.echo(f"this store has a UI of its own: {shown}")
        return 0
    _check_port(port)
    click.echo(f"MLflow UI of {shown}: http://127.0.0.1:{port} in a few seconds (Ctrl-C ends it)")
    return serve_ui(store, port, click.get_current_context().obj)


def _check_port(port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as err:
            raise click.UsageError(f"port {port} of 127.0.0.1: {err.strerror}; choose another one with --port") from err
