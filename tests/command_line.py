"""Runs `python -m runner` as a user does: in a folder of its own, as a process of its own.

A warm folder's commands begin with everything imported (`warm.py`), which spares seconds where the start is not the
point.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing import Pipe
from pathlib import Path
from typing import Any, TypeVar

import psutil
from warm import WarmProcess

from runner.errors import SweepNotFoundError
from runner.journal import JournalReader, SweepRecord, TrialRecord, TurnRow
from runner.tracking.ledger import HOME, Ledger

Answer = TypeVar("Answer")

REPOSITORY = Path(__file__).parents[1]


@dataclass(frozen=True)
class Ended:
    """How a command ended; `rows_s` are the seconds after its start at which each line of stdout came."""

    code: int
    out: str
    err: str
    rows_s: list[float]

    @property
    def everything(self) -> str:
        return self.out + self.err

    def first_s(self, text: str) -> float:
        """Seconds to the first line that contains the text."""
        return next(s for s, line in zip(self.rows_s, self.out.splitlines(), strict=True) if text in line)


class Running:
    """A command that has been started, in a process group of its own as a shell does it."""

    def __init__(self, arguments: tuple[str, ...], cwd: Path, env: Mapping[str, str], warm: bool) -> None:
        self._errors = tempfile.NamedTemporaryFile("w+", encoding="utf-8")  # noqa: SIM115  a pipe could fill up and block
        self._began_s, self._sweeps = time.monotonic(), cwd / "sweeps"
        self._earlier = set(self._sweeps.glob("*"))
        self._lines: list[tuple[float, str]] = []
        self._family: list[psutil.Process] = []
        reader, writer = Pipe(duplex=False)
        self._out = os.fdopen(os.dup(reader.fileno()), encoding="utf-8")
        reader.close()
        self.process: subprocess.Popen[bytes] | WarmProcess
        if warm:
            self.process = WarmProcess(arguments, cwd, env, writer, Path(self._errors.name))
        else:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "runner", *arguments], cwd=cwd, env=env, start_new_session=True,
                stdin=subprocess.DEVNULL, stdout=writer.fileno(), stderr=self._errors, preexec_fn=_heed_hangups,
            )  # fmt: skip
        writer.close()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def read_until(self, text: str, timeout_s: float = 200.0) -> None:
        """Waits for a line of stdout that contains the text."""
        deadline = time.monotonic() + timeout_s
        while not any(text in line for _, line in self._lines):
            assert self._reader.is_alive(), f"it ended without saying {text!r}: {self.finish(None)}"
            assert time.monotonic() < deadline, f"it did not say {text!r} within {timeout_s:.0f} s"
            time.sleep(0.01)

    def wait_for_round(self, number: int, timeout_s: float = 200.0) -> None:
        """Waits until the journal of the command's new sweep has this round of a trial; they are counted from 1."""
        deadline = time.monotonic() + timeout_s
        while not self._has_round(number):
            assert self._reader.is_alive(), f"it ended before round {number}: {self.finish(None)}"
            assert time.monotonic() < deadline, f"it did not come to round {number} within {timeout_s:.0f} s"
            time.sleep(0.05)

    def _has_round(self, number: int) -> bool:
        new = [path for path in self._sweeps.glob("[!.]*") if path not in self._earlier]
        if not new:
            return False
        try:
            with JournalReader(new[0]) as reader:
                return any(row.round + 1 >= number for row in reader.turns())
        except (SweepNotFoundError, sqlite3.Error):  # it is being made
            return False

    def finish(self, code: int | None = 0, timeout_s: float = 240.0) -> Ended:
        """Waits for the end and checks the exit code; None allows any."""
        self.process.wait(timeout_s)
        self._reader.join(5.0)  # not longer: a process that is left behind may hold stdout open
        self._errors.seek(0)
        rows_s, lines = [seconds for seconds, _ in self._lines], [line for _, line in self._lines]
        assert self.process.returncode is not None
        ended = Ended(self.process.returncode, "".join(lines), self._errors.read(), rows_s)
        assert code is None or ended.code == code, f"exit code {ended.code}, not {code}:\n{ended.everything[-4000:]}"
        return ended

    def descendants(self) -> list[psutil.Process]:
        """All processes below this one; they will not outlive `Folder.start`."""
        with suppress(psutil.NoSuchProcess):
            self._family = psutil.Process(self.process.pid).children(recursive=True) or self._family
        return self._family

    def stop(self) -> None:
        """Kills what is left."""
        for process in (*self.descendants(), self.process):
            with suppress(psutil.NoSuchProcess):
                process.kill()
        self.process.wait()

    def _read(self) -> None:
        for line in self._out:
            self._lines.append((time.monotonic() - self._began_s, line))


def ask_each(processes: Iterable[psutil.Process], question: Callable[[psutil.Process], Answer]) -> list[Answer]:
    """What those processes answer that are still there: some of Ray's and MLflow's live for a moment only."""
    answers = []
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            answers.append(question(process))
    return answers


def _heed_hangups() -> None:
    """As in a terminal, also where the tests run under `nohup`."""
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


@dataclass(frozen=True)
class Folder:
    """A user's folder: configs, experiments, and what the program writes there.

    Args:
        warm: its commands begin with everything imported.
    """

    path: Path
    warm: bool = False

    def run(self, *arguments: str, code: int | None = 0, env: Mapping[str, str] | None = None) -> Ended:
        """Runs a command to its end; None allows any exit code."""
        with self.start(*arguments, env=env) as running:
            return running.finish(code)

    @contextmanager
    def start(self, *arguments: str, env: Mapping[str, str] | None = None) -> Iterator[Running]:
        """Starts a command; what is left of it on leaving is killed."""
        running = Running(arguments, self.path, environment(**(env or {})), self.warm)
        try:
            yield running
        finally:
            running.stop()

    @property
    def sweeps(self) -> list[Path]:
        """The sweeps' folders, oldest first."""
        root = self.path / "sweeps"
        return sorted(root.iterdir(), key=lambda path: path.stat().st_ctime) if root.exists() else []

    @property
    def store(self) -> Path:
        return self.path / "mlflow.db"


def make_folder(parent: Path, warm: bool = False) -> Folder:
    """A folder with the project's configs and experiments in it."""
    for name in ("conf", "experiments"):
        shutil.copytree(REPOSITORY / name, parent / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("json", "random", "mlflow"):  # a user's own files, which no command may take for libraries
        (parent / f"{name}.py").write_text(f"raise ImportError('this is no library: {name}.py')\n", encoding="utf-8")
    return Folder(parent, warm)


def environment(**more: str) -> dict[str, str]:
    """This process's environment without what would change the output."""
    kept = {
        name: value for name, value in os.environ.items() if not name.startswith(("COLUMNS", "RAY_ADDR", "MLFLOW_"))
    }
    return {**kept, "PYTHONPATH": str(REPOSITORY), "PYTHONUNBUFFERED": "1", **more}


@dataclass(frozen=True)
class Record:
    """What a sweep's journal holds."""

    sweep: SweepRecord
    trials: dict[str, TrialRecord]
    turns: tuple[TurnRow, ...]
    rows: dict[tuple[str, str, int], float]
    whole: set[tuple[str, int]]

    def shown(self, trial_id: str) -> list[tuple[str, int, float]]:
        """The rows that MLflow gets of a trial: all but running metrics of whole epochs."""
        return sorted(
            (key, step, value)
            for (trial, key, step), value in self.rows.items()
            if trial == trial_id and not (key.startswith("round/") and (trial, step) in self.whole)
        )


def read_journal(folder: Path) -> Record:
    """All of a sweep's journal."""
    with JournalReader(folder) as reader, Ledger(folder, HOME) as ledger:
        rows = reader.metrics()
        found = {(row.trial, row.key, row.step): row.value for row in rows}
        assert len(found) == len(rows), "no value is recorded twice"
        trials = {trial.id: trial for trial in reader.trials()}
        whole = {(trial_id, step) for trial_id in trials for step in ledger.whole_turns(trial_id, 0)}
        return Record(reader.sweep(), trials, reader.turns(), found, whole)


class Tracked:
    """What MLflow shows of one sweep.

    Args:
        folder: whose `mlflow.db` is read.
        sweep_id: the sweep's id.
    """

    def __init__(self, folder: Folder, sweep_id: str) -> None:
        from mlflow import MlflowClient

        self.client = MlflowClient(f"sqlite:///{folder.store}")
        experiments = [experiment.experiment_id for experiment in self.client.search_experiments()]
        found = self.client.search_runs(experiments, f"tags.`sweep.id` = '{sweep_id}'")
        (self.parent,) = [run for run in found if "mlflow.parentRunId" not in run.data.tags]
        self.children = {run.data.tags["trial.id"]: run for run in found if run is not self.parent}
        assert len(self.children) == len(found) - 1, "one run for each trial"

    def history(self, trial_id: str) -> list[tuple[str, int, float]]:
        """Every metric row of a trial's run that the journal has too."""
        run = self.children[trial_id]
        keys = run.data.metrics.keys() - {"score", "best_epoch"}
        rows = [row for key in keys for row in self.client.get_metric_history(run.info.run_id, key)]
        return sorted((row.key, row.step, row.value) for row in rows)

    def files(self, run: Any, path: str | None = None) -> set[str]:
        """Paths of a run's artifacts."""
        found: set[str] = set()
        for file in self.client.list_artifacts(run.info.run_id, path):
            found |= self.files(run, file.path) if file.is_dir else {file.path}
        return found


def run_python(code: str, *arguments: str, cwd: Path) -> Any:
    """Runs code in a Python that cannot import this project; returns the JSON of its last line."""
    script = f"import sys; sys.modules['runner'] = None\n{code}"
    command = [sys.executable, "-I", "-c", script, *arguments]
    result = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False, timeout=120)
    assert result.returncode == 0, result.stderr[-4000:]
    return json.loads(result.stdout.strip().splitlines()[-1])
