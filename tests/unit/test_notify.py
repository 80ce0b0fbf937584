"""The user's command at a sweep's end: what it gets, that it is called once, and that it costs the sweep nothing."""

from __future__ import annotations

import json
import os
import sys
from contextlib import suppress
from pathlib import Path

import pytest
from small_journal import facts, report, small_sweep

from runner.config import Config
from runner.driver import notify
from runner.driver.context import Context
from runner.driver.notify import notifying
from runner.errors import PlacementError
from runner.journal import SqliteJournal
from runner.records import Export, Verdict
from runner.views.watchers import Silent

WRITES = "import json, os, sys; json.dump([json.load(sys.stdin), dict(os.environ)], open({file!r}, 'w'))"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A sweep that has ended with one trial."""
    folder = tmp_path / "tiny-1"
    with small_sweep(folder, "sqlite:///m.db") as journal:
        export = Export(trial_id="000", model=b"", weights=b"w")
        journal.commit({"000": report(0, 0, 0.75, 1, facts())}, {"000": Verdict(kind="complete")}, {"000": export})
        journal.end("complete")
    return folder


def called(folder: Path, command: str | list[str], error: BaseException | None = None) -> list[str]:
    """Ends a sweep with this command; returns the warnings."""
    watcher = Silent()
    context = Context(watcher=watcher, environment={**os.environ, "MY_TOKEN": "hunter2-hunter2"})
    with suppress(PlacementError, KeyboardInterrupt), notifying(Config(notify=command), folder, context):
        if error is not None:
            raise error
    return watcher.said


def test_the_command_gets_the_outcome_as_json_and_as_variables(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out file.json"
    assert called(folder, [sys.executable, "-c", WRITES.format(file=str(out))]) == []
    outcome, environment = json.loads(out.read_text())
    assert (outcome["sweep"], outcome["status"], outcome["metric"], outcome["score"], outcome["trial"]) == (
        "tiny-1", "complete", "val_accuracy", 0.75, "000",
    )  # fmt: skip
    assert (outcome["settings"], outcome["trials"], outcome["error"]) == ({"units": 4}, {"complete": 1}, "")
    assert (environment["RUNNER_SWEEP"], environment["RUNNER_SCORE"]) == ("tiny-1", "0.75")
    assert environment["RUNNER_FOLDER"] == outcome["folder"] == str(folder)
    assert environment["MY_TOKEN"] == "hunter2-hunter2", "a command needs its token"


def test_an_end_is_told_once_and_the_end_of_a_resumed_sweep_again(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "calls"
    command = [sys.executable, "-c", f"open({str(out)!r}, 'a').write('.')"]
    for _ in range(2):
        called(folder, command)
    assert out.read_text() == "."
    with SqliteJournal(folder, {}) as journal:
        journal.reopen({})
        journal.end("killed")
    called(folder, command, KeyboardInterrupt())
    called(folder, command, KeyboardInterrupt())
    assert out.read_text() == ".."


@pytest.mark.parametrize(
    ("command", "warning"),
    [
        ([sys.executable, "-c", "print('no hunter2-hunter2'); exit(3)"], "ended with exit code 3: no ***"),
        ("/no/such/command --now", "/no/such/command cannot be started: No such file or directory"),
        ([sys.executable, "-c", "import time; time.sleep(60)"], "was killed, because it took longer than 1 s"),
    ],
)
def test_a_command_that_fails_is_a_warning(
    folder: Path, command: str | list[str], warning: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(notify, "_LIMIT_S", 1.0)
    (said,) = called(folder, command)
    assert said.startswith("warning: notify: ")
    assert warning in said


def test_text_is_split_and_no_shell_reads_it(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "x"
    called(folder, f"{sys.executable} -c \"import sys; open(sys.argv[1], 'w').write(sys.argv[2])\" {out} '$HOME; *'")
    assert out.read_text() == "$HOME; *"


def test_a_failed_sweep_says_why_without_secrets(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.json"
    with SqliteJournal(folder, {}) as journal:
        journal.end("failed")
    error = PlacementError("no room for hunter2-hunter2")
    called(folder, [sys.executable, "-c", WRITES.format(file=str(out))], error)
    outcome, _ = json.loads(out.read_text())
    assert outcome["status"] == "failed"
    assert "no room" in outcome["error"]
    assert "hunter2" not in outcome["error"]
