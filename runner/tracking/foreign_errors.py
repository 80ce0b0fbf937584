"""Maps errors of MLflow, of databases and of artifact stores to those that a caller can act on."""

from __future__ import annotations

import logging
import sqlite3
import sysconfig
from collections.abc import Iterator
from contextlib import contextmanager
from traceback import walk_tb

import mlflow.exceptions
import sqlalchemy.exc

from runner.errors import RunnerError
from runner.texts.redaction import redact
from runner.texts.storable import shown
from runner.tracking.errors import StoreRefusedError, StoreUnavailableError, what_to_install

_REFUSALS = {
    "ALREADY_EXISTS",
    "BAD_REQUEST",
    "INVALID_PARAMETER_VALUE",
    "INVALID_STATE",
    "MALFORMED_REQUEST",
    "NOT_FOUND",
    "RESOURCE_ALREADY_EXISTS",
    "RESOURCE_DOES_NOT_EXIST",
}
_OWN = "runner."  # begins the names of this program's modules
_LIBRARY = sysconfig.get_path("stdlib")
_LOG = logging.getLogger("runner.tracking")
_FRAME = "(raised as a result of Query-invoked autoflush"  # the session's own line; a server sends it too


@contextmanager
def mapped() -> Iterator[None]:
    """Raises every foreign error as a `StoreRefusedError` or a `StoreUnavailableError`.

    Every `Exception`, because clients of artifact stores have errors of their own, and none of them may end the thread
    that follows the journal. A mistake of this program's own is a refusal, because a repetition would make it again.
    """
    try:
        yield
    except RunnerError:
        raise
    except mlflow.exceptions.MlflowException as err:
        kind = StoreRefusedError if err.error_code in _REFUSALS else StoreUnavailableError
        raise kind(_first_line(err)) from err
    except (sqlalchemy.exc.SQLAlchemyError, sqlite3.Error, OSError) as err:  # requests' errors are OSErrors
        raise StoreUnavailableError(_first_line(err)) from err
    except ModuleNotFoundError as err:  # a retry in this process would not find it either
        raise StoreRefusedError(redact(what_to_install(err))) from err
    except Exception as err:
        if _is_own(err):
            _LOG.exception("an error of this program")
            what = f"{type(err).__name__}: {_first_line(err)}"
            raise StoreRefusedError(f"an error of this program, not of the store ({what}); please report it") from err
        raise StoreUnavailableError(f"{type(err).__name__}: {_first_line(err)}") from err


def _is_own(err: Exception) -> bool:
    """Whether the error was raised by a module of this program, or by what that called of Python's own library."""
    modules: list[str] = [
        frame.f_globals.get("__name__", "")
        for frame, _ in walk_tb(err.__traceback__)
        if not frame.f_code.co_filename.startswith((_LIBRARY, "<frozen")) or "site-packages" in frame.f_code.co_filename
    ]
    return modules[-1].startswith(_OWN) and modules[-1] != __name__


def _first_line(err: Exception) -> str:
    """The store's own message: for a database error without SQLAlchemy's framing and without the statement."""
    below: BaseException = err
    while not isinstance(below, sqlalchemy.exc.DBAPIError) and below.__cause__ is not None:
        below = below.__cause__
    said = below.orig if isinstance(below, sqlalchemy.exc.DBAPIError) else err
    lines = [line for line in str(said).strip().splitlines() if not line.startswith(_FRAME)]
    return redact(shown(lines[0] if lines else type(err).__name__))
