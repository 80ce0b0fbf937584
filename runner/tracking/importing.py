"""Imports MLflow ahead of time, because the import takes seconds."""

from __future__ import annotations

import importlib
import threading
from contextlib import suppress

from runner.host.processes import without_collecting

_THREAD = "mlflow-import"
_PIECES = (
    "sqlalchemy",
    "pandas",
    "alembic.migration",
    "fastapi",
    "mlflow",
    "mlflow.pyfunc",
    "runner.tracking.follower",
)


def preload(uri: str) -> None:
    """Imports in a separate thread what MLflow needs for a store.

    Not for use in a process that has a worker, whose lean import of Keras hides packages that MLflow needs.
    """
    # Not a daemon: Python would kill it in the middle of an import, and inside C++ that aborts the whole process.
    threading.Thread(target=_import_mlflow, args=(uri,), name=_THREAD).start()


def wait_until_imported() -> None:
    """Waits until no `preload` runs, because two threads that import a package may see its modules half initialised."""
    for thread in threading.enumerate():
        if thread.name == _THREAD:
            thread.join()


def _import_mlflow(uri: str) -> None:
    """Imports in pieces of less than a second, because the end of the program waits for the current piece."""
    server = uri.startswith(("http://", "https://"))
    with without_collecting():
        for name in _PIECES if server else (*_PIECES, "mlflow.store.tracking.sqlalchemy_store"):
            if not threading.main_thread().is_alive():
                return
            with suppress(ImportError):  # the projection reports it
                importlib.import_module(name)
