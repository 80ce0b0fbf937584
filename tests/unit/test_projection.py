"""The end of the thread that follows the journal, with a thread that only waits."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest
from rich.console import Console
from small_journal import facts, report, small_sweep

from runner.tracking import Projection, projection
from runner.training import followed_by_mlflow


def waits(self: Projection) -> None:
    """A store that never answers."""
    while time.monotonic() < self._deadline_s:
        time.sleep(0.01)


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
    console, began_s = Console(record=True, width=500), time.monotonic()
    with pytest.raises(KeyboardInterrupt), followed_by_mlflow(tmp_path, "", console) as following:
        interrupt_once(following, monkeypatch)
    assert following.problem is not None
    assert console.export_text().strip() == following.problem
    assert "lacks 1 metric values and the end of 2 runs (not done within 0.2 s)" in following.problem
    assert following.problem.endswith("send them with: python -m runner sync tiny-1")
    assert following._thread is not None
    assert not following._thread.is_alive()
    assert time.monotonic() - began_s < 10.0


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
