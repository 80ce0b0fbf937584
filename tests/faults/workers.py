"""A worker is killed, stopped, or hangs; Ray itself dies."""

from __future__ import annotations

import random
import time
from collections.abc import Callable

from faults.injection import Injection
from faults.lab import Lab, Trouble, Try, run_process
from faults.project import sweep_arguments

# At most the how many-th call it is; snapshots depend on the clock.
_INFRASTRUCTURE = 75
_NOTICED_S = 30.0  # on a machine that does nothing else it takes less than ten; Ray by itself needs sixty
POINTS = {"worker mid-step": 32, "worker mid-snapshot": 4}


def killed_at(point: str) -> Callable[[Lab, int], Try]:
    """SIGKILL of a worker of a Ray that many sweeps use one after another."""

    def attempt(lab: Lab, seed: int) -> Try:
        began_s, chance, wanted = time.monotonic(), random.Random(seed), lab.reference()
        project, trouble = lab.project(), Trouble()
        number, slot = chance.randint(1, POINTS[point]), chance.randrange(2)
        injection = Injection(point=point, number=number, seed=chance.randrange(2**32), slot=slot)
        code = lab.kept.drive(project.path, project.log_file, sweep_arguments("fleet.kind=ray"), injection)
        trouble.expect(code == 0, f"the sweep ended with {code}")
        struck = project.struck and project.incidents() > 0
        return lab.judge(seed, project, trouble, began_s, wanted=wanted, struck=struck, keeps_workers=True)

    return attempt


def stopped(lab: Lab, seed: int) -> Try:
    """SIGSTOP in the middle of a turn: the worker is killed at its deadline."""
    began_s, chance, wanted = time.monotonic(), random.Random(seed), lab.reference()
    project, trouble = lab.project(), Trouble()
    injection = Injection(
        point="worker mid-step", number=chance.randint(5, 15), seed=chance.randrange(2**32), slot=chance.randrange(2),
        kind="SIGSTOP",
    )  # fmt: skip
    code = run_process(project, sweep_arguments("fleet.turn_timeout_s=5"), trouble, injection)
    trouble.expect(code == 0, f"the sweep ended with {code}")
    struck = project.incidents() > 0
    return lab.judge(seed, project, trouble, began_s, wanted=wanted, struck=struck)


def ray_killed(process: str) -> Callable[[Lab, int], Try]:
    """Without a process of Ray's own there are no workers: the sweep ends with a line, and `resume` goes on."""

    def attempt(lab: Lab, seed: int) -> Try:
        began_s, chance, wanted = time.monotonic(), random.Random(seed), lab.reference()
        project, trouble = lab.project(), Trouble()
        injection = Injection(point=process, number=chance.randint(1, 32), seed=chance.randrange(2**32))
        code = run_process(project, sweep_arguments(), trouble, injection)
        if project.struck:
            seconds = time.time() - project.struck_s
            trouble.expect(seconds < _NOTICED_S, f"the sweep ended {seconds:.0f} s later")
            trouble.expect("python -m runner resume" in project.log, "the command that goes on is not told")
        trouble.expect(code == (_INFRASTRUCTURE if project.struck else 0), f"the sweep ended with {code}")
        trouble.expect("Traceback" not in project.log, "there is a traceback")
        code = run_process(project, ["resume"], trouble)
        trouble.expect(code == 0, f"resume ended with {code}")
        return lab.judge(seed, project, trouble, began_s, wanted=wanted, struck=project.struck)

    return attempt
