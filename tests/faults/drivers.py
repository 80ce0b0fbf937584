"""The driver is killed, or its disk is full: `resume` goes on."""

from __future__ import annotations

import random
import signal
import time
from collections.abc import Callable

from faults.injection import Injection
from faults.lab import LOCAL, Lab, Trouble, Try, run_process
from faults.project import sweep_arguments

KILLED = -signal.SIGKILL
# At most the how many-th call it is; the later ones are not reached by every sweep, which is then tried again.
POINTS = {
    "before commit": 32,
    "within commit": 44,
    "after commit": 32,
    "between metrics and tags": 8,
    "mid-snapshot": 8,
    "while flushing": 24,
}


def killed_at(point: str) -> Callable[[Lab, int], Try]:
    """Kills a driver that was forked with its imports done; sometimes the one that resumes, too."""

    def attempt(lab: Lab, seed: int) -> Try:
        began_s, chance, wanted = time.monotonic(), random.Random(seed), lab.reference()
        project, trouble = lab.project(), Trouble()
        code = lab.fork(project, sweep_arguments(*LOCAL), _injection(point, chance))
        struck = code == KILLED
        trouble.expect(code in (0, KILLED), f"the sweep ended with {code}")
        if struck and chance.random() < 0.25:
            lab.fork(project, ["resume"], _injection(point, chance))
        if struck:
            code = lab.fork(project, ["resume"])
            trouble.expect(code == 0, f"resume ended with {code}")
        return lab.judge(seed, project, trouble, began_s, wanted=wanted, struck=struck)

    return attempt


def process_killed_at(point: str) -> Callable[[Lab, int], Try]:
    """The same to a program that a person has started, with Ray; nothing of it may be left."""

    def attempt(lab: Lab, seed: int) -> Try:
        began_s, chance, wanted = time.monotonic(), random.Random(seed), lab.reference()
        project, trouble = lab.project(), Trouble()
        code = run_process(project, sweep_arguments(), trouble, _injection(point, chance))
        struck = code == KILLED
        trouble.expect(code in (0, KILLED), f"the sweep ended with {code}")
        if struck:
            code = run_process(project, ["resume"], trouble)
            trouble.expect(code == 0, f"resume ended with {code}")
        return lab.judge(seed, project, trouble, began_s, wanted=wanted, struck=struck)

    return attempt


def _injection(point: str, chance: random.Random) -> Injection:
    return Injection(point=point, number=chance.randint(1, POINTS[point]), seed=chance.randrange(2**32))
