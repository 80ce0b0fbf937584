"""What every fault needs: drivers, sweeps that nothing has disturbed, and a try's judgement."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Self

from faults.driver import Forks, environment
from faults.injection import Injection
from faults.kept import Kept
from faults.outcome import Finding, Outcome, compare
from faults.project import Project, left_behind, sweep_arguments

LOCAL = ("fleet.kind=local",)


@dataclass(frozen=True, kw_only=True)
class Try:
    """One injected fault and what came of it.

    Args:
        struck: it has happened; a try whose fault came too late counts for nothing.
        seconds: from the driver's start to the judgement.
        left: processes that were left behind; None where workers live on by intention.
        times: how many faults of the kind it stands for.
        differences: what differs from the undisturbed sweep, and what else went wrong.
    """

    seed: int
    struck: bool
    seconds: float
    lost: int = 0
    doubled: int = 0
    siblings: int = 0
    left: int | None = 0
    times: int = 1
    differences: tuple[str, ...] = ()

    @property
    def clean(self) -> bool:
        return not (self.lost or self.doubled or self.siblings or self.left or self.differences)

    def standing_for(self, times: int) -> Try:
        """The same for a try that has injected its fault so often."""
        return replace(self, times=times)

    def to_json(self, fault: str) -> str:
        """A line for the file of all tries, with the fault's name."""
        return json.dumps({"fault": fault, **asdict(self)})


@dataclass
class Trouble:
    """What went wrong in a try besides what its outcome shows."""

    texts: list[str] = field(default_factory=list)
    left: int = 0

    def expect(self, holds: bool, otherwise: str) -> None:
        if not holds:
            self.texts.append(otherwise)


class Lab:
    """Open while tries are made; its folders are removed at the end, but for those of tries that went wrong."""

    def __init__(self) -> None:
        self.root = Path(tempfile.mkdtemp(prefix="faults-"))
        self._references: dict[tuple[str, ...], Outcome] = {}
        self._folders = 0
        self._left = 0  # by forked drivers, since the last judgement

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        if "kept" in self.__dict__:
            self.kept.close()
        if not list(self.root.glob("try-*")):
            shutil.rmtree(self.root)

    @cached_property
    def forks(self) -> Forks:
        return Forks()

    @cached_property
    def kept(self) -> Kept:
        return Kept(self.root)

    @cached_property
    def store(self) -> Path:
        """A store with its tables and nothing in them: to make them takes seconds."""
        path = self.root / "empty.db"
        code = "import sys; from mlflow import MlflowClient; MlflowClient(sys.argv[1]).search_experiments()"
        subprocess.run([sys.executable, "-c", code, f"sqlite:///{path}"], check=True, capture_output=True)
        return path

    def project(self, where: Path | None = None) -> Project:
        """A fresh folder for one try."""
        self._folders += 1
        name = f"try-{self._folders:04}"
        return Project(where or self.root / name, self.store, self.root / f"{name}.log")

    def reference(self, *settings: str) -> Outcome:
        """What the sweep comes to where nothing disturbs it; trained once by each set of settings."""
        if settings not in self._references:
            project = self.project()
            ended = self.fork(project, sweep_arguments(*LOCAL, *settings))
            if ended != 0:
                raise RuntimeError(f"the undisturbed sweep ended with {ended}:\n{project.log}")
            self._references[settings] = project.outcome()
            project.remove()
        return self._references[settings]

    def fork(self, project: Project, arguments: Sequence[str], injection: Injection | None = None) -> int:
        """Drives in a forked process to its end; its exit code, or minus the signal that killed it."""
        return self.join(self.start_fork(project, arguments, injection))

    def join(self, child: Any) -> int:
        """Waits for a forked process, and until nothing of it is left; its exit code."""
        child.join()
        left = left_behind(child.pid, 10.0)
        self._left += len(left)
        for pid in left:
            os.kill(pid, signal.SIGKILL)
        return int(child.exitcode)

    def start_fork(self, project: Project, arguments: Sequence[str], injection: Injection | None = None) -> Any:
        """The same, not waited for."""
        return self.forks.start(project.path, project.log_file, arguments, injection)

    def judge(
        self,
        seed: int,
        project: Project,
        trouble: Trouble,
        began_s: float,
        *,
        wanted: Outcome,
        victims: Collection[str] = (),
        struck: bool,
        keeps_workers: bool = False,
    ) -> Try:
        """Compares, and forgets the folder of a try that went well."""
        left, self._left = trouble.left + self._left, 0
        if not struck and not trouble.texts:
            project.remove()
            return Try(seed=seed, struck=False, seconds=time.monotonic() - began_s)
        found: Finding | None = None
        try:
            found = compare(wanted, project.outcome(), victims)
        except Exception as err:
            trouble.texts.append(f"nothing to compare: {err!r}")
        made = Try(
            seed=seed, struck=True, seconds=time.monotonic() - began_s, left=None if keeps_workers else left,
            lost=found.lost if found else len(wanted.journal), doubled=found.doubled if found else 0,
            siblings=len(found.siblings) if found else 0,
            differences=(*trouble.texts, *(found.differences if found else ())),
        )  # fmt: skip
        if made.clean:
            project.remove()
        else:
            (project.path / "differences").write_text("\n".join(made.differences), encoding="utf-8")
        return made


def start_process(project: Project, arguments: Sequence[str], injection: Injection | None = None) -> Any:
    """A driver as a person starts it, in a session of its own."""
    command = [sys.executable, "-m", "faults.driver", injection.to_json() if injection else "", *arguments]
    with project.log_file.open("ab") as log:
        return subprocess.Popen(
            command, cwd=project.path, env=environment(), stdout=log, stderr=log, start_new_session=True
        )


def run_process(
    project: Project,
    arguments: Sequence[str],
    trouble: Trouble,
    injection: Injection | None = None,
    meanwhile: Callable[[Any], None] | None = None,
    within_s: float = 240.0,
) -> int:
    """The same to its end, and until nothing of it is left; its exit code, or minus the signal that killed it."""
    process = start_process(project, arguments, injection)
    try:
        if meanwhile is not None:
            meanwhile(process)
        code = process.wait(within_s)
    except (subprocess.TimeoutExpired, TimeoutError) as err:
        trouble.texts.append(f"{arguments[0]}: {err}")
        code = -1
    left = left_behind(process.pid, 0.0 if code == -1 else 10.0)
    trouble.left += 0 if code == -1 else len(left)
    for pid in left:
        os.kill(pid, signal.SIGKILL)
    process.wait()
    return int(code)
