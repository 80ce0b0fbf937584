"""A worker is killed, stopped, or hangs; Ray itself dies."""

from __future__ import annotations

import random
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing

from faults.injection import Injection
from faults.lab import Lab, Trouble, Try
from faults.project import Project, sweep_arguments

# At most the how many-th call it is; snapshots depend on the clock.
POINTS = {"worker mid-step": 32, "worker mid-snapshot": 4}


def killed_at(point: str) -> Callable[[Lab, int], Try]:
    """SIGKILL of a worker of a Ray that many sweeps use one after another."""

    def attempt(lab: Lab, seed: int) -> Try:
        began_s, chance, wanted = time.monotonic(), random.Random(seed), lab.reference()
        project, trouble = lab.project(), Trouble()
        number, slot = chance.randint(1, POINTS[point]), chance.randrange(2)
        injection = Injection(point=point, number=number, seed=chance.randrange(2**32), slot=slot)
        code = lab.kept.drive(project.path, sweep_arguments("fleet.kind=ray"), injection)
        trouble.expect(code == 0, f"the sweep ended with {code}")
        struck = project.struck and _incidents(project) > 0
        return lab.judge(f"{point}, SIGKILL", seed, project, trouble, began_s, wanted=wanted, struck=struck)

    return attempt


def _incidents(project: Project) -> int:
    with closing(sqlite3.connect(project.sweep / "journal.db")) as db:
        return int(db.execute("SELECT count(*) FROM incident").fetchone()[0])
