"""Calls the user's command when a sweep has ended: `notify` of the config."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from runner.config import Config
from runner.driver.context import Context
from runner.errors import JournalError, RunnerError, SweepBusyError, SweepNotFoundError
from runner.journal import JournalReader, SqliteJournal, SweepRecord, locked, winner_of

_LIMIT_S = 30.0  # a command that takes longer is killed
_STATUS = {"complete": "complete", "killed": "stopped"}  # any other is "failed"
_LONGEST = 300  # characters of its output in a warning


@contextmanager
def notifying(config: Config, folder: Path, context: Context) -> Iterator[None]:
    """When it is left, however that is, calls the command of the config with the outcome of the sweep, once.

    Left once the lock on the sweep's folder is given back, so that the command may use the sweep. What fails here is a
    warning and changes nothing.
    """
    problem = ""
    try:
        yield
    except BaseException as err:
        problem = str(err) if isinstance(err, RunnerError) else "" if isinstance(err, KeyboardInterrupt) else repr(err)
        raise
    finally:
        if config.notify is not None:
            _notify(config.notify, folder, problem, context)


def _notify(notify: str | list[str], folder: Path, problem: str, context: Context) -> None:
    command = shlex.split(notify) if isinstance(notify, str) else notify
    try:
        outcome = outcome_of(folder, context.masked(problem))
        with locked(folder), SqliteJournal(folder, {}) as journal:
            if not journal.begin_notice():
                return
    except SweepNotFoundError:  # it did not begin
        return
    except (JournalError, SweepBusyError) as err:
        context.watcher.warn(f"warning: notify: {command[0]} was not called: {err}")
        return
    failed = _run(command, context.masked(json.dumps(outcome)), {**context.environment, **variables(outcome)})
    if failed:
        context.watcher.warn(context.masked(f"warning: notify: {command[0]} {failed}"))


def outcome_of(folder: Path, problem: str = "") -> dict[str, object]:
    """How a sweep has ended, as plain data.

    Args:
        folder: the sweep's.
        problem: the error that ended it; empty for none.
    """
    with JournalReader(folder) as reader:
        sweep, trials = reader.sweep(), reader.trials()
    best = winner_of(trials, sweep)
    return {
        "sweep": sweep.id,
        "status": _STATUS.get(sweep.status, "failed"),
        "metric": sweep.metric,
        "goal": sweep.goal,
        "score": None if best is None else best.score(sweep.metric),
        "trial": None if best is None else best.id,
        "settings": {} if best is None else {name: best.settings.get(name) for name in best.trial.searched},
        "trials": dict(Counter(trial.status for trial in trials)),
        "seconds": _seconds(sweep),
        "folder": str(folder.absolute()),
        "command": sweep.command,
        "error": problem,
    }


def variables(outcome: Mapping[str, object]) -> dict[str, str]:
    """The most important of an outcome, as environment variables."""
    names = ("sweep", "status", "metric", "score", "trial", "folder", "seconds")
    return {f"RUNNER_{name.upper()}": "" if outcome[name] is None else str(outcome[name]) for name in names}


def _seconds(sweep: SweepRecord) -> float | None:
    return None if sweep.ended_ms is None else round((sweep.ended_ms - sweep.created_ms) / 1000, 3)


def _run(command: Sequence[str], text: str, environment: Mapping[str, str]) -> str:
    """Runs a command without a shell, in a session of its own, so that Ctrl-C does not reach it; returns why it failed.

    Its output is not shown, because a sweep's own is on the terminal; of one that fails, the end is returned.
    """
    try:
        process = subprocess.Popen(
            command, env=dict(environment), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            start_new_session=True, encoding="utf-8", errors="replace",
        )  # fmt: skip
    except (OSError, ValueError) as err:
        return f"cannot be started: {err.strerror if isinstance(err, OSError) else err}"
    try:
        output, _ = process.communicate(text, timeout=_LIMIT_S)
    except subprocess.TimeoutExpired:
        _kill(process)
        return f"was killed, because it took longer than {_LIMIT_S:g} s"
    except BaseException:
        _kill(process)
        raise
    ending = output.strip()[-_LONGEST:]
    return f"ended with exit code {process.returncode}{f': {ending}' if ending else ''}" if process.returncode else ""


def _kill(process: subprocess.Popen[str]) -> None:
    """Ends a command with all that it has started."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
