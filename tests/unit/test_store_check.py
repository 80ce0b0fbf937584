"""A store that cannot work is told before anything starts, and nothing is said against one that can."""

from __future__ import annotations

import json
import os
import socket
import sqlite3
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from importlib.util import find_spec
from pathlib import Path

import pytest

from runner.driver.train import is_reached
from runner.errors import ConfigError, RunnerError, TrackingError
from runner.tracking import store_check
from runner.tracking.store_check import StoreCheck, check_store
from runner.views.watchers import Silent


class _Handler(BaseHTTPRequestHandler):
    """As an MLflow server: which answer, the first part of the path says."""

    def do_GET(self) -> None:
        kind = self.path.split("/")[1]
        if kind == "slow":
            time.sleep(0.5)
        let_in = self.headers.get("Authorization") in ("Basic bWU6cmlnaHQ=", "Bearer right")
        code = {"locked": 200 if let_in else 401, "broken": 503, "other": 404, "missing": 404}.get(kind, 200)
        body = json.dumps({"error_code": "RESOURCE_DOES_NOT_EXIST"} if kind == "missing" else {}).encode()
        self.send_response(code)
        self.end_headers()
        self.wfile.write(body if kind != "other" else b"<html>")

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module", autouse=True)
def _drivers() -> None:
    """Imports what databases are asked with: that may take long on a busy machine, and is no part of what is timed."""
    for scheme in ("postgresql", "mysql+pymysql"):
        store_check._import_driver(f"{scheme}://host/db")


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with HTTPServer(("127.0.0.1", 0), _Handler) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield f"127.0.0.1:{running.server_port}"
        running.shutdown()


@pytest.fixture
def nowhere() -> Iterator[str]:
    """An address at which nothing listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield f"127.0.0.1:{taken.getsockname()[1]}"


PROMISED_S = 5.0  # on a machine that does nothing else
LOADED = 3  # times as long, at most, where other tests run at the same time


def problem(uri: str, **environment: str) -> RunnerError | None:
    began_s = time.monotonic()
    found = StoreCheck(uri, environment).problem()
    assert time.monotonic() - began_s < PROMISED_S * LOADED
    return found


@pytest.mark.parametrize("path", ["", "missing", "locked"])
def test_nothing_speaks_against_a_server_that_answers(server: str, path: str):
    known = {"MLFLOW_TRACKING_USERNAME": "me", "MLFLOW_TRACKING_PASSWORD": "right"}
    assert problem(f"http://{server}/{path}", **known) is None
    assert problem(f"http://me:right@{server}/{path}") is None
    assert problem(f"http://{server}/{path}", MLFLOW_TRACKING_TOKEN="right") is None


def test_wrong_credentials_are_told_and_not_shown(server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    found = problem(f"http://me:hunter22@{server}/locked")
    assert isinstance(found, ConfigError)
    assert "credentials were refused (HTTP 401); set MLFLOW_TRACKING_USERNAME" in str(found)
    assert "hunter22" not in str(found)
    assert "credentials are needed" in str(problem(f"http://{server}/locked"))
    (tmp_path / ".netrc").touch()  # which MLflow's client may read
    assert problem(f"http://{server}/locked") is None


@pytest.mark.parametrize(("path", "kind", "said"), [
    ("broken", TrackingError, "HTTP 503"), ("other", ConfigError, "not an MLflow server"),
])  # fmt: skip
def test_a_server_that_cannot_take_runs_is_told(server: str, path: str, kind: type, said: str):
    found = problem(f"http://{server}/{path}")
    assert isinstance(found, kind)
    assert said in str(found)


@pytest.mark.parametrize("scheme", ["http", "postgresql", "mysql+pymysql"])
def test_where_nothing_listens_is_an_error_of_the_infrastructure(nowhere: str, scheme: str):
    found = problem(f"{scheme}://me:hunter22@{nowhere}/db")
    assert isinstance(found, TrackingError)
    assert "nothing answers there" in str(found)
    assert "tracking.required=false" in str(found)
    assert "hunter22" not in str(found)


@pytest.mark.parametrize(
    ("uri", "said"),
    [
        ("sqlite:///none/mlflow.db", "does not exist; make it (mkdir -p"),
        ("sqlite:///file/mlflow.db", "is not a folder"),
        ("sqlite:///folder", "is a folder; name a file in it"),
        ("sqlite:///file", "is not a sqlite database; name another file"),
        ("sqlite://", "a store in memory ends with the program"),
        ("sqlite:///:memory:", "a store in memory ends with the program"),
        ("mlruns", "MLflow no longer keeps runs in plain folders"),
        ("file:///tmp/mlruns", "MLflow no longer keeps runs in plain folders"),
        ("ftp://host/x", "not the address of an MLflow store; allowed: sqlite:///"),
        ("http://host:port", "not the address of a server"),
        (
            "sqlite:mlflow.db",
            "not the address of a sqlite file; write sqlite:/// before its path, as in sqlite:///mlflow.db",
        ),
        ("http://[::1", "not the address of a server: Invalid IPv6 URL; write it as in http://HOST:5000"),
        ("http:host:5000", "it names no host; write it as in http://HOST:5000"),
        ("postgresql:host/db", "not the address of a database; write it as in postgresql://HOST/DATABASE"),
    ],
)
def test_an_address_that_cannot_work_is_an_error_of_the_config(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, uri: str, said: str
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("a text " * 200, encoding="utf-8")
    (tmp_path / "folder").mkdir()
    with pytest.raises(ConfigError) as found:
        check_store(uri, {})
    assert said in str(found.value)
    assert str(found.value).startswith(f"tracking.uri={uri}")


@pytest.mark.skipif(os.getuid() == 0, reason="root may write everywhere")
def test_a_folder_that_cannot_be_written_is_told(tmp_path: Path):
    tmp_path.chmod(0o500)
    with pytest.raises(ConfigError, match="no permission to write"):
        check_store(f"sqlite:///{tmp_path}/mlflow.db", {})
    tmp_path.chmod(0o700)


@pytest.mark.parametrize("uri", ["sqlite:///mlflow.db", "sqlite:///a b%2520c.db?timeout=3", "databricks"])
def test_nothing_speaks_against_an_address_that_may_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, uri: str):
    monkeypatch.chdir(tmp_path)
    check_store(uri, {})
    assert list(tmp_path.iterdir()) == [], "asking makes nothing"
    check_store("mlruns", {"MLFLOW_ALLOW_FILE_STORE": "true"})


def test_a_store_that_somebody_has_locked_will_do(tmp_path: Path):
    with sqlite3.connect(tmp_path / "mlflow.db", isolation_level=None) as lock:
        lock.execute("CREATE TABLE x (y)")
        lock.execute("BEGIN EXCLUSIVE")
        check_store(f"sqlite:///{tmp_path}/mlflow.db", {})
        lock.execute("ROLLBACK")
    with sqlite3.connect(tmp_path / "wal.db") as store:
        store.execute("PRAGMA journal_mode = WAL")
    store.close()
    check_store(f"sqlite:///{tmp_path}/wal.db", {})
    assert {path.name for path in tmp_path.iterdir()} == {"mlflow.db", "wal.db"}


def test_a_store_that_is_not_required_is_told_and_trained_without(nowhere: str):
    store, watcher = StoreCheck(f"http://{nowhere}", {}), Silent()
    with pytest.raises(TrackingError):
        is_reached(store, True, watcher)
    assert not is_reached(store, False, watcher)
    assert watcher.said[0].startswith("warning: tracking.uri=http://127.0.0.1")


@pytest.mark.skipif(find_spec("pymysql") is not None, reason="the driver is installed")
def test_a_database_whose_driver_is_missing_is_told_with_what_installs_it(server: str):
    found = problem(f"mysql+pymysql://me:hunter22@{server}/db")
    assert isinstance(found, ConfigError)
    assert str(found).endswith("-m pip install pymysql")


def test_a_server_that_is_slow_will_do(server: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(store_check, "_TIMEOUT_S", 0.1)
    assert problem(f"http://{server}/slow") is None


@pytest.mark.parametrize("uri", ["http://host", "postgresql://host/db"])
def test_a_store_that_never_answers_is_told_in_time(monkeypatch: pytest.MonkeyPatch, uri: str):
    assert store_check._LONGEST_S < PROMISED_S
    monkeypatch.setattr(store_check, "check_store", lambda *_: time.sleep(3))
    monkeypatch.setattr(store_check, "_LONGEST_S", 0.1)
    assert "nothing answers there within 0.1 s" in str(problem(uri))


def test_the_import_of_a_database_driver_is_no_time_in_which_the_store_is_silent(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(store_check, "_import_driver", lambda _: time.sleep(0.5))
    monkeypatch.setattr(store_check, "check_store", lambda *_: None)
    monkeypatch.setattr(store_check, "_LONGEST_S", 0.2)
    assert problem("postgresql://host/db") is None


@pytest.mark.parametrize(
    "uri", ["sqlite:mlflow.db", "http://me:hunter22@[::1", "http:me:hunter22@host", "postgresql:me:hunter22@host/db"]
)
def test_an_address_that_cannot_be_read_is_an_error_at_once_and_shows_no_credentials(uri: str):
    with pytest.raises(ConfigError) as found:
        StoreCheck(uri, {})
    assert str(found.value).startswith(f"tracking.uri={uri.replace('me:hunter22@', '')}: not the address of a ")
    assert "hunter22" not in str(found.value)


def test_a_check_that_dies_is_not_taken_for_a_store_that_will_do(monkeypatch: pytest.MonkeyPatch):
    def dies(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(store_check, "check_store", dies)
    with pytest.raises(ZeroDivisionError):
        problem("http://host")
