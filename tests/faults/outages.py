"""MLflow's store is locked, its server down, the disk full: nothing is lost, and training waits for none of MLflow."""

from __future__ import annotations

import contextlib
import os
import random
import re
import signal
import socket
import sqlite3
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from faults.injection import Injection
from faults.lab import LOCAL, Lab, Trouble, Try, run_process
from faults.project import Project, eventually, sweep_arguments

_MAKES_ITS_ROUND_S = 120.0
_INFRASTRUCTURE = 75
_BARRIERS = 24  # of the sweep's 28: an outage that begins later would find little left to send
DISK_MIB = 48


def store_locked(seconds: float) -> Callable[[Lab, int], Try]:
    """Another program holds the sqlite store for so long, from some round on."""

    def attempt(lab: Lab, seed: int) -> Try:
        began_s, wanted = time.monotonic(), lab.reference()
        project, trouble = lab.project(), Trouble()
        child = lab.start_fork(project, sweep_arguments(*LOCAL))
        _wait_for_round(project, random.Random(seed))
        with closing(sqlite3.connect(project.store, timeout=30.0, isolation_level=None)) as lock:
            lock.execute("BEGIN EXCLUSIVE")
            struck = child.is_alive()
            time.sleep(seconds)
            lock.execute("ROLLBACK")
        code = lab.join(child)
        trouble.expect(code == 0, f"the sweep ended with {code}")
        return lab.judge(seed, project, trouble, began_s, wanted=wanted, struck=struck)

    return attempt


def server_down(seconds: float) -> Callable[[Lab, int], Try]:
    """The tracking server is killed at some round, and comes back after so long; `sync` sends what is then missing."""

    def attempt(lab: Lab, seed: int) -> Try:
        began_s, wanted = time.monotonic(), lab.reference()
        project, trouble, port = lab.project(), Trouble(), _free_port()
        with _server(project, port):
            child = lab.start_fork(project, sweep_arguments(*LOCAL, f"tracking.uri=http://127.0.0.1:{port}"))
            _wait_for_round(project, random.Random(seed))
        struck = child.is_alive()
        time.sleep(seconds)
        with _server(project, port):
            code = lab.join(child)
            trouble.expect(code in (0, _INFRASTRUCTURE), f"the sweep ended with {code}")
            if code == _INFRASTRUCTURE:
                code = lab.fork(project, ["sync"])
                trouble.expect(code == 0, f"sync ended with {code}")
        return lab.judge(seed, project, trouble, began_s, wanted=wanted, struck=struck)

    return attempt


def run_deleted(lab: Lab, seed: int) -> Try:
    """A run is deleted at some round, the sweep's own or a trial's; the told command restores it, `sync` goes on."""
    began_s, chance, wanted = time.monotonic(), random.Random(seed), lab.reference()
    project, trouble = lab.project(), Trouble()
    child = lab.start_fork(project, sweep_arguments(*LOCAL))
    _wait_for_round(project, chance)
    run_id, struck = _delete_a_run(project, chance), child.is_alive()
    code = lab.join(child)
    trouble.expect(code == _INFRASTRUCTURE, f"the sweep ended with {code}")
    command = re.search(rf"MLFLOW_TRACKING_URI=\S+ mlflow runs restore --run-id {run_id}", project.log)
    trouble.expect(command is not None, "no command was told")
    if command is not None:
        path = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
        subprocess.run(command[0], shell=True, cwd=project.path, env=path, check=True, capture_output=True)
        code = lab.fork(project, ["sync"])
        trouble.expect(code == 0, f"sync ended with {code}")
    return lab.judge(seed, project, trouble, began_s, wanted=wanted, struck=struck)


def _delete_a_run(project: Project, chance: random.Random) -> str:
    """As MLflow deletes one, which takes seconds to import; of those that are not at their end."""
    with closing(sqlite3.connect(project.store, timeout=30.0, isolation_level=None)) as db:
        runs = [run for (run,) in db.execute("SELECT run_uuid FROM runs WHERE status = 'RUNNING' ORDER BY start_time")]
        run = str(chance.choice(runs))
        now_ms = int(time.time() * 1000)
        db.execute("UPDATE runs SET lifecycle_stage = 'deleted', deleted_time = ? WHERE run_uuid = ?", (now_ms, run))
    return run


def full_disk(lab: Lab, seed: int) -> Try:
    """The sweep's disk is full from some round on, but for some KiB; `resume` goes on once there is room."""
    began_s, chance, wanted = time.monotonic(), random.Random(seed), lab.reference()
    trouble = Trouble()
    injection = Injection(point="full disk", number=chance.randint(1, 32), seed=chance.randrange(2**32))
    with _small_disk(lab.root / f"disk-{seed}") as disk:
        project = lab.project(disk / "project")
        code = lab.fork(project, sweep_arguments(*LOCAL), injection)
        struck = project.struck
        trouble.expect(code == (_INFRASTRUCTURE if struck else 0), f"the sweep ended with {code}")
        (project.path / "filler").unlink(missing_ok=True)
        code = lab.fork(project, ["resume"])
        trouble.expect(code == 0, f"resume ended with {code}")
        return lab.judge(seed, project, trouble, began_s, wanted=wanted, struck=struck)


def temporary_folder_full(with_ray: bool) -> Callable[[Lab, int], Try]:
    """The folder of temporary files is full from some round on; where that ends the sweep, `resume` goes on."""

    def attempt(lab: Lab, seed: int) -> Try:
        began_s, chance, wanted = time.monotonic(), random.Random(seed), lab.reference()
        project, trouble = lab.project(), Trouble()
        with _small_disk(lab.root / "t") as disk:  # a short name, since Ray's sockets are below it
            injection = Injection(point="temporary folder full", number=chance.randint(1, _BARRIERS), kind=str(disk))
            arguments = sweep_arguments() if with_ray else sweep_arguments(*LOCAL)
            code = run_process(project, arguments, trouble, injection) if with_ray else lab.fork(
                project, arguments, injection
            )  # fmt: skip
            struck = project.struck
            trouble.expect(code in (0, _INFRASTRUCTURE), f"the sweep ended with {code}")
        if code == _INFRASTRUCTURE:
            code = run_process(project, ["resume"], trouble) if with_ray else lab.fork(project, ["resume"])
            trouble.expect(code == 0, f"resume ended with {code}")
        return lab.judge(seed, project, trouble, began_s, wanted=wanted, struck=struck)

    return attempt


def _wait_for_round(project: Project, chance: random.Random) -> None:
    """Until the sweep has had some rounds, and MLflow its first row."""
    number = chance.randint(1, _BARRIERS)
    eventually(lambda: project.barriers() >= number and project.rows_in_store() > 0, _MAKES_ITS_ROUND_S)
    time.sleep(chance.uniform(0.0, 0.1))


@contextmanager
def _small_disk(path: Path) -> Iterator[Path]:
    """A file system of its own; only root may make one."""
    path.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={DISK_MIB}m", "tmpfs", path], check=True)
    try:
        yield path
    finally:
        subprocess.run(["umount", "--lazy", path], check=True)
        path.rmdir()


@contextmanager
def _server(project: Project, port: int) -> Iterator[None]:
    """MLflow's tracking server on the project's store; killed at the end with all its processes."""
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    command += ["--backend-store-uri", f"sqlite:///{project.store}"]
    command += ["--artifacts-destination", str(project.path / "artifacts")]
    settings = {**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    with (project.path / "server.log").open("ab") as log:
        server = subprocess.Popen(command, env=settings, stdout=log, stderr=log, start_new_session=True)
    try:
        eventually(lambda: _answers(port), 120.0)
        yield
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(server.pid, signal.SIGKILL)
        server.wait()


def _answers(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=2.0) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
