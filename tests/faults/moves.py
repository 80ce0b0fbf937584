"""A sweep goes on elsewhere: its project was moved or copied, or its own folder was copied without the store."""

from __future__ import annotations

import hashlib
import random
import shutil
import signal
import sqlite3
import time
from contextlib import closing
from pathlib import Path

from faults.injection import Injection
from faults.lab import LOCAL, Lab, Trouble, Try
from faults.project import Project, sweep_arguments

_ROUNDS = (4, 20)


def folder_moved(lab: Lab, seed: int) -> Try:
    """The driver is killed, its folder moved or copied elsewhere, and the sweep resumed there."""
    began_s, chance, wanted = time.monotonic(), random.Random(seed), lab.reference()
    project, trouble = lab.project(), Trouble()
    struck = _killed(lab, project, chance)
    before, after = project.path, project.path.with_name(f"{project.path.name} elsewhere é")
    copied = chance.random() < 0.5
    if copied:
        shutil.copytree(before, after)
        content = _content(before)
    else:
        before.rename(after)
    project.path = after
    _resume(lab, project, trouble)
    if copied:
        trouble.expect(_content(before) == content, "the original has changed")
        shutil.rmtree(before)
    trouble.expect(not before.exists(), "something was written where the folder had been")
    return lab.judge(seed, project, trouble, began_s, wanted=wanted, struck=struck)


def sweep_copied(lab: Lab, seed: int) -> Try:
    """The driver is killed, the sweep's own folder copied into another project, and the sweep resumed there."""
    began_s, chance, wanted = time.monotonic(), random.Random(seed), lab.reference()
    original, project, trouble = lab.project(), lab.project(), Trouble()
    struck = _killed(lab, original, chance)
    content = _content(original.path)
    shutil.copytree(original.path / "sweeps", project.path / "sweeps")
    _resume(lab, project, trouble)
    if struck:
        trouble.expect("runs that sweep" in project.log, "nobody was told of runs that the store does not know")
    trouble.expect(_content(original.path) == content, "the original has changed")
    original.remove()
    return lab.judge(seed, project, trouble, began_s, wanted=wanted, struck=struck)


def _killed(lab: Lab, project: Project, chance: random.Random) -> bool:
    """Whether the driver was killed at a round of which MLflow had something."""
    injection = Injection(point="after commit", number=chance.randint(*_ROUNDS))
    code = lab.fork(project, sweep_arguments(*LOCAL), injection)
    return code == -signal.SIGKILL and project.rows_in_store() > 0


def _resume(lab: Lab, project: Project, trouble: Trouble) -> None:
    code = lab.fork(project, ["resume"])
    trouble.expect(code == 0, f"resume ended with {code}")
    with closing(sqlite3.connect(project.store)) as db:
        places = [place for (place,) in db.execute("SELECT artifact_uri FROM runs")]
    own = (project.path / "mlartifacts").resolve().as_uri()
    trouble.expect(all(place.startswith(own + "/") for place in places), f"artifacts are elsewhere: {places}")


def _content(folder: Path) -> dict[str, str]:
    """A hash of each file; sqlite's index of a log is whoever reads it."""
    files = (path for path in sorted(folder.rglob("*")) if path.is_file() and not path.name.endswith("-shm"))
    return {str(file): hashlib.sha256(file.read_bytes()).hexdigest() for file in files}
