"""MLflow's import, which takes seconds, begun before it is needed."""

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
    """Imports what MLflow needs for a store in a thread of its own.

    Not where a worker lives in this process: its lean import of Keras hides packages that MLflow needs.
    """
    # No daemon: Python would end that in the middle of an import, and where it is in C++ the whole process aborts.
    threading.Thread(target=_import_mlflow, args=(uri,), name=_THREAD).start()


def wait_until_imported() -> None:
    """Returns when no `preload` runs any more: two threads that import the same could find its modules half made."""
    for thread in threading.enumerate():
        if thread.name == _THREAD:
            thread.join()


def _import_mlflow(uri: str) -> None:
    """Imports in pieces of less than a second: the end of the program waits for the one that is being imported."""
    server = uri.startswith(("http://", "https://"))
    with without_collecting():
        for name in _PIECES if server else (*_PIECES, "mlflow.store.tracking.sqlalchemy_store"):
            if not threading.main_thread().is_alive():
                return
            with suppress(ImportError):  # a projection tells it
                importlib.import_module(name)
