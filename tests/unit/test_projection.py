"""The end of the thread that follows the journal, with a thread that only waits."""

from __future__ import annotations

import io
import subprocess
import sys
import time
from pathlib import Path

import pytest
from rich.console import Console
from small_journal import facts, report, small_sweep

from runner.driver.record import followed_by_mlflow
from runner.tracking import Projection, backlog, projection
from runner.tracking.ledger import HOME, Ledger
from runner.views.live import Waiting
from runner.views.watchers import Silent


def waits(self: Projection) -> None:
    """A store that never answers."""
    while self._deadline.seconds_left > 0:
        time.sleep(0.01)


def takes_for_a_second(self: Projection) -> None:
    """A store that has taken everything after a second, and something every now and then before."""
    with Ledger(self._folder, HOME) as self._ledger:
        for _ in range(50):
            time.sleep(0.02)
            self._ledger.mark("000", status="running")


@pytest.fixture
def following(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Projection, "_run", waits)
    monkeypatch.setattr(projection, "_AFTER_SIGNAL_S", 0.2)


def interrupt_once(following: Projection, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first wait for the thread's end is interrupted, as by a person."""
    assert following._thread is not None
    join, interrupts = following._thread.join, [KeyboardInterrupt]

    def interrupted(timeout: float) -> None:
        if interrupts:
            raise interrupts.pop()
        join(timeout)

    monkeypatch.setattr(following._thread, "join", interrupted)


@pytest.mark.usefixtures("following")
def test_ctrl_c_while_the_rest_is_sent_waits_briefly_and_tells_what_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with small_sweep(tmp_path, "") as journal:
        journal.commit({"000": report(0, 0, of=facts())}, {}, {})
        journal.end("killed")
    watcher, began_s = Silent(), time.monotonic()
    with pytest.raises(KeyboardInterrupt), followed_by_mlflow(tmp_path, "", watcher, 9.0) as following:
        interrupt_once(following, monkeypatch)
    assert following.problem is not None
    assert watcher.said == [following.problem]
    assert "lacks 1 metric values and the end of 2 runs (not done within 0.2 s)" in following.problem
    assert following.problem.endswith("send them with: python -m runner sync tiny-1")
    assert following._thread is not None
    assert not following._thread.is_alive()
    assert time.monotonic() - began_s < 10.0


def test_the_end_waits_as_long_as_the_store_takes_things_and_tells_what_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Projection, "_run", takes_for_a_second)
    monkeypatch.setattr(backlog, "_PAUSE_S", 0.1)
    with small_sweep(tmp_path, "") as journal:
        journal.commit({"000": report(0, 0, of=facts())}, {}, {})
        journal.end("killed")
    told: list[str] = []
    began_s = time.monotonic()
    with Projection(tmp_path, timeout_s=0.4, on_backlog=told.append) as following:
        pass
    assert following._thread is not None
    assert not following._thread.is_alive()
    assert time.monotonic() - began_s > 0.9
    assert told[0].startswith("left to send to MLflow: the end of 2 runs, 1 metric value")


def test_what_is_left_is_told_with_how_fast_it_becomes_less(tmp_path: Path) -> None:
    told: list[str] = []
    seconds = iter([10.0, 10.0, 12.0, 12.5])
    reporter = backlog.BacklogReporter(tmp_path, told.append, clock=lambda: next(seconds))
    with small_sweep(tmp_path, "") as journal:
        journal.commit({"000": report(0, 0, of=facts())}, {}, {})
        journal.end("killed")
        reporter.report()
        with Ledger(tmp_path, HOME) as ledger:
            ledger.begin("000", "r", metric_seq=1)
            ledger.mark("000", status="killed")
        reporter.report()
    assert told[1] == "left to send to MLflow: the end of 1 run · 0.5 runs/s · about 2 s left"
    assert reporter.pause_s == 10.0, "a look that took half a second is not taken each second"


def test_a_wait_is_one_line_on_a_terminal_and_few_elsewhere() -> None:
    seconds = iter([0.0, 1.0, 11.0, 11.0, 12.0])
    file, terminal = io.StringIO(), io.StringIO()
    with Waiting(Console(file=file, width=80), clock=lambda: next(seconds)) as lines:
        for text in ("first", "second", "third"):
            lines.show(text)
    assert file.getvalue() == "second\n"
    with Waiting(Console(file=terminal, width=80, force_terminal=True)) as line:
        for text in ("first", "second"):
            line.show(text)
    assert "first" in terminal.getvalue()
    assert "second" in terminal.getvalue()
    assert terminal.getvalue().count("\n") <= 1


ENDS_WHILE_IMPORTING = """
import gc, threading, time
from runner.tracking.importing import preload
preload("sqlite://")
time.sleep(0.2)
print([t.name for t in threading.enumerate() if t.daemon], gc.isenabled())
"""


def test_a_program_that_ends_while_mlflow_is_imported_ends_well_and_soon() -> None:
    ended = subprocess.run(
        [sys.executable, "-X", "importtime", "-c", ENDS_WHILE_IMPORTING], capture_output=True, text=True, check=False
    )
    assert (ended.returncode, ended.stdout) == (0, "[] False\n")
    assert "import time:" in ended.stderr
    assert "runner.tracking.follower" not in ended.stderr, "the rest is not imported"
