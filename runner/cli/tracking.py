"""The verbs around MLflow's store: `sync` and `ui`."""

from __future__ import annotations

import functools
import socket
import webbrowser
from collections.abc import Sequence

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
@click.option("--open", "opens", is_flag=True, help="Open the sweep's trials in the browser.")
@takes_store
@click.argument("sweep", required=False)
def ui(sweep: str | None, port: int, opens: bool, uri: str | None) -> int:
    """Serves the MLflow UI on 127.0.0.1, for this machine alone, and prints the address of a sweep in it.

    SWEEP is as for `results`; without it, the latest one of the store.
    """
    from runner.api.machine import serve_ui, store_to_use, ui_address

    store = store_to_use(uri, sweep=sweep)
    shown, base = without_credentials(store), ui_address(store, port)
    has_server = base == shown
    if not has_server:
        _check_port(port)
    folder, pages = _pages(sweep, store, base)
    note = "this store has a UI of its own" if has_server else f"MLflow UI of {shown}"
    click.echo(f"{note}: {base}" + ("" if has_server else " in a few seconds (Ctrl-C ends it)"))
    for what, page in zip((f"trials of {folder}", "the sweep's own run"), pages, strict=False):
        click.echo(f"{what}:  {page}")
    first = pages[0] if pages else base
    if not has_server:
        return serve_ui(store, port, click.get_current_context().obj, open_at=first if opens else None)
    if opens:
        webbrowser.open(first)
    return 0


def _pages(sweep: str | None, store: str, base: str) -> tuple[str, tuple[str, ...]]:
    """A sweep's id, and the addresses of its pages; none if the store has none of it."""
    from runner.api.catalog import load, reviews
    from runner.api.machine import pages_of

    if sweep is not None:
        folder = load(sweep).folder
        return folder.name, pages_of(folder, base) or ()
    for review in reviews():
        if review.sweep.tracking_uri == without_credentials(store):
            return review.sweep.id, pages_of(review.folder, base) or ()
    return "", ()


@verb
@click.argument("sweep")
@click.argument("what", nargs=-1, required=True, metavar="[TRIAL] key=value ...")
def tag(sweep: str, what: Sequence[str]) -> None:
    """Tags a sweep with all its trials, or one trial, in the journal and in MLflow; SWEEP is as for `results`.

    \b
    python -m runner tag latest team=vision
    python -m runner tag latest 003 deployed=yes
    """  # noqa: D301
    from runner.api.catalog import load
    from runner.errors import ConfigError

    trial, texts = (None, what) if "=" in what[0] else (what[0], what[1:])
    if not texts:
        raise ConfigError("no tag is given; write one or several as key=value")
    parts = [text.partition("=") for text in texts]
    if wrong := [key for key, separator, _ in parts if not separator]:
        raise ConfigError(f"{wrong[0]!r}: write a tag as key=value")
    click.echo(load(sweep).tag({key: value for key, _, value in parts}, trial=trial))


def _check_port(port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as err:
            raise click.UsageError(f"port {port} of 127.0.0.1: {err.strerror}; choose another one with --port") from err
