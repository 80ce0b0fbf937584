"""`ui`: MLflow's pages for this machine alone, gone with the command."""

from __future__ import annotations

import os
import signal
import socket
import time
import urllib.error
import urllib.request

import psutil
import pytest
from command_line import Folder, Running


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


@pytest.mark.parametrize(
    ("number", "send"), [(signal.SIGINT, os.killpg), (signal.SIGTERM, os.kill)], ids=["Ctrl-C", "SIGTERM"]
)
def test_the_ui_answers_on_loopback_alone_and_leaves_nothing(folder: Folder, number: int, send: object) -> None:
    port = free_port()
    with folder.start("ui", "--port", str(port)) as running:
        running.read_until(f"http://127.0.0.1:{port}")
        assert wait_for_page(f"http://127.0.0.1:{port}/", running) == 200
        family = [psutil.Process(running.process.pid), *running.descendants()]
        listening = {
            connection.laddr.ip
            for process in family
            for connection in process.net_connections("inet")
            if connection.status == psutil.CONN_LISTEN
        }
        assert listening == {"127.0.0.1"}
        send(running.process.pid, number)  # type: ignore[operator]
        ended = running.finish(128 + number)
        assert "Traceback" not in ended.everything
        _, alive = psutil.wait_procs(family[1:], timeout=10.0)
        assert not alive


def test_a_taken_port_is_told(folder: Folder) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        ended = folder.run("ui", "--port", str(port), code=2)
    assert f"port {port}" in ended.err
    assert "--port" in ended.err
