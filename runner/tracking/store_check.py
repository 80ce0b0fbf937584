"""Checks a tracking store before a sweep begins, without MLflow, whose import takes 3 s.

Reports only what is certain; MLflow finds the rest. `ConfigError` means that the address is wrong, `TrackingError` that
the store does not answer now.
"""

from __future__ import annotations

import base64
import http.client
import json
import os
import socket
import ssl
import threading
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping
from contextlib import suppress
from importlib.metadata import entry_points
from pathlib import Path

from runner.errors import ConfigError, RunnerError, TrackingError
from runner.texts.redaction import redact, without_credentials
from runner.tracking.errors import what_to_install

_TIMEOUT_S = 3.0
_LONGEST_S = 4.0
_IMPORT_S = 30.0  # for SQLAlchemy and a driver, on a busy machine
_PORTS = {"postgresql": 5432, "mysql": 3306, "mssql": 1433, "http": 80, "https": 443}
_DATABASES = ("postgresql", "mysql", "mssql")
_OTHERS = ("databricks", "databricks-uc", "uc")  # MLflow has its own credentials for them
# In the messages of databases that will not accept the address later either.
_WRONG = ("authentication failed", "access denied", "login failed", "does not exist", "unknown database", "pg_hba.conf")
_SQLITE = b"SQLite format 3\0"


class StoreCheck:
    """Checks a store in a separate thread while the sweep is prepared.

    Args:
        uri: the tracking URI.
        environment: the program's, with MLflow's credentials.
    """

    def __init__(self, uri: str, environment: Mapping[str, str]) -> None:
        check_address(uri)
        self._uri, self._environment = uri, environment
        self._error: BaseException | None = None
        self._asks = threading.Event()  # the packages for the check are imported
        # A daemon, so that a mistake elsewhere is reported without waiting for a store that does not answer.
        self._thread = threading.Thread(target=self._run, name="store-check", daemon=True)
        self._thread.start()

    def problem(self) -> RunnerError | None:
        """Waits a few seconds at most for the result; None if nothing is wrong with the store.

        Raises an unexpected error of the check, which says nothing about the store.
        """
        self._asks.wait(_IMPORT_S)
        self._thread.join(_LONGEST_S)
        if self._thread.is_alive():  # a name server that does not answer has its own, longer timeout
            return _silent(self._uri, f"nothing answers there within {_LONGEST_S:g} s")
        if self._error is not None and not isinstance(self._error, RunnerError):
            raise self._error
        return self._error

    def _run(self) -> None:
        try:
            _import_driver(self._uri)
            self._asks.set()
            check_store(self._uri, self._environment)
        except BaseException as err:  # raised or returned by `problem`
            self._error = err
        finally:
            self._asks.set()


def check_address(uri: str) -> None:
    """Checks that an address can be parsed, without which nothing else can be done.

    Raises:
        ConfigError: what is wrong with it, and what a valid address looks like.
    """
    scheme = _scheme(uri)
    if scheme == "sqlite":
        _sqlite_file(uri)
    elif scheme in ("http", "https"):
        try:
            host = urllib.parse.urlsplit(uri).hostname
        except ValueError as err:
            raise _wrong(uri, f"not the address of a server: {err}; write it as in http://HOST:5000") from err
        if not host:
            raise _wrong(uri, "not the address of a server: it names no host; write it as in http://HOST:5000")
    elif scheme in _DATABASES and "://" not in uri:
        raise _wrong(uri, f"not the address of a database; write it as in {scheme}://HOST/DATABASE")


def check_store(uri: str, environment: Mapping[str, str]) -> None:
    """Asks a store once.

    Raises:
        ConfigError: no store can be at this address, or it refuses these credentials.
        TrackingError: it does not answer.
    """
    check_address(uri)
    scheme = _scheme(uri)
    if scheme == "sqlite":
        _check_sqlite(uri)
    elif scheme in ("http", "https"):
        _check_server(uri, environment)
    elif scheme in _DATABASES:
        _check_database(uri, scheme)
    elif uri.partition(":")[0] not in _OTHERS and scheme not in _plugins():
        if scheme in ("", "file") and environment.get("MLFLOW_ALLOW_FILE_STORE", "").lower() in ("true", "1"):
            return
        known = "sqlite:///PATH/mlflow.db, postgresql://, mysql://, mssql://, http://, https:// or databricks"
        folder = "MLflow no longer keeps runs in plain folders; " if scheme in ("", "file") else ""
        raise _wrong(uri, f"not the address of an MLflow store; {folder}allowed: {known}")


def _scheme(uri: str) -> str:
    return uri.partition(":")[0].partition("+")[0].lower() if ":" in uri else ""


def _wrong(uri: str, what: str) -> ConfigError:
    return ConfigError(f"tracking.uri={_shown(uri)}: {redact(what)}")


def _shown(uri: str) -> str:
    """The address without credentials, even if it cannot be parsed."""
    if "://" not in uri and "@" in uri:
        return f"{uri.partition(':')[0]}:{redact(uri.rpartition('@')[2])}"
    try:
        return without_credentials(uri)
    except ValueError:
        return redact(uri)


def _silent(uri: str, what: str) -> TrackingError:
    return TrackingError(
        f"tracking.uri={without_credentials(uri)}: {redact(what)}; start the store, or train without it and send the "
        "runs later: tracking.required=false, then python -m runner sync"
    )


def _plugins() -> set[str]:
    return {point.name for point in entry_points(group="mlflow.tracking_store")}


# --- files ------------------------------------------------------------------------------------------------------------


def _check_sqlite(uri: str) -> None:
    file = _sqlite_file(uri)
    if file is None:
        raise _wrong(uri, "a store in memory ends with the program; name a file, as in sqlite:///mlflow.db")
    folder = file.parent
    if not folder.is_dir():
        what = "is not a folder" if folder.exists() else f"does not exist; make it (mkdir -p {folder}) or name another"
        raise _wrong(uri, f"the folder {folder} {what}")
    if file.is_dir():
        raise _wrong(uri, f"{file} is a folder; name a file in it, as in sqlite:///{file}/mlflow.db")
    # sqlite writes its log beside the file, so the folder must be writable too.
    closed = [path for path in (folder, *([file] if file.exists() else [])) if not os.access(path, os.R_OK | os.W_OK)]
    if closed:
        raise _wrong(uri, f"no permission to write {closed[0]}; change that, or name a file elsewhere")
    if file.exists() and not _is_database(file):
        raise _wrong(uri, f"{file} is not a sqlite database; name another file")


def _is_database(file: Path) -> bool:
    """Whether a file is a sqlite database or empty, by its first bytes: opening it would leave files beside it."""
    with file.open("rb") as opened:
        return opened.read(len(_SQLITE)) in (b"", _SQLITE)


def _sqlite_file(uri: str) -> Path | None:
    rest = uri.partition("://")[2]
    plain = rest.startswith("/") and not {"%", "?", "#", "@"} & set(rest)
    if not plain:
        from runner.tracking.addresses import sqlite_file  # as SQLAlchemy reads it, whose import takes time

        return sqlite_file(uri)
    return Path(rest[1:]).absolute() if rest[1:] and rest[1:] != ":memory:" else None


# --- servers ----------------------------------------------------------------------------------------------------------


def _check_server(uri: str, environment: Mapping[str, str]) -> None:
    """Requests an experiment, as MLflow's client does."""
    parts = urllib.parse.urlsplit(uri)
    address = parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl().rstrip("/")
    query = f"{address}/api/2.0/mlflow/experiments/get-by-name?experiment_name=Default"
    credentials = _credentials(parts, environment)
    try:
        request = urllib.request.Request(query, headers=credentials)
        with urllib.request.urlopen(request, timeout=_TIMEOUT_S):
            return
    except urllib.error.HTTPError as err:
        _judge_answer(uri, err, bool(credentials), environment)
    except (ValueError, http.client.InvalidURL) as err:
        raise _wrong(uri, f"not the address of a server: {err}") from err
    except http.client.HTTPException as err:
        raise _wrong(uri, "the server there does not speak HTTP; check host and port") from err
    except TimeoutError:  # the server exists, but is slow
        return
    except OSError as err:  # URLError is one
        reason = getattr(err, "reason", err)
        if isinstance(reason, ssl.SSLError):  # MLflow has its own settings for certificates
            return
        raise _silent(uri, f"nothing answers there: {reason or type(err).__name__}") from err


def _judge_answer(uri: str, err: urllib.error.HTTPError, given: bool, environment: Mapping[str, str]) -> None:
    """Raises if an HTTP error means that the store cannot be used; `given`: the request had credentials."""
    if err.code in (401, 403):
        if given or not _may_have_others(environment):
            known = "were refused" if given else "are needed"
            raise _wrong(
                uri,
                f"credentials {known} (HTTP {err.code}); set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or "
                "MLFLOW_TRACKING_TOKEN",
            ) from err
    elif err.code >= 500:
        raise _silent(uri, f"the server answers HTTP {err.code} {err.reason}") from err
    elif err.code == 404 and not _is_json(err.read(10_000)):
        raise _wrong(uri, "the server there is not an MLflow server (HTTP 404); check host, port and path") from err


def _is_json(content: bytes) -> bool:
    try:
        return "error_code" in json.loads(content)
    except (ValueError, TypeError):
        return False


def _credentials(parts: urllib.parse.SplitResult, environment: Mapping[str, str]) -> dict[str, str]:
    """The headers with which MLflow's client sends its credentials."""
    user, password = environment.get("MLFLOW_TRACKING_USERNAME"), environment.get("MLFLOW_TRACKING_PASSWORD")
    if parts.username is not None and parts.password is not None:
        user, password = urllib.parse.unquote(parts.username), urllib.parse.unquote(parts.password)
    token = environment.get("MLFLOW_TRACKING_TOKEN")
    if user and password:
        return {"Authorization": "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()}
    return {"Authorization": f"Bearer {token}"} if token else {}


def _may_have_others(environment: Mapping[str, str]) -> bool:
    """Whether MLflow's client may have credentials that this check does not know."""
    named = ("MLFLOW_TRACKING_AUTH", "MLFLOW_TRACKING_AWS_SIGV4", "MLFLOW_TRACKING_CLIENT_CERT_PATH", "NETRC")
    files = (Path("~/.mlflow/credentials"), Path("~/.netrc"), Path("~/_netrc"))
    return any(environment.get(name) for name in named) or any(file.expanduser().exists() for file in files)


# --- databases --------------------------------------------------------------------------------------------------------


def _import_driver(uri: str) -> None:
    """Imports the packages for checking a database, which takes time; does not connect."""
    if _scheme(uri) in _DATABASES:
        from sqlalchemy.engine import make_url
        from sqlalchemy.exc import ArgumentError

        with suppress(ImportError, ArgumentError, ValueError):  # the check reports it
            make_url(uri).get_dialect().import_dbapi()


def _check_database(uri: str, scheme: str) -> None:
    """Connects as MLflow will; first by a plain socket, which fails within milliseconds if nothing listens."""
    import sqlalchemy.exc
    from sqlalchemy.engine import create_engine, make_url

    try:
        url = make_url(uri)
        if url.host and "host" not in url.query and not url.host.startswith("/"):
            socket.create_connection((url.host, url.port or _PORTS[scheme]), timeout=_TIMEOUT_S).close()
        waits = {"connect_timeout": int(_TIMEOUT_S)} if scheme in ("postgresql", "mysql") else {}
        create_engine(url, connect_args=waits, poolclass=sqlalchemy.pool.NullPool).connect().close()
    except OSError as err:
        raise _silent(uri, f"nothing answers there: {err}") from err
    except ModuleNotFoundError as err:
        raise _wrong(uri, what_to_install(err)) from err
    except (sqlalchemy.exc.ArgumentError, sqlalchemy.exc.NoSuchModuleError, ValueError) as err:
        raise _wrong(uri, f"not the address of a database: {err}") from err
    except sqlalchemy.exc.SQLAlchemyError as err:
        answer = getattr(err, "orig", None)  # None if the database was not reached (its driver is too old, say)
        said = str(answer or err).strip().splitlines()[-1]
        if answer is None or any(word in str(err).lower() for word in _WRONG):
            raise _wrong(uri, f"the database cannot be used: {said}") from err
        raise _silent(uri, f"the database says: {said}") from err
