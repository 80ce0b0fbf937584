"""Signals that stop the program, sent to a process of its own: a closed terminal above all."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

STOPS = """
import os, signal, sys, time
from runner.host.signals import StopSignals
signal.signal(signal.SIGHUP, signal.{before})
with StopSignals() as signals:
    try:
        os.kill(os.getpid(), signal.{first})
        time.sleep(1)
    except KeyboardInterrupt:
        os.kill(os.getpid(), signal.{second})
        time.sleep(0.5)  # longer than an echo
        os.kill(os.getpid(), signal.{second})
        print("stopped in good order", flush=True)
        sys.exit(signals.exit_code)
print("goes on")
"""


def stopped(before: str, first: str, second: str) -> tuple[int, str]:
    code = STOPS.format(before=before, first=first, second=second)
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60)
    return ended.returncode, ended.stdout.strip()


def test_a_closed_terminal_stops_the_program_in_good_order_however_often_it_is_told() -> None:
    assert stopped("SIG_DFL", "SIGHUP", "SIGHUP") == (129, "stopped in good order")


def test_a_terminal_that_is_closed_after_ctrl_c_does_not_end_the_program_at_once() -> None:
    assert stopped("SIG_DFL", "SIGINT", "SIGHUP") == (130, "stopped in good order")


def test_a_second_signal_of_another_kind_ends_it_at_once() -> None:
    assert stopped("SIG_DFL", "SIGHUP", "SIGTERM") == (143, "")


def test_nohup_is_respected() -> None:
    assert stopped("SIG_IGN", "SIGHUP", "SIGHUP") == (0, "goes on")


IMPORTS = """
import os, signal, sys, threading, time
from runner.host.signals import StopSignals, uninterrupted
def work():
    time.sleep(1)
    print("done", flush=True)
    return "done"
with StopSignals() as signals:
    threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT)).start()
    try:
        uninterrupted(work)
        print("goes on")
    except KeyboardInterrupt:
        sys.exit(signals.exit_code)
"""


def test_what_must_not_be_interrupted_ends_before_the_program_does() -> None:
    ended = subprocess.run([sys.executable, "-c", IMPORTS], capture_output=True, text=True, check=False, timeout=60)
    assert (ended.returncode, ended.stdout) == (130, "done\n")


GONE = """
import signal, sys, time
from pathlib import Path
from runner.host.signals import StopSignals
signal.signal(signal.SIGHUP, signal.SIG_DFL)
with StopSignals() as signals:
    try:
        print("ready", flush=True)
        time.sleep(60)
    except KeyboardInterrupt:
        print("to a terminal that is gone", flush=True)
        print("to a terminal that is gone", file=sys.stderr, flush=True)
        Path(sys.argv[1]).write_text(str(signals.exit_code))
"""


def test_what_is_printed_after_the_terminal_is_gone_is_no_error(tmp_path: Path) -> None:
    pid, terminal = pty.fork()
    if pid == 0:
        os.execv(sys.executable, [sys.executable, "-c", GONE, str(tmp_path / "told")])
    assert b"ready" in os.read(terminal, 100)
    os.close(terminal)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert (tmp_path / "told").read_text() == "129"


SERVES = """
import os, signal, subprocess, sys
from runner.tracking import ui
from runner.host.signals import StopSignals
signal.signal(signal.SIGHUP, signal.SIG_DFL)
start = subprocess.Popen
def interrupted(*args, **kwargs):
    process = start(*args, **kwargs)
    print(process.pid, flush=True)
    if sys.argv[1:]:
        os.kill(os.getpid(), int(sys.argv[1]))
    return process
subprocess.Popen = interrupted
with StopSignals() as signals:
    try:
        ui.serve([sys.executable, "-c", "import time; time.sleep(60)"], os.environ, signals)
    except KeyboardInterrupt:
        sys.exit(signals.exit_code)
"""


def start_serving(*arguments: str) -> tuple[subprocess.Popen[str], psutil.Process]:
    command = [sys.executable, "-c", SERVES, *arguments]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    return process, psutil.Process(int(process.stdout.readline()))


def assert_ends(server: psutil.Process) -> None:
    deadline_s = time.monotonic() + 10.0
    while server.is_running() and server.status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < deadline_s, "the server was left behind"
        time.sleep(0.02)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_while_the_server_starts_leaves_none_behind(number: signal.Signals) -> None:
    command = [sys.executable, "-c", SERVES, str(int(number))]
    ended = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False, timeout=60)
    assert ended.returncode == 128 + number
    assert not psutil.pid_exists(int(ended.stdout))


@pytest.mark.parametrize(("number", "code"), [(signal.SIGHUP, 129), (signal.SIGKILL, -signal.SIGKILL)])
def test_the_server_ends_with_the_command_however_that_ends(number: signal.Signals, code: int) -> None:
    process, server = start_serving()
    process.send_signal(number)
    assert process.wait(30) == code
    assert_ends(server)


INSISTS = """
import os, signal, time
from runner.host.signals import StopSignals
with StopSignals(ends_program=False) as signals:
    for _ in range(2):
        try:
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(0.5)  # longer than an echo
        except KeyboardInterrupt:
            print("raised", flush=True)
            time.sleep(0.5)
print(signals.received.name)
"""
ENDS = """
import os, signal
from runner.api.contexts import context_for
signal.signal(signal.SIGHUP, signal.SIG_DFL)  # as without nohup
try:
    with context_for("none") as context, context.stop.deferred(lambda: None):
        os.kill(os.getpid(), signal.{name})
        print("in order", context.stop.requested, flush=True)
except KeyboardInterrupt:
    print("raised")
print("goes on")
"""


def test_a_second_ctrl_c_does_not_end_a_program_that_uses_the_library() -> None:
    ended = subprocess.run([sys.executable, "-c", INSISTS], capture_output=True, text=True, check=False, timeout=60)
    assert (ended.returncode, ended.stdout) == (0, "raised\nraised\nSIGINT\n")


@pytest.mark.parametrize(("name", "ended"), [("SIGTERM", ""), ("SIGHUP", ""), ("SIGINT", "goes on\n")])
def test_under_the_library_other_signals_do_what_they_do_anyway_once_the_sweep_has_stopped(
    name: str, ended: str
) -> None:
    found = subprocess.run(
        [sys.executable, "-c", ENDS.format(name=name)], capture_output=True, text=True, check=False, timeout=60
    )
    assert found.stdout == "in order True\n" + ended
    assert found.returncode == (0 if ended else -signal.Signals[name])
