"""What trials print is taken from where it goes, and nothing else is."""

from __future__ import annotations

import io
import logging
import subprocess
import sys
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from runner.errors import JournalError
from runner.journal import TrialLogs
from runner.loop.logged import LoggedFleet
from runner.records import Aside, Failure, Report, Snapshot, Turn
from runner.testing import FakeFleet
from runner.texts.excerpt import LIMIT
from runner.worker.printed import Output, Streams


def make_terminal(monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    """In place of the streams from here on; in the test itself, as pytest puts its own there before."""
    shown = io.StringIO()
    monkeypatch.setattr(sys, "stdout", shown)
    monkeypatch.setattr(sys, "stderr", shown)
    monkeypatch.setattr(sys, "gettrace", lambda: None)  # as where no debugger and no coverage runs
    return shown


def test_each_trial_has_its_own_output_and_the_terminal_none(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = make_terminal(monkeypatch)
    output, console = Output(Streams()), Console()
    with output.of("000"):
        print("one")
        print("to err", file=sys.stderr)
        sys.stdout.buffer.write(b"bytes \xff\n")
        handler = logging.StreamHandler()
        console.print("a table")
    with output.of("001"):
        print("two \ud800")
    with output.of("000"):
        print("three")
    handler.handle(logging.makeLogRecord({"msg": "later"}))
    print("outside")
    assert output.take("000") == "one\nto err\nbytes \\xff\nthree\n"
    assert output.take("000") == ""
    assert output.take("001") == "two \\ud800\n"
    assert terminal.getvalue() == "a table\nlater\noutside\n"


def test_where_a_debugger_runs_its_prompt_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = make_terminal(monkeypatch)
    monkeypatch.setattr(sys, "gettrace", lambda: print)
    output = Output(Streams())
    with output.of("000"):
        print("(Pdb)")
    assert (terminal.getvalue(), output.take("000")) == ("(Pdb)\n", "(Pdb)\n")


def test_megabytes_are_bounded_and_an_error_leaves_the_streams_as_they_were(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = make_terminal(monkeypatch)
    output = Output(Streams())
    with suppress(ZeroDivisionError), output.of("000"):
        for number in range(60_000):
            print(f"{number:05}", "x" * 60)
        raise ZeroDivisionError
    assert sys.stdout is terminal
    taken = output.take("000")
    assert len(taken) < LIMIT + 100
    assert taken.startswith("00000 x")
    assert taken.endswith("59999 " + "x" * 60 + "\n")
    assert "bytes left out" in taken


DESCRIPTORS = """
import ctypes, os, sys, threading
from runner.worker.printed import Descriptors, Output
print("before")
output = Output(Descriptors())
for trial in ("000", "001"):
    with output.of(trial):
        print("python", trial)
        os.system("echo child")
        ctypes.CDLL(None).printf(b"from C\\n")
        if trial == "001":
            for number in range(60_000):
                print(f"{number:05}", "x" * 60, file=sys.stderr)
taken = [output.take(trial) for trial in ("000", "001")]
print("last words")
sys.stdout.flush()
open(sys.argv[1], "w").write(repr((taken[0], taken[1][:40], taken[1][-10:], len(taken[1]))))
"""


@pytest.mark.parametrize("where", ["file", "pipe"])
def test_a_processes_own_descriptors_are_taken_with_what_c_code_prints(tmp_path: Path, where: str) -> None:
    log = (tmp_path / "log").open("wb")
    process = subprocess.run(
        [sys.executable, "-c", DESCRIPTORS, str(tmp_path / "found")],
        stdout=subprocess.DEVNULL,
        stderr=log if where == "file" else subprocess.PIPE,
        cwd=Path(__file__).parents[2],
        check=True,
    )
    first, begins, ends, length = eval((tmp_path / "found").read_text())
    assert sorted(first.splitlines()) == ["child", "from C", "python 000"]
    assert "python 001" in begins
    assert (ends, length < LIMIT + 100) == ("xxxxxxxxx\n", True)
    if where == "file":
        assert (tmp_path / "log").read_text() == "last words\n", "what was not taken is where the driver finds it"
    else:
        assert process.stderr == b""


def test_a_trials_log_is_private_bounded_without_secrets_and_appended(tmp_path: Path) -> None:
    logs = TrialLogs(lambda text: text.replace("hunter2hunter2", "***"))
    assert logs.write("000", "at the check: hunter2hunter2\n") == ""
    logs.open(tmp_path)
    assert logs.write("000", "later\n") == "logs/000.log"
    file = tmp_path / "logs" / "000.log"
    assert file.read_text() == "at the check: ***\nlater\n"
    assert (file.stat().st_mode & 0o777, file.parent.stat().st_mode & 0o777) == (0o600, 0o700)
    for _ in range(30):
        logs.write("000", ("y" * 99 + "\n") * 1000)
    assert file.stat().st_size < 1.3 * LIMIT
    assert file.read_text().startswith("at the check: ***\nlater\n")
    assert "bytes left out" in file.read_text()
    again = TrialLogs(str)
    again.open(tmp_path)
    again.write("000", "resumed\n")
    assert file.read_text().endswith("y\nresumed\n")


@pytest.mark.parametrize("before", ["", "a line\n", "é" * 10_000, "x" + "é" * 10_000])
def test_a_secret_over_two_turns_is_not_in_the_log(tmp_path: Path, before: str) -> None:
    logs = TrialLogs(lambda text: text.replace("s3cr3tvalue99", "***"))
    logs.open(tmp_path)
    for output in (before, "part s3cr3t", "value", "99\n", "more s3cr3t", "\nvalue99\n"):
        logs.write("000", output)
    wanted = f"{before}part ***\nmore s3cr3t\nvalue99\n"
    assert (tmp_path / "logs" / "000.log").read_text(encoding="utf-8") == wanted


def test_a_log_that_is_a_link_or_cannot_be_written_is_an_error_of_the_infrastructure(tmp_path: Path) -> None:
    logs = TrialLogs(str)
    logs.open(tmp_path)
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / "000.log").symlink_to("/etc/passwd")
    (tmp_path / "logs" / "001.log").mkdir()
    for trial_id in ("000", "001"):
        with pytest.raises(JournalError):
            logs.write(trial_id, "x")


def test_a_fleets_answers_lose_their_asides_and_failures_tell_how_the_output_ends() -> None:
    written: list[Any] = []
    told: list[str] = []
    turn = Turn(pid=1, started_s=0, ended_s=1, compute_s=0)
    aside = Aside(output="loading\n\x1b[1mrow 2\x1b[0m\n", warnings=("ignored",))
    answers = {
        "000": Report(trial_id="000", round=0, step=1, epoch=1, running={}, turn=turn, aside=aside),
        "001": Failure(trial_id="001", kind="train", message="ValueError: x", traceback="Traceback", aside=aside),
        "002": Failure(trial_id="002", kind="train", message="ValueError: y"),
    }

    class Fleet(FakeFleet):
        def advance(self, work: Any) -> Any:
            return answers

    def write(trial_id: str, output: str) -> str:
        written.append((trial_id, output))
        return f"logs/{trial_id}.log"

    found = LoggedFleet(Fleet(slots=[0]), write, told.append).advance({})
    assert written == [("000", aside.output), ("001", aside.output)]
    assert told == ["ignored"]
    assert all(answer.aside == Aside() for answer in found.values())
    assert found["001"].message == "ValueError: x (its output ends with 'row 2'; logs/001.log)"
    assert found["001"].traceback.endswith("the end of its output; logs/001.log:\nloading\nrow 2\n")
    assert found["002"].message == "ValueError: y"


def test_what_an_interrupted_turn_has_printed_is_taken_from_its_snapshot() -> None:
    written: list[Any] = []
    snapshot = Snapshot(trial_id="000", round=1, step=3, state=b"", aside=Aside(output="a step\n"))

    class Fleet(FakeFleet):
        def snapshot(self, work: Any, folder: Path | None = None) -> Any:
            return {"000": snapshot}

    found = LoggedFleet(Fleet(slots=[0]), lambda *said: written.append(said) or "", pytest.fail).snapshot({})
    assert written == [("000", "a step\n")]
    assert found == {"000": replace(snapshot, aside=Aside())}
