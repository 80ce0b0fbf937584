"""`ui`: MLflow's pages for this machine alone, gone with the command."""

from __future__ import annotations

import http.client
import os
import signal
import socket
import time
import urllib.error
import urllib.request

import psutil
import pytest
from command_line import Folder, Running, ask_each


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_for_page(url: str, running: Running) -> int:
    deadline = time.monotonic() + 90.0
    while time.monotonic() < deadline:
        assert running.process.poll() is None, running.finish(None)
        try:
            with urllib.request.urlopen(url, timeout=5.0) as answer:
                return int(answer.status)
        except (urllib.error.URLError, ConnectionError):
            time.sleep(0.2)
    raise AssertionError("no page")


def answer(port: int, method: str = "GET", path: str = "/", **headers: str) -> int:
    """The status of one request, with headers as an attacker's page would make a browser send them."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20.0)
    connection.request(method, path, body="{}" if method == "POST" else None, headers=headers)
    status = connection.getresponse().status
    connection.close()
    return status


@pytest.mark.parametrize(
    ("number", "send"),
    [
        pytest.param(signal.SIGINT, os.killpg, id="Ctrl-C", marks=pytest.mark.slow),  # see `unit/test_signals.py`
        pytest.param(signal.SIGTERM, os.kill, id="SIGTERM", marks=pytest.mark.exhaustive),
        pytest.param(signal.SIGHUP, os.killpg, id="closed terminal", marks=pytest.mark.exhaustive),
    ],
)
def test_the_ui_answers_on_loopback_alone_and_leaves_nothing(folder: Folder, number: int, send: object) -> None:
    port = free_port()
    with folder.start("ui", "--port", str(port)) as running:
        running.read_until(f"http://127.0.0.1:{port}")
        assert wait_for_page(f"http://127.0.0.1:{port}/", running) == 200
        family = [psutil.Process(running.process.pid), *running.descendants()]
        listening = {
            connection.laddr.ip
            for connections in ask_each(family, lambda process: process.net_connections("inet"))
            for connection in connections
            if connection.status == psutil.CONN_LISTEN
        }
        assert listening == {"127.0.0.1"}
        send(running.process.pid, number)  # type: ignore[operator]
        ended = running.finish(128 + number)
        assert "Traceback" not in ended.everything
        _, alive = psutil.wait_procs(family[1:], timeout=10.0)
        assert not alive


def test_the_ui_answers_to_this_machines_names_and_pages_alone(folder: Folder) -> None:
    port, search = free_port(), "/ajax-api/2.0/mlflow/experiments/search?max_results=1"
    open_door = {"MLFLOW_SERVER_DISABLE_SECURITY_MIDDLEWARE": "true", "MLFLOW_SERVER_ALLOWED_HOSTS": "*"}
    store = f"sqlite:///{folder.path}/a%20store.db"
    with folder.start("ui", "--port", str(port), "--uri", store, env=open_door) as running:
        wait_for_page(f"http://127.0.0.1:{port}/", running)
        assert answer(port, path=search, Host=f"localhost:{port}") == 200
        for host in ("attacker.example", f"attacker.example:{port}", "10.attacker.example", "192.168.attacker.example"):
            assert answer(port, Host=host) == 403, host
            assert answer(port, path=search, Host=host) == 403, host
        page, create = "http://attacker.example", "/ajax-api/2.0/mlflow/experiments/create"
        assert answer(port, "POST", create, Origin=page) == 403
        assert answer(port, "POST", create, Origin=f"http://127.0.0.1:{port}") == 400  # let in; it has no name
        for process in running.descendants():
            assert not any("store.db" in argument for argument in process.cmdline()), "everyone can read arguments"


def test_a_taken_port_is_told(folder: Folder) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        ended = folder.run("ui", "--port", str(port), code=2)
    assert f"port {port}" in ended.err
    assert "--port" in ended.err
